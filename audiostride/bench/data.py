"""How fast training windows come: from prepared corpora, and from a WAV file opened for each."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from audiostride.bench.noise_corpus import noise_corpus
from audiostride.bench.settings import WindowsBench
from audiostride.corpora.base import Corpus
from audiostride.data.windows import TrainingWindows, select
from audiostride.prepare.prepare import prepare
from audiostride.timing import in_turns

_FILES, _COPY = "a WAV file per window", "memory copy"
_CALLS = 4  # in a turn


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
    as much from random places of the prepared corpus gives.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory() as folder:
            taken = in_turns(_ways(settings, Path(folder)), settings.rounds, _CALLS)
    finally:
        torch.set_num_threads(threads)
    rates = {name: 1000 * settings.batch_size / ms for name, ms in taken.items()}
    return [
        {
            "way": name,
            "windows_per_second": rate,
            "times_files": rate / rates[_FILES],
            "share_of_memory_copy": rate / rates[_COPY],
        }
        for name, rate in rates.items()
    ]


def _ways(settings: WindowsBench, folder: Path) -> dict[str, Callable[[], Any]]:
    """What gives a batch at each call."""
    corpus = noise_corpus(folder / "noise", settings.files, settings.seconds)
    store = prepare(corpus, folder / "whole")
    files = _Files(corpus)
    sampler = RandomSampler(files, replacement=True, num_samples=10**6 * settings.batch_size)
    flat, length = np.asarray(store.waveforms), min(16000 * settings.batch_size, len(store.waveforms))
    rng = np.random.default_rng(0)

    target = np.empty(length, dtype=np.int16)

    def copy() -> None:
        begin = rng.integers(len(flat) - length, endpoint=True)
        target[:] = flat[begin : begin + length]

    parts = [
        replace(corpus, recordings=corpus.recordings[number :: settings.corpora])
        for number in range(settings.corpora)
    ]
    several = [prepare(part, folder / f"part{number}") for number, part in enumerate(parts)]
    ways: dict[str, Callable[[], Any]] = {
        _FILES: _next(DataLoader(files, settings.batch_size, sampler=sampler)),
        "prepared corpus": _next(_packed([store], settings)),
    }
    if settings.corpora > 1:
        ways[f"{settings.corpora} prepared corpora"] = _next(_packed(several, settings))
    return ways | {_COPY: copy}


def _packed(stores: list[Any], settings: WindowsBench) -> DataLoader:
    windows = TrainingWindows(select(stores, "train", stores[0].tasks), settings.batch_size, 16000)
    return DataLoader(windows, batch_size=None, sampler=range(10**9))


def _next(loader: DataLoader) -> Callable[[], Any]:
    batches: Iterator[Any] = iter(loader)
    return lambda: next(batches)
