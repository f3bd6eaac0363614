"""A small corpus of noise, the fixtures that prepare it, and what was written."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from audiostride.audio_file import Sound, read_sound
from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import Corpus, Recording
from audiostride.errors import UserError
from audiostride.prepare import reader_pool
from audiostride.prepare.prepare import prepare

ALLOW_BAD = PrepareSettings(bad=50, workers=1)


def noise(samples: int, seed: int) -> NDArray[np.float64]:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def write_noise_corpus(folder: Path, files: int = 12, **options: Any) -> Corpus:
    """Write sounds of different content and length, of two classes and three splits."""
    folder.mkdir(parents=True)
    recordings = []
    for number in range(files):
        name = f"{number:03}.wav"
        soundfile.write(folder / name, noise(200 + number, number), 16000, **options)
        split = ("train", "valid", "test", "train")[number % 4]
        recordings.append(Recording(name, split, {"task": "ab"[number % 2]}, f"speaker {number // 2}"))
    return Corpus("sounds", folder, "official", {"task": ["a", "b"]}, recordings)


def write_class_folders(folder: Path) -> None:
    """Write sounds of two classes and twelve groups, s0 to s11, in the layout of `prepare folder`."""
    for number in range(24):
        file = folder / "ab"[number % 2] / f"s{number // 2}_{number}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, noise(4000 + number, number), 16000)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return write_noise_corpus(tmp_path / "source")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "home" / "out"


@pytest.fixture
def names_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, in the order of reading, in chunks of four."""
    names: list[str] = []

    def read_and_note(path: Path, *rest: Any) -> Sound:
        names.append(path.name)
        return read_sound(path, *rest)

    monkeypatch.setattr(reader_pool, "read_sound", read_and_note)
    monkeypatch.setattr(reader_pool, "_CHUNK_FILES", 4)
    return names


def interrupt(corpus: Corpus, out: Path, after: int, settings: PrepareSettings = ALLOW_BAD) -> None:
    """Prepare, and press Ctrl-C when `after` files have been read."""
    read, count = reader_pool.read_sound, 0

    def read_or_interrupt(*args: Any) -> Sound:
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt
        return read(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_pool, "read_sound", read_or_interrupt)
        with pytest.raises(UserError, match=r"^interrupted: run the same command again to continue$"):
            prepare(corpus, out, settings)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_csv(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
        return list(csv.reader(lines))
