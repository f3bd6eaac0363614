"""Speech Commands v0.01 and v0.02 (Warden, "Speech Commands: a dataset for limited-vocabulary speech
recognition", 2018): one word per recording, CC BY 4.0.

    WORD/SPEAKER_nohash_N.wav                    16 kHz, mono, at most one second
    _background_noise_/*.wav                     minutes of noise, no word
    validation_list.txt, testing_list.txt        WORD/FILE.wav a line; all others train
"""

import os
from pathlib import Path

from audiostride.corpora.base import Corpus, Recording
from audiostride.errors import UserError

TASK = "speech_commands"
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}


def read(folder: Path) -> Corpus:
    """Find the words and recordings in `folder`; a folder that starts with "_" or "." is no word.

    Raises:
        UserError: where the folder is missing or empty, or is not Speech Commands.
    """
    _check_layout(folder)
    split_of = {path: split for split, name in LISTS.items() for path in _read_list(folder / name)}
    words = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith(("_", ".")))
    files = {word: _wav_files(folder / word) for word in words}
    recordings = [
        Recording(path, split_of.get(path, "train"), {TASK: word})
        for word, names in files.items()
        for path in (f"{word}/{name}" for name in names)
    ]
    if not recordings:
        raise _unlike(folder, "its folders hold no .wav file")
    missing = len(split_of.keys() - {recording.path for recording in recordings})
    notes = (
        [f"{missing} of the recordings in {' and '.join(LISTS.values())} are not in {folder}"]
        if missing
        else []
    )
    labels = [word for word in words if files[word]]
    return Corpus("speech_commands", folder, 16000, {TASK: labels}, recordings, tuple(notes))


def _check_layout(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: unpack speech_commands_v0.02.tar.gz there")
    if not any(folder.iterdir()):
        raise UserError(f"the folder {folder} is empty: unpack speech_commands_v0.02.tar.gz there")
    for name in LISTS.values():
        if not (folder / name).is_file():
            raise _unlike(folder, f"{name} is missing")


def _unlike(folder: Path, reason: str) -> UserError:
    return UserError(
        f"{folder} is not Speech Commands, {reason}: give the folder that holds validation_list.txt, "
        "testing_list.txt and one folder of .wav files per word"
    )


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise _unlike(path.parent, f"{path.name} is no text") from error
    return [line.strip().removeprefix("./") for line in lines if line.strip()]


def _wav_files(folder: Path) -> list[str]:
    names = (entry.name for entry in os.scandir(folder))
    return sorted(name for name in names if name.lower().endswith(".wav") and not name.startswith("."))
