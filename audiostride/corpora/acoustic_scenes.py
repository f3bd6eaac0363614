"""TUT Urban Acoustic Scenes 2018, development set (Mesaros, Heittola and Virtanen, "A multi-device dataset
for urban acoustic scene classification", 2018): recordings of ten seconds in ten scenes.

    audio/SCENE-CITY-LOCATION-SEGMENT-DEVICE.wav     48 kHz, stereo, 24 bit
    meta.csv                                         filename, scene_label, identifier, source_label by tabs
    evaluation_setup/fold1_{train,evaluate}.txt      audio/FILE.wav, scene by a tab
"""

import csv
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from audiostride.corpora.base import (
    Archive,
    Corpus,
    Dataset,
    Problem,
    Recording,
    check_folder,
    files_without_row,
    read_text,
    sound_files,
    wrong_folder_error,
)
from audiostride.corpora.splits import by_name
from audiostride.errors import UserError

TASK = "acoustic_scenes"
SCENES = (
    "airport bus metro metro_station park public_square shopping_mall street_pedestrian street_traffic tram"
).split()
LISTS = {"train": "fold1_train.txt", "test": "fold1_evaluate.txt"}
# Table A.1 of the paper.
PAPER_COUNTS = {"train": 7829, "test": 810}
_COLUMNS = ("filename", "scene_label", "identifier")
TOP = "TUT-urban-acoustic-scenes-2018-development"


def read(folder: Path, split: Literal["official", "paper"] = "official") -> Corpus:
    """Read TUT Urban Acoustic Scenes 2018.

    Args:
        folder: The folder with meta.csv, audio and evaluation_setup, or the folder that the archives were
            unpacked in.
        split: "official" is fold 1, which keeps each location in one split; "paper" assigns each segment by
            the hash of its name, in the proportions of the paper's table A.1. It puts segments of the same
            location into both splits, which inflates the accuracy.

    Raises:
        UserError: if the folder is missing or empty, or is not the dataset.
    """
    check_folder(folder, f"unpack TUT Urban Acoustic Scenes 2018 there ({TOP}.*.zip), or run with --download")
    if not (folder / "meta.csv").is_file() and (folder / TOP).is_dir():
        folder = folder / TOP
    meta, repeated = _read_meta(folder)
    files = [f"audio/{name}" for name in sound_files(folder / "audio", frozenset({".wav"}))]
    scenes = {scene for scene, _ in meta.values() if scene}
    # If all labels are unknown, it is another dataset in the same layout. A single unknown label is an error.
    is_other_dataset = scenes.isdisjoint(SCENES)
    labels = sorted(scenes) if is_other_dataset else SCENES
    notes = (f"other scenes than TUT 2018: {', '.join(labels)}",) if is_other_dataset else ()
    if split == "official":
        split_of, in_both = _official_splits(folder)
        repeated += in_both
    else:
        split_of = dict(zip(meta, by_name(list(meta), PAPER_COUNTS), strict=True))
    recordings, problems = _recordings(meta, split_of, labels, set(files))
    if not recordings:
        raise _wrong_folder(folder, "no recording of meta.csv and of the lists of fold 1 has a file in audio")
    problems += [*repeated, *files_without_row(files, set(meta))]
    return Corpus("acoustic_scenes", folder, split, {TASK: labels}, recordings, notes, tuple(problems))


def _recordings(
    meta: Mapping[str, tuple[str, str]],
    split_of: Mapping[str, str],
    labels: Collection[str],
    files: Collection[str],
) -> tuple[list[Recording], list[Problem]]:
    """Return the usable rows as recordings, and the others as problems."""
    recordings, problems = [], []
    for path, (scene, location) in meta.items():
        if path not in files:
            problems.append(Problem(path, "row without its file", "meta.csv"))
        elif scene not in labels:
            problems.append(Problem(path, "label outside the known set", scene))
        elif path not in split_of:
            problems.append(Problem(path, "row of meta.csv that is in no list of fold 1"))
        else:
            recordings.append(Recording(path, split_of[path], {TASK: scene}, location))
    unknown = (path for path in split_of if path not in meta)
    problems += [Problem(path, "row of a list of fold 1 that is not in meta.csv") for path in unknown]
    return recordings, problems


def _read_meta(folder: Path) -> tuple[dict[str, tuple[str, str]], list[Problem]]:
    """Return scene and location of each file, and a problem for each further row of a file."""
    if not (folder / "meta.csv").is_file():
        raise _wrong_folder(folder, "meta.csv is missing")
    reader = csv.DictReader(read_text(folder / "meta.csv").splitlines(), delimiter="\t", restval="")
    if not set(reader.fieldnames or ()) >= set(_COLUMNS):
        raise _wrong_folder(
            folder, f"meta.csv does not have the columns {', '.join(_COLUMNS)}, separated by tabs"
        )
    scene_of: dict[str, tuple[str, str]] = {}
    repeated = []
    for row in reader:
        name, scene = row["filename"].strip(), row["scene_label"].strip()
        if name in scene_of:
            repeated.append(Problem(name, "row of a file that another row names", scene))
        else:
            scene_of[name] = scene, row["identifier"].strip()
    return scene_of, repeated


def _official_splits(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """Return the split of each file in the lists, and a problem for each that is in both; it tests."""
    splits: dict[str, str] = {}
    in_both: list[Problem] = []
    for split, name in LISTS.items():
        path = folder / "evaluation_setup" / name
        if not path.is_file():
            raise _wrong_folder(folder, f"evaluation_setup/{name} is missing")
        lines = (line.split("\t")[0].strip() for line in read_text(path).splitlines())
        listed = {line: split for line in lines if line}
        in_both += [
            Problem(path, "file in both lists", f"counts as {split}") for path in listed if path in splits
        ]
        splits |= listed
    return splits, in_both


def _wrong_folder(folder: Path, reason: str) -> UserError:
    remedy = "unpack the .audio, .meta and .doc archives there, or run with --download"
    return wrong_folder_error(folder, "TUT Urban Acoustic Scenes 2018", reason, remedy)


# From dcase_util, the authors' software.
_FILES = (
    ("doc", 10517, "28a4a9c46a6f46709ecc8eece365a3a4"),
    ("meta", 69272, "e196065ee83c07af03a11a310364377d"),
    ("audio.1", 1657811579, "62f97087c447e29def8716204469bf89"),
    ("audio.2", 1783489370, "8e569a92025d82bff6b02b956d7c6dc9"),
    ("audio.3", 1809675304, "00d2020582a4535af5e65322fb2bad56"),
    ("audio.4", 1756582525, "d691eb4271f83ba6ba9a28797accc497"),
    ("audio.5", 1724002546, "c4d64b5483b60f85e9fe080b3435a6be"),
    ("audio.6", 1645753049, "2f0feee78f216697eb19497714d97642"),
    ("audio.7", 1671903917, "07cfefe80a0731de6819181841239f3a"),
    ("audio.8", 1673304843, "213f3c012859c2e9dcb74aacc8558458"),
    ("audio.9", 1674839259, "b724442b09abcb3bd095ebff497cef85"),
    ("audio.10", 1662932947, "a27a32fa52e283ed8013375b8a16f269"),
    ("audio.11", 1751473843, "7073a121e825ffef99832507f30d6644"),
    ("audio.12", 1742332198, "6567aa61db12776568b6267ce122fb18"),
    ("audio.13", 798990513, "d00eeb2db0e093d8975521323a96c519"),
)
_ZENODO = "https://zenodo.org/record/1228142/files/"
DATASET = Dataset(
    "TUT Urban Acoustic Scenes 2018, development set",
    read,
    "for non-commercial research only",
    tuple(
        Archive(f"{_ZENODO}{TOP}.{part}.zip", f"{TOP}.{part}.zip", size=size, checksum=f"md5:{md5}")
        for part, size, md5 in _FILES
    ),
)
