"""Speech Commands v0.01 and v0.02 (Warden, "Speech Commands: a dataset for limited-vocabulary speech
recognition", 2018): one word per recording.

    WORD/SPEAKER_nohash_N.wav                    16 kHz, mono, at most one second
    _background_noise_/*.wav                     minutes of noise, no word
    validation_list.txt, testing_list.txt        one WORD/FILE.wav per line; the others train
"""

import os
from pathlib import Path
from typing import Literal

from audiostride.corpora.base import (
    Archive,
    Corpus,
    Dataset,
    Problem,
    Recording,
    check_folder,
    printable,
    read_text,
    sound_files,
    wrong_folder_error,
)
from audiostride.corpora.splits import by_name
from audiostride.errors import UserError

TASK = "speech_commands"
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
WORDS = frozenset(
    "backward bed bird cat dog down eight five follow forward four go happy house learn left marvin nine no "
    "off on one right seven sheila six stop three tree two up visual wow yes zero".split()
)
# The 105,829 recordings of v0.02: training and test as in table A.1 of the paper, the rest for validation.
PAPER_COUNTS = {"train": 84771, "valid": 10358, "test": 10700}
ARCHIVE = "speech_commands_v0.02.tar.gz"


def read(folder: Path, split: Literal["official", "paper"] = "official") -> Corpus:
    """Read Speech Commands. A folder whose name begins with "_" or "." does not count as a word.

    Args:
        folder: The folder with one folder per word, and the two lists.
        split: "official" uses the two lists, which keep each speaker in one split; "paper" assigns each
            recording by the hash of its name, in the proportions of the paper's table A.1.

    Raises:
        UserError: if the folder is missing or empty, or is not Speech Commands.
    """
    check_folder(folder, f"unpack Speech Commands there ({ARCHIVE}), or run with --download")
    lists = {name: _read_list(folder, file) for name, file in LISTS.items()}
    words = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith(("_", ".")))
    files = {word: _wav_files(folder / word) for word in words}
    word_of = {f"{word}/{name}": word for word, names in files.items() for name in names}
    if not word_of:
        raise _wrong_folder(folder, "its folders contain no .wav file")
    if split == "official":
        listed = {path: name for name, paths in lists.items() for path in paths}
        splits = [listed.get(path, "train") for path in word_of]
    else:
        splits = by_name(list(word_of), PAPER_COUNTS)
    recordings = [
        Recording(path, name, {TASK: printable(word)}, path.split("/")[1].split("_nohash_")[0])
        for (path, word), name in zip(word_of.items(), splits, strict=True)
    ]
    problems = [
        Problem(path, "row without its file", LISTS[name])
        for name, paths in lists.items()
        for path in paths
        if path not in word_of
    ]
    # These recordings test.
    problems += [
        Problem(path, "file in both lists", "counts as test")
        for path in sorted(set(lists["valid"]).intersection(lists["test"]))
        if split == "official"
    ]
    labels = [printable(word) for word in words if files[word]]
    unknown = [word for word in labels if word not in WORDS]
    notes = (f"words that are not in Speech Commands: {', '.join(unknown)}",) if unknown else ()
    # These recordings are used. If all words are unknown, it is another dataset in the same layout.
    problems += [
        Problem(path, "label outside the known set", printable(word))
        for path, word in word_of.items()
        if printable(word) in unknown and len(unknown) < len(labels)
    ]
    return Corpus("speech_commands", folder, split, {TASK: labels}, recordings, notes, tuple(problems))


def _read_list(folder: Path, name: str) -> list[str]:
    if not (folder / name).is_file():
        raise _wrong_folder(folder, f"{name} is missing")
    lines = read_text(folder / name).splitlines()
    return [line.strip().removeprefix("./") for line in lines if line.strip()]


def _wrong_folder(folder: Path, reason: str) -> UserError:
    remedy = (
        "give the folder that holds validation_list.txt, testing_list.txt and one folder of .wav files per "
        "word, or run with --download"
    )
    return wrong_folder_error(folder, "Speech Commands", reason, remedy)


def _wav_files(folder: Path) -> list[str]:
    return [name for name in sound_files(folder, frozenset({".wav"})) if "/" not in name]


DATASET = Dataset(
    "Speech Commands v0.02",
    read,
    "CC BY 4.0",
    (
        Archive(
            f"http://download.tensorflow.org/data/{ARCHIVE}",
            ARCHIVE,
            size=2428923189,
            checksum="sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        ),
    ),
)
