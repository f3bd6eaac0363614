"""Bird audio detection of DCASE 2018 (Stowell et al., "Automatic acoustic detection of birds through deep
learning", 2019): is there a bird in about ten seconds of sound?

    SET/wav/ITEMID.wav            44.1 kHz; SET is any of ff1010bird, warblrb10k, BirdVox-DCASE-20k
    SET/*.csv                     header itemid,datasetid,hasbird

Any of the three sets may be missing. The files of a single set may also be directly in the folder.
"""

import csv
from collections.abc import Iterator
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

TASK = "birdsong"
LABELS = {"0": "no bird", "1": "bird"}
HEADER = {"itemid", "hasbird"}
# Table A.1 of the paper.
PAPER_COUNTS = {"train": 32129, "test": 3561}


def read(folder: Path, split: Literal["paper"] = "paper") -> Corpus:
    """Read the bird sets that are in the folder.

    Args:
        folder: The folder with the sets.
        split: There is no official split. "paper" assigns each recording by the hash of its name, in the
            proportions of the paper's table A.1.

    Raises:
        UserError: if the folder is missing or empty, or contains none of the sets.
    """
    check_folder(
        folder,
        "unpack DCASE 2018 bird audio detection there (ff1010bird, warblrb10k or BirdVox-DCASE-20k), or run "
        "with --download",
    )
    label_of: dict[str, str] = {}
    problems: list[Problem] = []
    paths: set[str] = set()
    for path, bird in _rows(folder, problems):
        if path in paths:
            problems.append(Problem(path, "row of a file that another row names", f"hasbird {bird}"))
        elif bird in LABELS:
            label_of[path] = LABELS[bird]
        else:
            problems.append(Problem(path, "label outside the known set", f"hasbird {bird}"))
        paths.add(path)
    if not paths:
        raise _wrong_folder(folder, "no row of its CSV files has a recording in a folder wav beside the file")
    if not label_of:
        raise _wrong_folder(folder, "no row of its CSV files has the value 0 or 1 for hasbird")
    splits = by_name([Path(path).name for path in label_of], PAPER_COUNTS)
    recordings = [
        Recording(path, name, {TASK: label})
        for (path, label), name in zip(label_of.items(), splits, strict=True)
    ]
    problems.extend(files_without_row(_wav_files(folder), paths))
    tasks = {TASK: list(LABELS.values())}
    return Corpus("birdsong", folder, split, tasks, recordings, problems=tuple(problems))


def _rows(folder: Path, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """Yield path and hasbird of each row that has a file. Append the other rows to `problems`."""
    paths = sorted([*folder.glob("*.csv"), *folder.glob("*/*.csv")])
    # Skip what macOS adds to archives, and unfinished downloads.
    visible = [p for p in paths if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    tables = {path: table for path in visible if (table := _read_table(path))}
    if not tables:
        raise _wrong_folder(folder, "it has no CSV file with the header itemid,datasetid,hasbird")
    for path, table in tables.items():
        inside = path.parent.relative_to(folder)
        file_of = {Path(name).stem: (inside / name).as_posix() for name in _wav_files(path.parent)}
        for row in table:
            item = row["itemid"].strip().removesuffix(".wav")
            if item in file_of:
                yield file_of[item], row["hasbird"].strip()
            else:
                missing = (inside / "wav" / f"{item}.wav").as_posix()
                problems.append(Problem(missing, "row without its file", path.name))


def _read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, none if it has other columns."""
    reader = csv.DictReader(read_text(path).splitlines(), restval="")
    return list(reader) if set(reader.fieldnames or ()) >= HEADER else []


def _wav_files(folder: Path) -> Iterator[str]:
    return sound_files(folder, frozenset({".wav"}))


def _wrong_folder(folder: Path, reason: str) -> UserError:
    remedy = (
        "unpack the recordings of each set into a folder wav, with the set's CSV file beside it, or run with "
        "--download"
    )
    return wrong_folder_error(folder, "DCASE 2018 bird audio detection", reason, remedy)


_ARCHIVE = "https://archive.org/download/"
_FIGSHARE = "https://ndownloader.figshare.com/files/"
DATASET = Dataset(
    "DCASE 2018 bird audio detection (ff1010bird, warblrb10k, BirdVox-DCASE-20k)",
    read,
    "labels CC BY 4.0; BirdVox CC BY 4.0; ff1010bird and warblrb10k: recordings under licences of their own",
    (
        Archive(f"{_ARCHIVE}ff1010bird/ff1010bird_wav.zip", "ff1010bird_wav.zip", "ff1010bird"),
        Archive(f"{_FIGSHARE}10853303", "ff1010bird_metadata_2018.csv", "ff1010bird"),
        Archive(
            f"{_ARCHIVE}warblrb10k_public/warblrb10k_public_wav.zip",
            "warblrb10k_public_wav.zip",
            "warblrb10k",
        ),
        Archive(f"{_FIGSHARE}10853306", "warblrb10k_public_metadata_2018.csv", "warblrb10k"),
        Archive(
            "https://zenodo.org/record/1208080/files/BirdVox-DCASE-20k.zip",
            "BirdVox-DCASE-20k.zip",
            "BirdVox-DCASE-20k",
        ),
        Archive(f"{_FIGSHARE}10853300", "BirdVoxDCASE20k_csvpublic.csv", "BirdVox-DCASE-20k"),
    ),
)
