"""How fast training windows come: from a prepared corpus, and from a WAV file opened for each."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audiostride.bench.corpora import noise_corpus
from audiostride.corpora.base import Corpus
from audiostride.data.prepare import prepare
from audiostride.data.windows import TrainingWindows, select


@dataclass
class WindowsBench:
    """Windows per second from a prepared corpus against one WAV file per window, in one process each."""

    files: int = 2000
    """Recordings of noise to cut from."""
    seconds: float = 2.0
    """Length of each."""
    batch_size: int = 256
    """Windows of one second per batch."""
    rounds: int = 20
    """Measurements of each kind, taken in turns; the median counts."""


class _Files(Dataset[tuple[Tensor, int]]):
    """What one would write: open the file, go to a random place, read a second."""

    def __init__(self, corpus: Corpus) -> None:
        self.paths = [corpus.folder / recording.path for recording in corpus.recordings]
        self.labels = [int(recording.labels["noise"]) for recording in corpus.recordings]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        with soundfile.SoundFile(self.paths[number]) as file:
            file.seek(int(torch.randint(file.frames - 16000 + 1, ())))
            samples = file.read(16000, dtype="int16")
        return torch.from_numpy(samples), self.labels[number]


def bench_windows(settings: WindowsBench) -> list[dict[str, Any]]:
    """One row per way: windows per second, as a multiple of those from files, and as a share of what copying
    memory would give.
    """
    with TemporaryDirectory() as folder:
        corpus = noise_corpus(Path(folder, "noise"), settings.files, settings.seconds)
        store = prepare(corpus, Path(folder, "prepared"))
        labels = store.tasks
        packed = TrainingWindows(select(store, "train", labels), settings.batch_size, 16000)
        files = DataLoader(_Files(corpus), settings.batch_size, shuffle=True, drop_last=True)
        block = np.zeros(settings.batch_size * 16000, dtype=np.int16)
        target = np.empty_like(block)
        ways = {
            "a WAV file per window": _next(files),
            "prepared corpus": _next(DataLoader(packed, batch_size=None, sampler=range(10**9))),
            "memory copy": lambda: np.copyto(target, block),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(settings.rounds + 1):
            for name, take in ways.items():
                seconds[name].append(_timed(take))
    rate = {name: settings.batch_size / median(times[1:]) for name, times in seconds.items()}
    return [
        {
            "way": name,
            "windows_per_second": rate[name],
            "times_files": rate[name] / rate["a WAV file per window"],
            "share_of_memory_copy": rate[name] / rate["memory copy"],
        }
        for name in ways
    ]


def _next(loader: DataLoader) -> Callable[[], Any]:
    """Gives batch after batch, beginning anew where the loader ends."""
    iterator = iter(loader)

    def take() -> Any:
        nonlocal iterator
        batch = next(iterator, None)
        if batch is None:
            iterator = iter(loader)
            batch = next(iterator)
        return batch

    return take


def _timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
