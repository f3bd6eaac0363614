"""The data loaders of a run, from its corpora."""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.messages import did_you_mean
from audiostride.config.run_folder import data_state
from audiostride.config.settings import AugmentationSettings, DataSettings, TrainingSettings
from audiostride.data.augmentation import Augmentation
from audiostride.data.examples import Examples
from audiostride.data.rates import check_rate_of_other, check_rates
from audiostride.data.selection import (
    AnyExamples,
    Batch,
    Selection,
    has_validation_split,
    labels_of_tasks,
    select,
)
from audiostride.data.store import Store, open_store
from audiostride.data.windows import EvaluationWindows, TrainingWindows
from audiostride.errors import UserError


class CorpusModule(LightningDataModule, Generic[AnyExamples]):
    """Batches of the examples of corpora, for training, validation and test.

    Training batches are numbered from the start of the run, so a resumed run continues with the next batch.
    Several devices share each training batch. Every device evaluates all examples.

    Args:
        data: corpora, tasks and labels.
        training: number and size of the batches, and the seed.
        augmentation: of the training batches, by default none.
        labels: from task to labels, as a classifier has them; the corpora need not have all of them. By
            default those that `data` selects.
        stores: the open corpora.

    Attributes:
        noun: what examples are called.
        key_text: by what an example is recognised in another corpus, see `Examples.keys`.
        has_groups: whether examples may belong to groups, such as those of a speaker.
        labels: from task to its labels.

    Raises:
        UserError: if no corpus has a task or label that `data` names.
    """

    noun, key_text, has_groups = "recordings", "the name and length", True

    def __init__(
        self,
        data: DataSettings,
        training: TrainingSettings,
        augmentation: AugmentationSettings | None,
        labels: dict[str, list[str]] | None,
        stores: Sequence[AnyExamples],
    ) -> None:
        super().__init__()
        self.data, self.training, self.stores = data, training, list(stores)
        self.augmentation = augmentation or AugmentationSettings()
        self.strict = labels is None
        self.labels = labels or selected_labels(data, self.stores)
        self.selections: dict[str, Selection[AnyExamples]] = {}

    def training_batches(self, devices: int, device: int) -> Dataset[Batch]:
        """Return the training batches, of which item k is batch k: the part of one of the devices."""
        raise NotImplementedError

    def evaluation_batches(self, split: str) -> Dataset[Batch]:
        """Return the batches of all examples of a split, in their order."""
        raise NotImplementedError

    def check_frontend(self, settings: FrontendSettings) -> None:
        """Raise `UserError` if a frontend that is to be trained does not take what the corpora hold."""
        raise NotImplementedError

    def check_model(self, settings: FrontendSettings, user: str) -> None:
        """Raise `UserError` if the frontend of a trained model, `user`, does not take what the corpora
        hold."""
        raise NotImplementedError

    def select(self, split: str) -> Selection[AnyExamples]:
        """Return the examples of a split: "train", "valid" or "test"."""
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
        """Return the weight with which examples are drawn for each task, see `divide_among_tasks`.

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

        corpora: identity of each corpus.
        groups: hash of the groups of each corpus that has no validation split, so that some are held out.
        trained: keys of the training examples, see `Selection.keys`.
        """
        trained = torch.from_numpy(self.select("train").keys.view(np.int64))
        return {"corpora": self.identities, "groups": self._groups, "trained": trained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing: `changed_corpora` compares the state before training is resumed."""

    @property
    def identities(self) -> list[str]:
        """The identity of each corpus."""
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
        state, folders = data_state(checkpoint), self.data.corpora
        identities = state.get("corpora", self.identities)
        groups = state.get("groups", self._groups)
        if not len(identities) == len(groups) == len(folders):
            return " and ".join(folders)
        now = zip(self.identities, self._groups, strict=True)
        before = zip(identities, groups, strict=True)
        corpora = zip(folders, before, now, strict=True)
        return " and ".join(folder for folder, old, new in corpora if old != new) or None

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches until the next validation. The trainer calls this again after each."""
        assert self.trainer is not None
        batches_per_step = self.trainer.accumulate_grad_batches
        step = self.trainer.global_step
        next_validation = min(step + self.training.validate_every, self.training.steps)
        batches = self.training_batches(self.trainer.world_size, self.trainer.global_rank)
        return self._loader(batches, range(step * batches_per_step, next_validation * batches_per_step))

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_dataloader("valid")

    def evaluation_dataloader(self, split: str) -> DataLoader[Batch]:
        """Return all examples of a split; of recordings, all their windows."""
        batches = self.evaluation_batches(split)
        return self._loader(batches, range(len(batches)))  # type: ignore[arg-type]

    def _loader(self, batches: Dataset[Batch], numbers: range) -> DataLoader[Batch]:
        # An item is a whole batch, so there is nothing to collate.
        return DataLoader(
            batches,
            batch_size=None,
            sampler=numbers,
            num_workers=self.data.workers,
            pin_memory=torch.cuda.is_available(),
        )


class WindowsModule(CorpusModule[Store]):
    """Batches of windows for training, validation and test.

    Args:
        data: corpora, tasks, labels, and length of the windows.
        training, augmentation, labels: as for `CorpusModule`.

    Raises:
        UserError: if a prepared corpus is missing or given twice, if corpora have several sample rates, if no
            corpus has a task or label that `data` names, if the windows of a batch do not fit into the
            memory, or if `data` names images.
    """

    def __init__(
        self,
        data: DataSettings,
        training: TrainingSettings,
        augmentation: AugmentationSettings | None = None,
        labels: dict[str, list[str]] | None = None,
    ) -> None:
        if data.images is not None:
            raise UserError(f"data.images is {data.images}, but this needs recordings of sound")
        stores = [open_store(Path(corpus)) for corpus in data.corpora]
        _check_duplicates(stores)
        check_rates(stores)
        super().__init__(data, training, augmentation, labels, stores)
        self.sample_rate = self.stores[0].sample_rate
        self.window = round(data.window_s * self.sample_rate)
        _check_memory(training.batch_size, data.window_s, 2 * self.window)
        self.augment = Augmentation(self.augmentation, self.sample_rate) if self.augmentation.draws else None
        if self.augment:
            self.augment.open_noise()

    def check_frontend(self, settings: FrontendSettings) -> None:
        check_rates(self.stores, settings.sample_rate)

    def check_model(self, settings: FrontendSettings, user: str) -> None:
        for store in self.stores:
            check_rate_of_other(store, settings.sample_rate, user)

    def training_batches(self, devices: int, device: int) -> TrainingWindows:
        return TrainingWindows(
            self.select("train"),
            self.training.batch_size,
            self.window,
            round(self.augmentation.shift_s * self.sample_rate),
            self.training.seed,
            self.weights(),
            self.augment,
            devices,
            device,
        )

    def evaluation_batches(self, split: str) -> EvaluationWindows:
        return EvaluationWindows(self.select(split), self.training.batch_size, self.window)


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
    memory = total_memory()
    if windows * window_bytes > memory:
        raise UserError(
            f"{windows} windows of {seconds:g} s (training.batch_size, data.window_s) do not fit into the "
            f"memory of {memory / 2**30:.0f} GiB: lower one of them"
        )


def total_memory() -> float:
    """Return the bytes of memory that this machine has, infinity if they are unknown (Windows)."""
    if not hasattr(os, "sysconf"):
        return math.inf
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def selected_labels(data: DataSettings, stores: Sequence[Examples]) -> dict[str, list[str]]:
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
