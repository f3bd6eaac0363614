"""Batches of windows for training and evaluation.

A training batch is a pure function of the settings, the seed and the batch's number, whatever the number of
devices that share it.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from audiostride.data.augmentation import Augmentation, draws_of_rows
from audiostride.data.selection import Batch, Selection
from audiostride.prediction.windows import consecutive_windows

# Windows in the pattern in which tasks alternate, unless all tasks have the same share.
_PATTERN_LENGTH = 4096


class TrainingWindows(Dataset[Batch]):
    """Item k is training batch k, for any k ≥ 0: one window from each of the next recordings, shuffled.

    Each recording is drawn for one task, see `divide_among_tasks`, and its window has all labels of the
    recording. Tasks alternate in a fixed pattern, a few thousand windows long, which approximates their
    shares. A window lies anywhere inside its recording; a shorter recording lies anywhere inside its window.

    Args:
        selection: recordings to draw from. All recordings of a task are drawn once before any is repeated.
        batch_size: windows per batch.
        window: samples per window.
        shift: number of samples by which a window may reach over either end of its recording.
        seed: seed of the order and of the windows' positions.
        weights: from task to its weight, 0 if not named; by default all tasks have the same.
        augmentation: draws random numbers for the augmentation; by default there is none.
        devices: number of devices that share each batch, ≥ 1.
        device: which of them gets these windows, from 0. Its windows are those of one device with the whole
            batch: the first and every `devices`-th one after it.
    """

    def __init__(
        self,
        selection: Selection,
        batch_size: int,
        window: int,
        shift: int = 0,
        seed: int = 0,
        weights: Mapping[str, float] | None = None,
        augmentation: Augmentation | None = None,
        devices: int = 1,
        device: int = 0,
    ) -> None:
        self.selection, self.batch_size = selection, batch_size
        self.window, self.shift, self.seed = window, shift, seed
        self.augmentation = augmentation
        self.devices, self.device = devices, device
        weights = weights or dict.fromkeys(selection.labels, 1.0)
        self.recordings_of_task, shares = divide_among_tasks(selection.labels, weights)
        self.task_pattern, self.ordinals, self.counts = _pattern(shares)

    def __getitem__(self, number: int) -> Batch:
        chosen = self._chosen(number)
        # Sorted by corpus, so that each corpus fills its part of the batch by one gather.
        chosen = chosen[np.argsort(self.selection.store_of[chosen], kind="stable")]
        slack = self.selection.lengths[chosen] - self.window
        first, last = np.minimum(slack, 0) - self.shift, np.maximum(slack, 0) + self.shift
        begins = np.random.default_rng((self.seed, 1, number)).integers(first, last, endpoint=True)
        rows, draws = np.arange(self.device, self.batch_size, self.devices), None
        if self.augmentation:
            rng = np.random.default_rng((self.seed, 2, number))
            draws = self.augmentation.draw(rng, self.batch_size, self.window)
            if self.devices > 1:
                rows, draws = draws_of_rows(draws, rows)
        batch = self.selection.cut(chosen[rows], begins[rows], self.window)
        if draws is not None:
            batch["draws"] = draws
        return batch

    def _chosen(self, number: int) -> NDArray[np.int64]:
        """Return (windows,), the recordings of batch `number`."""
        positions = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        repeats, places = np.divmod(positions, len(self.task_pattern))
        chosen = np.empty(self.batch_size, dtype=np.int64)
        for task, recordings in enumerate(self.recordings_of_task):
            rows = np.flatnonzero(self.task_pattern[places] == task)
            # Index of each row among all windows of the task since the start of the run.
            indices = repeats[rows] * self.counts[task] + self.ordinals[places[rows]]
            epochs, indices = np.divmod(indices, len(recordings))
            for epoch in np.unique(epochs).tolist():
                order = shuffled(self.seed, epoch, task, len(recordings))
                chosen[rows[epochs == epoch]] = recordings[order[indices[epochs == epoch]]]
        return chosen


def divide_among_tasks(
    labels: Mapping[str, NDArray[np.int64]], weights: Mapping[str, float]
) -> tuple[list[NDArray[np.int64]], NDArray[np.float64]]:
    """Divide recordings among tasks: each is drawn for the task that draws its recordings most often.

    A task draws its recordings at the rate weight / (number of its recordings). So tasks with equal weights
    have labels in equally many windows, whether they share all of their recordings (such as instrument and
    pitch of a note) or none. If they share some, the task with more recordings has labels in more windows.

    Args:
        labels: from task to (recordings,), index of a label, −1 for none.
        weights: from task to its weight, ≥ 0; tasks that are not named have 0.

    Returns:
        The recordings that are drawn for each task, without tasks for which none is drawn; and the share of
        the windows of each of these tasks, (tasks,), in any unit.
    """
    labelled = np.stack([indices >= 0 for indices in labels.values()])
    rates = np.array([weights.get(task, 0.0) for task in labels]) / labelled.sum(1).clip(min=1)
    rate_of_recording = np.where(labelled, rates[:, None], 0.0)
    drawn_for = np.where(rate_of_recording.any(0), rate_of_recording.argmax(0), -1)
    counts = np.bincount(drawn_for[drawn_for >= 0], minlength=len(rates))
    drawn = np.flatnonzero(counts)
    return [np.flatnonzero(drawn_for == task) for task in drawn], (counts * rates)[drawn]


def _pattern(shares: NDArray[np.float64]) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int64]]:
    """Return a pattern that spreads the windows of every task evenly.

    Args:
        shares: (tasks,), share of each task, > 0, in any unit.

    Returns:
        task of each window (windows,), its index among the windows of its task (windows,), and the number of
        windows of each task (tasks,).
    """
    counts = np.maximum(1, np.rint(_PATTERN_LENGTH * shares / shares.sum())).astype(np.int64)
    if np.allclose(shares, shares[0]):
        counts[:] = 1
    tasks = np.repeat(np.arange(len(counts)), counts)
    ordinals = np.concatenate([np.arange(count) for count in counts])
    order = np.argsort((ordinals + 0.5) / counts[tasks], kind="stable")
    # Small types, because each process that loads batches gets a copy.
    return tasks[order].astype(np.int16), ordinals[order].astype(np.int16), counts


@lru_cache(maxsize=32)
def shuffled(seed: int, epoch: int, task: int, count: int) -> NDArray[np.int64]:
    """Return the order of a task's recordings in an epoch, cached for the epoch's other batches."""
    return np.random.default_rng((seed, 0, epoch, task)).permutation(count)


class EvaluationWindows(Dataset[Batch]):
    """Every recording split into consecutive windows, in batches: the paper's evaluation.

    `consecutive_windows` says where the windows lie.

    Args:
        selection: the recordings.
        batch_size: windows per batch; the last batch may be smaller.
        window: samples per window.
    """

    def __init__(self, selection: Selection, batch_size: int, window: int) -> None:
        self.selection, self.batch_size, self.window = selection, batch_size, window
        lengths = selection.lengths
        counts, firsts = consecutive_windows(lengths, window)
        self.chosen = np.repeat(np.arange(len(lengths)), counts)
        index = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        self.begins = np.repeat(firsts, counts) + index * window

    def __len__(self) -> int:
        return -(-len(self.chosen) // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        rows = slice(number * self.batch_size, (number + 1) * self.batch_size)
        return self.selection.cut(self.chosen[rows], self.begins[rows], self.window)
