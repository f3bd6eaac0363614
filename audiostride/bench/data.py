"""Training windows per second: from prepared corpora, and from a WAV file opened for each window."""

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
from audiostride.data.selection import select
from audiostride.data.store import Store
from audiostride.data.windows import TrainingWindows
from audiostride.prepare.prepare import prepare
from audiostride.timing import in_turns, one_thread

_FILES, _COPY = "a WAV file per window", "memory copy"
_CALLS = 4  # batches per turn


class FileWindows(Dataset[tuple[Tensor, int]]):
    """The obvious implementation: open the file, seek to a random place, read one second.

    Args:
        corpus: recordings of noise, each at least one second long.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.paths = [corpus.folder / recording.path for recording in corpus.recordings]
        self.labels = [int(recording.labels["noise"]) for recording in corpus.recordings]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        with soundfile.SoundFile(self.paths[number]) as file:
            file.seek(int(torch.randint(file.frames - file.samplerate + 1, ())))
            samples = file.read(file.samplerate, dtype="int16")
        return torch.from_numpy(samples), self.labels[number]


def bench_windows(settings: WindowsBench) -> list[dict[str, Any]]:
    """Measure how fast batches of training windows are read.

    Returns:
        One row per source: windows per second, their ratio to that from files, and their ratio to that of
        copying as many samples from random places of the prepared corpus.
    """
    with TemporaryDirectory() as folder, one_thread():
        times = in_turns(_batch_sources(settings, Path(folder)), settings.rounds, _CALLS)
    rates = {name: 1000 * settings.batch_size / ms for name, ms in times.items()}
    return [
        {
            "source": name,
            "windows_per_second": rate,
            "times_files": rate / rates[_FILES],
            "share_of_memory_copy": rate / rates[_COPY],
        }
        for name, rate in rates.items()
    ]


def _batch_sources(settings: WindowsBench, folder: Path) -> dict[str, Callable[[], Any]]:
    """Return, by name, functions that read one batch at each call."""
    corpus = noise_corpus(folder / "noise", settings.files, settings.seconds)
    store = prepare(corpus, folder / "whole")
    sources = {_FILES: _from_files(corpus, settings), "prepared corpus": _from_stores([store], settings)}
    if settings.corpora > 1:
        stores = _prepare_parts(corpus, settings.corpora, folder)
        sources[f"{settings.corpora} prepared corpora"] = _from_stores(stores, settings)
    return sources | {_COPY: _copy(store, settings)}


def _prepare_parts(corpus: Corpus, parts: int, folder: Path) -> list[Store]:
    return [
        prepare(replace(corpus, recordings=corpus.recordings[number::parts]), folder / f"part{number}")
        for number in range(parts)
    ]


def _from_files(corpus: Corpus, settings: WindowsBench) -> Callable[[], Any]:
    files = FileWindows(corpus)
    sampler = RandomSampler(files, replacement=True, num_samples=10**6 * settings.batch_size)
    return _next_batch(DataLoader(files, settings.batch_size, sampler=sampler))


def _from_stores(stores: list[Store], settings: WindowsBench) -> Callable[[], Any]:
    selection = select(stores, "train", stores[0].tasks)
    windows = TrainingWindows(selection, settings.batch_size, selection.sample_rate)  # of one second
    return _next_batch(DataLoader(windows, batch_size=None, sampler=range(10**9)))


def _next_batch(loader: DataLoader) -> Callable[[], Any]:
    batches: Iterator[Any] = iter(loader)
    return lambda: next(batches)


def _copy(store: Store, settings: WindowsBench) -> Callable[[], None]:
    samples = np.asarray(store.waveforms)
    length = min(store.sample_rate * settings.batch_size, len(samples))
    target, rng = np.empty(length, dtype=np.int16), np.random.default_rng(0)

    def copy() -> None:
        begin = rng.integers(len(samples) - length, endpoint=True)
        target[:] = samples[begin : begin + length]

    return copy
