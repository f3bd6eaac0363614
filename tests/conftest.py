"""Shared fixtures: small prepared corpora of plain sounds, and the recorded corpora if they are available."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.two_tasks import write_sounds
from numpy.typing import NDArray

from audiostride.corpora import speech_commands
from audiostride.data.store import Store
from audiostride.log import show_messages
from audiostride.prepare.prepare import prepare

pytest_plugins = ["helpers.archive_server", "helpers.noise_corpus", "helpers.soak", "helpers.trained"]
os.environ.pop("COLUMNS", None)  # with --numprocesses it would be the width of the terminal
show_messages()  # also for tests that call a function which a command would call
RECORDED = Path(__file__).parents[2] / "shared" / "corpora"
WORDS = ("yes", "no", "stop")


def write_words(folder: Path, per_word: int = 10, seed: int = 0) -> Path:
    """Write sounds in the layout of Speech Commands: six of ten train, two validate and two test.

    "yes" is a tone, "no" a series of clicks and "stop" noise. The words do not differ in pitch, because a
    network that pools over frequency cannot tell pitches apart.
    """
    rng = np.random.default_rng(seed)
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    for word in WORDS:
        (folder / word).mkdir(parents=True)
        for number in range(per_word):
            samples = int(rng.integers(6000, 16000)) if number % 3 else 16000
            sound = _sound(word, samples, rng) + 0.005 * rng.standard_normal(samples)
            name = f"{word}/{number:08x}_nohash_0.wav"
            soundfile.write(folder / name, sound, 16000, subtype="PCM_16")
            if number % 10 in (6, 7):
                lists["validation_list.txt"].append(name)
            elif number % 10 in (8, 9):
                lists["testing_list.txt"].append(name)
    for name, files in lists.items():
        (folder / name).write_text("".join(f"{file}\n" for file in files))
    (folder / "_background_noise_").mkdir()
    soundfile.write(folder / "_background_noise_" / "hum.wav", rng.standard_normal(32000) / 10, 16000)
    return folder


def _sound(word: str, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if word == "yes":
        return 0.3 * np.sin(2 * np.pi * rng.uniform(0.02, 0.2) * np.arange(samples))
    if word == "no":
        return 0.8 * (np.arange(samples) % int(rng.integers(1200, 2400)) == 600)
    return 0.1 * rng.standard_normal(samples)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return write_words(tmp_path / "speech_commands")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("corpus")
    return prepare(speech_commands.read(write_words(folder / "source")), folder / "prepared")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the recorded corpora, unpacked: speech_commands, nsynth, birdsong and acoustic_scenes."""
    if not (RECORDED / "unpack").is_file():
        pytest.skip("the folder ../shared/corpora with the recorded corpora is missing")
    out = tmp_path_factory.mktemp("recorded")
    subprocess.run([sys.executable, RECORDED / "unpack", out], check=True)
    return out


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("sounds")
    return prepare(write_sounds(folder / "source"), folder / "prepared")


@pytest.fixture(scope="session")
def unvalidated(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("unvalidated")
    return prepare(write_sounds(folder / "source", valid=False), folder / "prepared")


@pytest.fixture
def default_sigint() -> Iterator[None]:
    """Let Ctrl-C work again after the test: Lightning ignores it after an interruption."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the test runs in, as a user would; `tmp_path` is above it."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
