"""Which recordings of prepared corpora are used: a split, its labels, and what is held out of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, NotRequired, TypedDict, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiostride.config.messages import did_you_mean
from audiostride.corpora.base import SPLITS
from audiostride.corpora.splits import hashes, held_out
from audiostride.data.examples import Examples
from audiostride.data.gather import Sounds
from audiostride.data.store import Store
from audiostride.errors import UserError

AnyExamples = TypeVar("AnyExamples", bound=Examples)


class Batch(TypedDict):
    """Windows or images with their labels.

    waveform: (windows, samples), int16; or images (windows, colours, height, width), uint8. If several
        devices share a training batch, windows of other devices may follow, with which mixup mixes these.
    labels: from task to (windows,), index of a label, −1 where a window has no label for the task.
    recording: (windows,), index in the selection of the recording that each window was cut from.
    draws: in training, random numbers for the augmentation; see `audiostride.data.augmentation`.
    """

    waveform: Tensor
    labels: dict[str, Tensor]
    recording: Tensor
    draws: NotRequired[dict[str, Tensor]]


@dataclass(frozen=True)
class Selection(Generic[AnyExamples]):
    """The recordings or images of a split, from one or several corpora, that have a selected label.

    Attributes:
        stores: the corpora.
        store_of: (recordings,), index of the store that holds each recording.
        recordings: (recordings,), position of each recording in its store.
        labels: from task to (recordings,), index into the selected labels, −1 for none.
    """

    stores: tuple[AnyExamples, ...]
    store_of: NDArray[np.int64]
    recordings: NDArray[np.int64]
    labels: dict[str, NDArray[np.int64]]

    def __reduce__(self) -> Any:
        """Leave out `sounds`: other processes map the files themselves."""
        return Selection, (self.stores, self.store_of, self.recordings, self.labels)

    @cached_property
    def sounds(self: "Selection[Store]") -> Sounds:
        """The samples of the recordings."""
        begins, ends = np.zeros((2, len(self.recordings)), dtype=np.int64)
        for number, store in enumerate(self.stores):
            rows = self.store_of == number
            begins[rows] = store.starts[self.recordings[rows]]
            ends[rows] = store.starts[self.recordings[rows] + 1]
        arrays = tuple(np.asarray(store.waveforms) for store in self.stores)
        return Sounds(arrays, self.store_of, begins, ends)

    @cached_property
    def groups(self) -> NDArray[np.uint64]:
        """(recordings,), hash of the group of each recording, such as its speaker, instrument or place."""
        groups = np.zeros(len(self.recordings), dtype=np.uint64)
        for number, store in enumerate(self.stores):
            rows = self.store_of == number
            groups[rows] = store.groups[self.recordings[rows]]
        return groups

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """(recordings,), hash by which each recording is recognised in other corpora."""
        keys = np.zeros(len(self.recordings), dtype=np.uint64)
        for number, store in enumerate(self.stores):
            rows = self.store_of == number
            keys[rows] = store.keys(self.recordings[rows])
        return keys

    @property
    def sample_rate(self: "Selection[Store]") -> int:
        """Sample rate of the recordings in Hz, the same in all prepared corpora."""
        return self.stores[0].sample_rate

    @property
    def lengths(self: "Selection[Store]") -> NDArray[np.int64]:
        """(recordings,), length of each recording in samples."""
        return self.sounds.lengths

    def limited(self, per_label: int, seed: int) -> "Selection[AnyExamples]":
        """Return the selection with at most `per_label` recordings of each label of each task.

        They are chosen by the hash of the seed and the recording, so fewer are among more, whatever the other
        labels and tasks. A recording that is chosen for one task only has no label for the others.
        """
        order = np.argsort(hashes(f"{seed} {key}" for key in self.keys.tolist()), kind="stable")
        labels = {}
        for task, indices in self.labels.items():
            labels[task] = np.full_like(indices, -1)
            for label in range(indices.max(initial=-1) + 1):
                chosen = order[indices[order] == label][:per_label]
                labels[task][chosen] = label
        kept = np.any([indices >= 0 for indices in labels.values()], axis=0)
        remaining = {task: indices[kept] for task, indices in labels.items()}
        return Selection(self.stores, self.store_of[kept], self.recordings[kept], remaining)

    def labelled(self, task: str) -> int:
        """Return how many recordings have a label for the task."""
        return int((self.labels[task] >= 0).sum())

    def cut(
        self: "Selection[Store]", chosen: NDArray[np.int64], begins: NDArray[np.int64], length: int
    ) -> Batch:
        """Cut one window from each chosen recording; see `Sounds.cut`."""
        return {
            "waveform": self.sounds.cut(chosen, begins, length),
            "labels": {task: torch.from_numpy(labels[chosen]) for task, labels in self.labels.items()},
            "recording": torch.from_numpy(chosen),
        }


def select(
    stores: AnyExamples | Sequence[AnyExamples],
    split: str,
    labels: Mapping[str, Sequence[str]],
    holdout: float = 0.0,
    strict: bool = True,
) -> Selection[AnyExamples]:
    """Select the recordings of a split that have one of the given labels for at least one task.

    Args:
        stores: one corpus or several.
        split: "train", "valid" or "test".
        labels: from task to the labels to select. A label's index is its position here.
        holdout: fraction of the training recordings held out for validation in a corpus that has no
            validation split, in [0, 1].
        strict: raise an error about tasks and labels that no corpus has.

    Raises:
        UserError: if `strict` and no corpus has one of the tasks or labels.
    """
    stores = (stores,) if isinstance(stores, Examples) else tuple(stores)
    if strict:
        _check_labels(stores, labels)
    parts = [_select_from(store, split, labels, holdout) for store in stores]
    return Selection(
        stores,
        np.repeat(np.arange(len(stores)), [len(recordings) for recordings, _ in parts]),
        np.concatenate([recordings for recordings, _ in parts]),
        {task: np.concatenate([indices[task] for _, indices in parts]) for task in labels},
    )


def _select_from(
    store: Examples, split: str, labels: Mapping[str, Sequence[str]], holdout: float
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Return positions of the selected recordings in one store, and from task to their label indices."""
    indices = {}
    for task, selected in labels.items():
        index_of = {label: index for index, label in enumerate(selected)}
        # The last entry is for recordings without a label: their index is −1.
        new_index = np.array([*(index_of.get(label, -1) for label in store.tasks.get(task, [])), -1])
        indices[task] = new_index[store.labels.get(task, np.full(len(store.splits), -1))]
    labelled = np.any([index >= 0 for index in indices.values()], axis=0)
    recordings = np.flatnonzero(labelled & (_splits(store, holdout) == SPLITS.index(split)))
    return recordings, {task: index[recordings] for task, index in indices.items()}


def _splits(store: Examples, holdout: float) -> NDArray[np.int8]:
    """Return (recordings,), index into `SPLITS`, with validation held out of training if there is none."""
    if has_validation_split(store):
        return store.splits
    train = np.flatnonzero(store.splits == SPLITS.index("train"))
    strata = next(iter(store.labels.values()))[train]
    splits = store.splits.copy()
    splits[train[held_out(store.groups[train], strata, holdout)]] = SPLITS.index("valid")
    return splits


def has_validation_split(store: Examples) -> bool:
    """Return whether a corpus has a validation split."""
    return bool((store.splits == SPLITS.index("valid")).any())


def _check_labels(stores: Sequence[Examples], labels: Mapping[str, Sequence[str]]) -> None:
    folders = " and ".join(str(store.folder) for store in stores)
    available = labels_of_tasks(stores)
    for task, selected in labels.items():
        if task not in available:
            raise UserError(f"{folders} has no task {task}: {did_you_mean(task, available)}")
        unknown = [label for label in selected if label not in available[task]]
        if unknown:
            hint = did_you_mean(unknown[0], available[task], otherwise="it has")
            raise UserError(f"{folders} has no label {unknown[0]} for {task}: {hint}")


def labels_of_tasks(stores: Sequence[Examples]) -> dict[str, list[str]]:
    """Return every task of the corpora with its labels. A task of several corpora has the labels of all."""
    labels: dict[str, list[str]] = {}
    for store in stores:
        for task, names in store.tasks.items():
            labels[task] = list(dict.fromkeys([*labels.get(task, []), *names]))
    return labels
