"""Which samples make a batch. A batch is a pure function of the settings, the seed and its number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from audiostride.corpora.base import SPLITS
from audiostride.data.store import Store
from audiostride.errors import UserError


class Batch(TypedDict):
    """Windows with their labels.

    waveform: (windows, samples), int16.
    labels: from task to (windows,), −1 where a window has no label for the task.
    recording: (windows,), which recording of the selection each window was cut from.
    """

    waveform: Tensor
    labels: dict[str, Tensor]
    recording: Tensor


@dataclass(frozen=True)
class Selection:
    """The recordings of one split that carry one of the wanted labels.

    Attributes:
        store: that holds them.
        recordings: their positions in the store.
        labels: from task to (recordings,), index into the wanted labels, −1 for none.
    """

    store: Store
    recordings: NDArray[np.int64]
    labels: dict[str, NDArray[np.int64]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.store.starts)[self.recordings]

    def cut(self, chosen: NDArray[np.int64], begins: NDArray[np.int64], length: int) -> Batch:
        """Cut one window from each chosen recording; `begins` counts from its first sample.

        What lies outside the recording is silence.
        """
        waveform = np.zeros((len(chosen), length), dtype=np.int16)
        samples = np.asarray(self.store.waveforms)  # slicing a plain array is quicker
        where = self.recordings[chosen]
        firsts, ends = self.store.starts[where], self.store.starts[where + 1]
        opens = np.clip(firsts + begins, firsts, ends)
        closes = np.clip(firsts + begins + length, firsts, ends)
        for row, source, target, size in zip(
            waveform, opens, opens - firsts - begins, closes - opens, strict=True
        ):
            row[target : target + size] = samples[source : source + size]
        return {
            "waveform": torch.from_numpy(waveform),
            "labels": {task: torch.from_numpy(labels[chosen]) for task, labels in self.labels.items()},
            "recording": torch.from_numpy(chosen),
        }


def select(store: Store, split: str, labels: Mapping[str, Sequence[str]]) -> Selection:
    """The recordings of a split with one of the given labels for at least one task.

    Args:
        store: the prepared corpus.
        split: "train", "valid" or "test".
        labels: from task to the wanted labels, whose order gives their numbers.

    Raises:
        UserError: for a task or label that the corpus does not have, or if no recording is left.
    """
    numbers = {}
    for task, wanted in labels.items():
        known = store.tasks.get(task)
        if known is None:
            raise UserError(f"{store.folder} has no task {task}: it has {', '.join(store.tasks)}")
        unknown = [label for label in wanted if label not in known]
        if unknown:
            raise UserError(f"{store.folder} has no label {unknown[0]} for {task}: it has {', '.join(known)}")
        renumber = np.array([*(wanted.index(k) if k in wanted else -1 for k in known), -1])
        numbers[task] = renumber[store.labels[task]]
    carries = np.any([n >= 0 for n in numbers.values()], axis=0)
    recordings = np.flatnonzero((store.splits == SPLITS.index(split)) & carries)
    if len(recordings) == 0:
        raise UserError(f"{store.folder} has no {split} recordings with the labels that are asked for")
    return Selection(store, recordings, {task: n[recordings] for task, n in numbers.items()})


class TrainingWindows(Dataset[Batch]):
    """Item k is batch k of training, without end: a window from each of the next recordings, shuffled.

    A window lies anywhere inside its recording; a shorter recording lies anywhere inside its window.

    Args:
        selection: recordings to draw from, each once before any comes again.
        batch_size: windows per batch.
        window: samples per window.
        shift: samples by which a window may reach over either end of its recording.
        seed: of the order and of the windows.
    """

    def __init__(
        self, selection: Selection, batch_size: int, window: int, shift: int = 0, seed: int = 0
    ) -> None:
        self.selection, self.batch_size = selection, batch_size
        self.window, self.shift, self.seed = window, shift, seed

    def __getitem__(self, number: int) -> Batch:
        chosen = self._chosen(number)
        spare = self.selection.lengths[chosen] - self.window
        first, last = np.minimum(spare, 0) - self.shift, np.maximum(spare, 0) + self.shift
        begins = np.random.default_rng((self.seed, 1, number)).integers(first, last, endpoint=True)
        return self.selection.cut(chosen, begins, self.window)

    def _chosen(self, number: int) -> NDArray[np.int64]:
        count = len(self.selection.recordings)
        positions = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        epochs = range(positions[0] // count, positions[-1] // count + 1)
        orders = [_shuffled(self.seed, epoch, count) for epoch in epochs]
        return np.concatenate(orders)[positions - epochs[0] * count]


@lru_cache(maxsize=4)
def _shuffled(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of an epoch; kept, since all batches of the epoch ask for it."""
    return np.random.default_rng((seed, 0, epoch)).permutation(count)


class EvaluationWindows(Dataset[Batch]):
    """Every recording split into consecutive windows, in batches (the paper's evaluation).

    A recording has as many windows as fit, rounded to the nearest number and at least one; they are
    centred on it, and silence fills what they have more than it.

    Args:
        selection: the recordings.
        batch_size: windows per batch.
        window: samples per window.
    """

    def __init__(self, selection: Selection, batch_size: int, window: int) -> None:
        self.selection, self.batch_size, self.window = selection, batch_size, window
        lengths = selection.lengths
        counts = np.maximum(1, (lengths + window // 2) // window)
        self.chosen = np.repeat(np.arange(len(lengths)), counts)
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        self.begins = np.repeat((lengths - counts * window) // 2, counts) + place * window

    def __len__(self) -> int:
        return -(-len(self.chosen) // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        rows = slice(number * self.batch_size, (number + 1) * self.batch_size)
        return self.selection.cut(self.chosen[rows], self.begins[rows], self.window)
