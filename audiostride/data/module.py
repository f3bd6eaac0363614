"""The loaders of a run, over its prepared corpus."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from audiostride.data.store import open_store
from audiostride.data.windows import Batch, EvaluationWindows, Selection, TrainingWindows, select
from audiostride.settings import DataSettings, TrainingSettings


class WindowsModule(LightningDataModule):
    """Batches of windows for training, validation and test.

    Training batches are numbered from the start of the run, so a resumed run goes on where it stopped, and
    with several devices each takes batches of its own. Evaluation is done whole on every device.

    Args:
        data: where the corpus lies and how windows are cut.
        training: number and size of batches, and the seed.
        labels: from task to labels; by default those that `data` asks for.

    Raises:
        UserError: where there is no prepared corpus, or it lacks a label that is asked for.
    """

    def __init__(
        self, data: DataSettings, training: TrainingSettings, labels: dict[str, list[str]] | None = None
    ) -> None:
        super().__init__()
        self.data, self.training = data, training
        self.store = open_store(Path(data.corpus))
        self.labels = labels or {task: data.labels or names for task, names in self.store.tasks.items()}
        self.window = round(data.window_s * self.store.sample_rate)

    def select(self, split: str) -> Selection:
        return select(self.store, split, self.labels)

    def state_dict(self) -> dict[str, Any]:
        """Kept in checkpoints, so that a run is not resumed on another corpus."""
        return {"corpus": self.store.identity()}

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
            round(self.data.shift_s * self.store.sample_rate),
            self.training.seed,
        )
        mine = range(done * per_step + self.trainer.global_rank, until * per_step, self.trainer.world_size)
        return _loader(windows, mine)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_dataloader("valid")

    def evaluation_dataloader(self, split: str) -> DataLoader[Batch]:
        windows = EvaluationWindows(self.select(split), self.training.batch_size, self.window)
        return _loader(windows, range(len(windows)))


def _loader(windows: TrainingWindows | EvaluationWindows, numbers: range) -> DataLoader[Batch]:
    # One item is one batch already, cut from the memory map: no workers, nothing to collate.
    return DataLoader(windows, batch_size=None, sampler=numbers, pin_memory=torch.cuda.is_available())
