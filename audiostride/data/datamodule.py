"""The loaders of a run, over its prepared corpora."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from audiostride.config.settings import AugmentationSettings, DataSettings, TrainingSettings
from audiostride.data.augmentation import Augmentation
from audiostride.data.store import Store, open_store
from audiostride.data.windows import (
    Batch,
    EvaluationWindows,
    Selection,
    TrainingWindows,
    known_labels,
    select,
    validates,
)
from audiostride.errors import UserError


class WindowsModule(LightningDataModule):
    """Batches of windows for training, validation and test.

    Training batches are numbered from the start of the run, so a resumed run goes on where it stopped, and
    with several devices each takes batches of its own. Evaluation is done whole on every device.

    Args:
        data: where the corpora lie, which tasks and labels are wanted, and how windows are cut.
        training: number and size of batches, and the seed.
        augmentation: of the training windows.
        labels: from task to labels, as a model has them; the corpora need not have all. By default those that
            `data` asks for.

    Raises:
        UserError: where there is no prepared corpus, or one is given twice; where the corpora lack a task or
            a label that is asked for.
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
        _check_twice(self.stores)
        self.strict = labels is None
        self.labels = labels or wanted_labels(data, self.stores)
        self.window = round(data.window_s * self.stores[0].sample_rate)
        self.augmentation = augmentation or AugmentationSettings()
        self.augment = Augmentation(self.augmentation) if self.augmentation.draws else None
        self.selections: dict[str, Selection] = {}

    def select(self, split: str) -> Selection:
        if split not in self.selections:
            self.selections[split] = select(self.stores, split, self.labels, self.data.holdout, self.strict)
        return self.selections[split]

    def split(self, task: str, part: str) -> str:
        """Which recordings a split of the task is, as its corpora say: "official test"."""
        homes = [store for store in self.stores if task in store.tasks]
        names = [
            f"{store.card['split']} {part if part != 'valid' or validates(store) else 'train, held out'}"
            for store in homes
        ]
        return " and ".join(dict.fromkeys(names))

    def shares(self) -> dict[str, float]:
        """From each task to its share of the training windows, in any unit.

        Raises:
            UserError: where `data.sampling` names a task that no corpus has, or all shares are 0.
        """
        sampling = self.data.sampling
        if isinstance(sampling, dict):
            check_tasks("data.sampling", sampling, known_labels(self.stores))
            shares = {task: sampling.get(task, 1.0) for task in self.labels}
            if not any(shares.values()):
                raise UserError("data.sampling is 0 for every task: give one of them a weight")
            return shares
        if sampling == "uniform":
            return dict.fromkeys(self.labels, 1.0)
        train = self.select("train")
        return {task: float(train.labelled(task)) for task in self.labels}

    def state_dict(self) -> dict[str, Any]:
        """Kept in checkpoints, so that a run is not resumed on other corpora."""
        return {"corpora": [store.identity for store in self.stores]}

    def train_dataloader(self) -> DataLoader[Batch]:
        """The batches up to the next validation; the trainer asks again after each."""
        assert self.trainer is not None
        per_step = self.trainer.accumulate_grad_batches * self.trainer.world_size
        done = self.trainer.global_step
        until = min(done + self.training.validate_every, self.training.steps)
        windows = TrainingWindows(
            self.select("train"),
            self.training.batch_size,
            self.window,
            round(self.augmentation.shift_s * self.stores[0].sample_rate),
            self.training.seed,
            self.shares(),
            self.augment,
        )
        mine = range(done * per_step + self.trainer.global_rank, until * per_step, self.trainer.world_size)
        return self._loader(windows, mine)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_dataloader("valid")

    def evaluation_dataloader(self, split: str) -> DataLoader[Batch]:
        windows = EvaluationWindows(self.select(split), self.training.batch_size, self.window)
        return self._loader(windows, range(len(windows)))

    def _loader(self, windows: TrainingWindows | EvaluationWindows, numbers: range) -> DataLoader[Batch]:
        # One item is one batch already, cut from the memory map: nothing to collate.
        return DataLoader(
            windows,
            batch_size=None,
            sampler=numbers,
            num_workers=self.data.workers,
            pin_memory=torch.cuda.is_available(),
        )


def _check_twice(stores: Sequence[Store]) -> None:
    """Raise `UserError` where the same sound is in two of the corpora, perhaps on two sides of a split."""
    seen: dict[str, Path] = {}
    for store in stores:
        if store.card["hash"] in seen:
            first = seen[store.card["hash"]]
            raise UserError(
                f"data.corpus has the same recordings in {first} and {store.folder}: leave one out"
            )
        seen[store.card["hash"]] = store.folder


def wanted_labels(data: DataSettings, stores: Sequence[Store]) -> dict[str, list[str]]:
    """From each task that is to be trained to its labels.

    Raises:
        UserError: for tasks or labels that the corpora do not have, or where no task is left.
    """
    known = known_labels(stores)
    tasks, left_out = _list(data.tasks) or list(known), _list(data.leave_out)
    check_tasks("data.tasks", tasks, known)
    check_tasks("data.leave_out", left_out, known)
    labels = {task: names for task, names in known.items() if task in tasks and task not in left_out}
    if not labels:
        raise UserError(f"data.leave_out leaves no task: there are {', '.join(known)}")
    if isinstance(data.labels, dict):
        check_tasks("data.labels", data.labels, known)
        return labels | {task: names for task, names in data.labels.items() if task in labels}
    if data.labels is not None and len(labels) > 1:
        raise UserError(
            f"data.labels names labels of one task, but there are {', '.join(labels)}: write it as "
            f"'{{{next(iter(labels))}: [{', '.join(data.labels)}]}}'"
        )
    return {task: data.labels or names for task, names in labels.items()}


def check_tasks(setting: str, tasks: Sequence[str] | Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise `UserError` where a setting names a task that is not there."""
    for task in tasks:
        if task not in known:
            raise UserError(f"{setting} names the task {task}: there are {', '.join(known)}")


def _list(names: list[str] | str | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())
