"""The data loaders of a run, from its prepared corpora."""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from audiostride.config.messages import did_you_mean
from audiostride.config.settings import AugmentationSettings, DataSettings, TrainingSettings
from audiostride.data.augmentation import Augmentation
from audiostride.data.rates import check_rates
from audiostride.data.selection import Batch, Selection, has_validation_split, labels_of_tasks, select
from audiostride.data.store import Store, open_store
from audiostride.data.windows import EvaluationWindows, TrainingWindows
from audiostride.errors import UserError


class WindowsModule(LightningDataModule):
    """Batches of windows for training, validation and test.

    Training batches are numbered from the start of the run, so a resumed run continues with the next batch.
    Several devices share each training batch. Every device evaluates all recordings.

    Args:
        data: corpora, tasks, labels, and length of the windows.
        training: number and size of the batches, and the seed.
        augmentation: of the training windows, by default none.
        labels: from task to labels, as a classifier has them; the corpora need not have all of them. By
            default those that `data` selects.

    Raises:
        UserError: if a prepared corpus is missing or given twice, if corpora have several sample rates, if no
            corpus has a task or label that `data` names, or if the windows of a batch do not fit into the
            memory.
    """

    def __init__(
        self,
        data: DataSettings,
        training: TrainingSettings,
        augmentation: AugmentationSettings | None = None,
        labels: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.data, self.training = data, training
        self.stores = [open_store(Path(corpus)) for corpus in data.corpora]
        _check_duplicates(self.stores)
        check_rates(self.stores)
        self.sample_rate = self.stores[0].sample_rate
        self.strict = labels is None
        self.labels = labels or selected_labels(data, self.stores)
        self.window = round(data.window_s * self.sample_rate)
        _check_memory(training.batch_size, data.window_s, 2 * self.window)
        self.augmentation = augmentation or AugmentationSettings()
        self.augment = Augmentation(self.augmentation, self.sample_rate) if self.augmentation.draws else None
        self.selections: dict[str, Selection] = {}

    def select(self, split: str) -> Selection:
        """Return the recordings of a split: "train", "valid" or "test"."""
        if split not in self.selections:
            chosen = select(self.stores, split, self.labels, self.data.holdout, self.strict)
            if split == "train" and self.data.per_label is not None:
                chosen = chosen.limited(self.data.per_label, self.training.seed)
            self.selections[split] = chosen
        return self.selections[split]

    def split(self, task: str, part: str) -> str:
        """Return how the corpora of a task name a split, for example "official test"."""
        names = []
        for store in self.stores:
            if task in store.tasks:
                held_out = part == "valid" and not has_validation_split(store)
                names.append(f"{store.card['split']} {'train, held out' if held_out else part}")
        return " and ".join(dict.fromkeys(names))

    def weights(self) -> dict[str, float]:
        """Return the weight with which windows are drawn for each task, see `divide_among_tasks`.

        Raises:
            UserError: if `data.sampling` names a task that no corpus has, or is 0 for every task.
        """
        sampling = self.data.sampling
        if isinstance(sampling, dict):
            check_tasks("data.sampling", sampling, labels_of_tasks(self.stores))
            weights = {task: sampling.get(task, 1.0) for task in self.labels}
            if not any(weights.values()):
                raise UserError("data.sampling is 0 for every task: give one of them a weight")
            return weights
        if sampling == "uniform":
            return dict.fromkeys(self.labels, 1.0)
        train = self.select("train")
        return {task: float(train.labelled(task)) for task in self.labels}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, so that a run is not resumed or tested on other corpora.

        corpora: identity of each prepared corpus.
        groups: hash of the groups of each corpus that has no validation split, so that some are held out.
        trained: keys of the training recordings, see `Selection.keys`.
        """
        trained = torch.from_numpy(self.select("train").keys.view(np.int64))
        return {"corpora": self._identities, "groups": self._groups, "trained": trained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing: `changed_corpora` compares the state before training is resumed."""

    @property
    def _identities(self) -> list[str]:
        return [store.identity for store in self.stores]

    @property
    def _groups(self) -> list[str]:
        return [
            "" if has_validation_split(store) else hashlib.sha256(store.groups.tobytes()).hexdigest()
            for store in self.stores
        ]

    def changed_corpora(self, checkpoint: Mapping[str, Any]) -> str | None:
        """Return the folders of the corpora that are not those of a checkpoint, or None if all are the same.

        Checkpoints of earlier versions have no groups: these are not compared.
        """
        state, folders = checkpoint.get("WindowsModule", {}), self.data.corpora
        identities = state.get("corpora", self._identities)
        groups = state.get("groups", self._groups)
        if not len(identities) == len(groups) == len(folders):
            return " and ".join(folders)
        now = zip(self._identities, self._groups, strict=True)
        before = zip(identities, groups, strict=True)
        corpora = zip(folders, before, now, strict=True)
        return " and ".join(folder for folder, old, new in corpora if old != new) or None

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches until the next validation. The trainer calls this again after each."""
        assert self.trainer is not None
        batches_per_step = self.trainer.accumulate_grad_batches
        step = self.trainer.global_step
        next_validation = min(step + self.training.validate_every, self.training.steps)
        windows = TrainingWindows(
            self.select("train"),
            self.training.batch_size,
            self.window,
            round(self.augmentation.shift_s * self.sample_rate),
            self.training.seed,
            self.weights(),
            self.augment,
            self.trainer.world_size,
            self.trainer.global_rank,
        )
        return self._loader(windows, range(step * batches_per_step, next_validation * batches_per_step))

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_dataloader("valid")

    def evaluation_dataloader(self, split: str) -> DataLoader[Batch]:
        """Return all windows of all recordings of a split."""
        windows = EvaluationWindows(self.select(split), self.training.batch_size, self.window)
        return self._loader(windows, range(len(windows)))

    def _loader(self, windows: TrainingWindows | EvaluationWindows, numbers: range) -> DataLoader[Batch]:
        # An item is a whole batch, so there is nothing to collate.
        return DataLoader(
            windows,
            batch_size=None,
            sampler=numbers,
            num_workers=self.data.workers,
            pin_memory=torch.cuda.is_available(),
        )


def _check_duplicates(stores: Sequence[Store]) -> None:
    """Raise `UserError` if two corpora have the same recordings, maybe in different splits."""
    folders: dict[str, Path] = {}
    for store in stores:
        if store.card["hash"] in folders:
            raise UserError(
                f"data.corpus has the same recordings in {folders[store.card['hash']]} and {store.folder}: "
                "leave one out"
            )
        folders[store.card["hash"]] = store.folder


def _check_memory(windows: int, seconds: float, window_bytes: int) -> None:
    """Raise `UserError` if the memory of this machine is too small for the windows of one batch."""
    memory = _total_memory()
    if windows * window_bytes > memory:
        raise UserError(
            f"{windows} windows of {seconds:g} s (training.batch_size, data.window_s) do not fit into the "
            f"memory of {memory / 2**30:.0f} GiB: lower one of them"
        )


def _total_memory() -> float:
    """Return the bytes of memory that this machine has, infinity if they are unknown (Windows)."""
    if not hasattr(os, "sysconf"):
        return math.inf
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def selected_labels(data: DataSettings, stores: Sequence[Store]) -> dict[str, list[str]]:
    """Return from each task to be trained to its labels.

    Raises:
        UserError: if the settings name a task that no corpus has, leave no task, or name labels without a
            task although there are several.
    """
    available = labels_of_tasks(stores)
    tasks, left_out = _as_list(data.tasks) or list(available), _as_list(data.leave_out)
    check_tasks("data.tasks", tasks, available)
    check_tasks("data.leave_out", left_out, available)
    labels = {task: names for task, names in available.items() if task in tasks and task not in left_out}
    if not labels:
        raise UserError(f"data.leave_out leaves no task: there are {', '.join(available)}")
    if isinstance(data.labels, dict):
        check_tasks("data.labels", data.labels, available)
        return labels | {task: names for task, names in data.labels.items() if task in labels}
    if data.labels is not None and len(labels) > 1:
        raise UserError(
            f"data.labels lists the labels of one task, but there are {', '.join(labels)}: write it as "
            f"'{{{next(iter(labels))}: [{', '.join(data.labels)}]}}'"
        )
    return {task: data.labels or names for task, names in labels.items()}


def check_tasks(setting: str, tasks: Sequence[str] | Mapping[str, Any], available: Mapping[str, Any]) -> None:
    """Raise `UserError` if a setting names a task that is not available."""
    for task in tasks:
        if task not in available:
            raise UserError(f"{setting} names the task {task}: {did_you_mean(task, available)}")


def _as_list(names: list[str] | str | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())
