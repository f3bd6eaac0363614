"""Which samples make a batch. A batch is a pure function of the settings, the seed and its number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from audiostride.corpora.base import SPLITS
from audiostride.corpora.splits import held_out
from audiostride.data.augmentation import Augmentation
from audiostride.data.gather import Sounds
from audiostride.data.store import Store
from audiostride.errors import UserError


class Batch(TypedDict):
    """Windows with their labels.

    waveform: (windows, samples), int16.
    labels: from task to (windows,), −1 where a window has no label for the task.
    recording: (windows,), which recording of the selection each window was cut from.
    draws: in training, what chance has chosen for the augmentation; see `audiostride.data.augmentation`.
    """

    waveform: Tensor
    labels: dict[str, Tensor]
    recording: Tensor
    draws: NotRequired[dict[str, Tensor]]


@dataclass(frozen=True)
class Selection:
    """The recordings of one split, from one prepared corpus or several, with a label of the wanted ones.

    Attributes:
        stores: that hold them.
        store_of: (recordings,), which store holds a recording.
        recordings: (recordings,), its position there.
        labels: from task to (recordings,), index into the wanted labels, −1 for none.
    """

    stores: tuple[Store, ...]
    store_of: NDArray[np.int64]
    recordings: NDArray[np.int64]
    labels: dict[str, NDArray[np.int64]]

    def __reduce__(self) -> Any:
        """Without `sounds`, whose maps other processes open themselves."""
        return Selection, (self.stores, self.store_of, self.recordings, self.labels)

    @cached_property
    def sounds(self) -> Sounds:
        begins, ends = np.zeros((2, len(self.recordings)), dtype=np.int64)
        for number, store in enumerate(self.stores):
            here = self.store_of == number
            begins[here] = store.starts[self.recordings[here]]
            ends[here] = store.starts[self.recordings[here] + 1]
        maps = tuple(np.asarray(store.waveforms) for store in self.stores)
        return Sounds(maps, self.store_of, begins, ends)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.sounds.lengths

    def labelled(self, task: str) -> int:
        """How many recordings have a label for the task."""
        return int((self.labels[task] >= 0).sum())

    def cut(self, chosen: NDArray[np.int64], begins: NDArray[np.int64], length: int) -> Batch:
        """Cut one window from each chosen recording; see `Sounds.cut`."""
        return {
            "waveform": self.sounds.cut(chosen, begins, length),
            "labels": {task: torch.from_numpy(labels[chosen]) for task, labels in self.labels.items()},
            "recording": torch.from_numpy(chosen),
        }


def select(
    stores: Store | Sequence[Store],
    split: str,
    labels: Mapping[str, Sequence[str]],
    holdout: float = 0.0,
    strict: bool = True,
) -> Selection:
    """The recordings of a split with one of the given labels for at least one task.

    Args:
        stores: one prepared corpus or several.
        split: "train", "valid" or "test".
        labels: from task to the wanted labels, whose order gives their numbers.
        holdout: share of the training recordings that validates in a corpus without validation recordings.
        strict: whether every task and label must be in some corpus.

    Raises:
        UserError: for a task or label that no corpus has, where `strict`.
    """
    stores = (stores,) if isinstance(stores, Store) else tuple(stores)
    if strict:
        _check_labels(stores, labels)
    parts = [_select_one(store, split, labels, holdout) for store in stores]
    return Selection(
        stores,
        np.repeat(np.arange(len(stores)), [len(recordings) for recordings, _ in parts]),
        np.concatenate([recordings for recordings, _ in parts]),
        {task: np.concatenate([numbers[task] for _, numbers in parts]) for task in labels},
    )


def _select_one(
    store: Store, split: str, labels: Mapping[str, Sequence[str]], holdout: float
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Positions of the recordings in one store, and their numbers of each label."""
    numbers = {}
    for task, wanted in labels.items():
        known = store.tasks.get(task, [])
        place = {label: number for number, label in enumerate(wanted)}
        renumber = np.array([*(place.get(label, -1) for label in known), -1])
        numbers[task] = renumber[store.labels.get(task, np.full(len(store.splits), -1))]
    carries = np.any([n >= 0 for n in numbers.values()], axis=0)
    recordings = np.flatnonzero(carries & (_splits(store, holdout) == SPLITS.index(split)))
    return recordings, {task: n[recordings] for task, n in numbers.items()}


def _splits(store: Store, holdout: float) -> NDArray[np.int8]:
    """The split of each recording, some of training held out to validate where none does."""
    train, valid = SPLITS.index("train"), SPLITS.index("valid")
    if validates(store):
        return store.splits
    trains = np.flatnonzero(store.splits == train)
    strata = next(iter(store.labels.values()))[trains]
    splits = store.splits.copy()
    splits[trains[held_out(store.groups[trains], strata, holdout)]] = valid
    return splits


def validates(store: Store) -> bool:
    """Whether a corpus has validation recordings of its own."""
    return bool((store.splits == SPLITS.index("valid")).any())


def _check_labels(stores: Sequence[Store], labels: Mapping[str, Sequence[str]]) -> None:
    where = " and ".join(str(store.folder) for store in stores)
    for task, wanted in labels.items():
        known = known_labels(stores).get(task)
        if known is None:
            raise UserError(f"{where} has no task {task}: there are {', '.join(known_labels(stores))}")
        unknown = [label for label in wanted if label not in known]
        if unknown:
            raise UserError(f"{where} has no label {unknown[0]} for {task}: it has {', '.join(known)}")


def known_labels(stores: Sequence[Store]) -> dict[str, list[str]]:
    """From every task of some corpora to its labels; of a task in several, those of all."""
    labels: dict[str, list[str]] = {}
    for store in stores:
        for task, names in store.tasks.items():
            labels[task] = list(dict.fromkeys([*labels.get(task, []), *names]))
    return labels


class TrainingWindows(Dataset[Batch]):
    """Item k is batch k of training, without end: a window from each of the next recordings, shuffled.

    Tasks take turns in a fixed pattern that comes as near to their shares as a few thousand windows allow; a
    window has all the labels of its recording, whichever task it was drawn for. A window lies anywhere inside
    its recording; a shorter recording lies anywhere inside its window.

    Args:
        selection: recordings to draw from; those of a task each once before any comes again.
        batch_size: windows per batch.
        window: samples per window.
        shift: samples by which a window may reach over either end of its recording.
        seed: of the order and of the windows.
        shares: from task to its share of the windows, in any unit; by default the same for all.
        augmentation: of the windows, or none.
    """

    def __init__(
        self,
        selection: Selection,
        batch_size: int,
        window: int,
        shift: int = 0,
        seed: int = 0,
        shares: Mapping[str, float] | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.selection, self.batch_size = selection, batch_size
        self.window, self.shift, self.seed = window, shift, seed
        self.augmentation = augmentation
        shares = shares or dict.fromkeys(selection.labels, 1.0)
        tasks = [task for task in selection.labels if shares.get(task, 0) > 0]
        self.pools = [np.flatnonzero(selection.labels[task] >= 0) for task in tasks]
        self.turns, self.places, self.counts = _pattern(np.array([shares[task] for task in tasks]))

    def __getitem__(self, number: int) -> Batch:
        chosen = self._chosen(number)
        # By corpus, so that each is read by one gather into its part of the batch.
        chosen = chosen[np.argsort(self.selection.store_of[chosen], kind="stable")]
        spare = self.selection.lengths[chosen] - self.window
        first, last = np.minimum(spare, 0) - self.shift, np.maximum(spare, 0) + self.shift
        begins = np.random.default_rng((self.seed, 1, number)).integers(first, last, endpoint=True)
        batch = self.selection.cut(chosen, begins, self.window)
        if self.augmentation:
            rng = np.random.default_rng((self.seed, 2, number))
            batch["draws"] = self.augmentation.draw(rng, self.batch_size, self.window)
        return batch

    def _chosen(self, number: int) -> NDArray[np.int64]:
        """The recordings of batch `number`."""
        positions = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        rounds, steps = np.divmod(positions, len(self.turns))
        chosen = np.empty(self.batch_size, dtype=np.int64)
        for task, pool in enumerate(self.pools):
            rows = np.flatnonzero(self.turns[steps] == task)
            # The how-manieth window of the task each row is, since the start of the run.
            ordinals = rounds[rows] * self.counts[task] + self.places[steps[rows]]
            epochs, places = np.divmod(ordinals, len(pool))
            for epoch in np.unique(epochs).tolist():
                order = _shuffled(self.seed, epoch, task, len(pool))
                chosen[rows[epochs == epoch]] = pool[order[places[epochs == epoch]]]
        return chosen


def _pattern(shares: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Turns of tasks, spread evenly: whose each step is, its how-manieth of them, and how many each has."""
    counts = np.maximum(1, np.rint(4096 * shares / shares.sum())).astype(np.int64)
    if (shares == shares[0]).all():
        counts[:] = 1
    tasks = np.repeat(np.arange(len(counts)), counts)
    places = np.concatenate([np.arange(count) for count in counts])
    order = np.argsort((places + 0.5) / counts[tasks], kind="stable")
    return tasks[order], places[order], counts


@lru_cache(maxsize=32)
def _shuffled(seed: int, epoch: int, task: int, count: int) -> NDArray[np.int64]:
    """The order of an epoch of a task; kept, since all batches of the epoch ask for it."""
    return np.random.default_rng((seed, 0, epoch, task)).permutation(count)


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
