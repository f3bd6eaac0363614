"""Checkpoints of a run: the rule which one is best, and how they are written and found again."""

import shutil
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from audiostride.config.run_folder import CHECKPOINTS, last_checkpoint
from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.models.loading import read_checkpoint

# Name of the metric that holds `checkpoint_rank`.
CHECKPOINT_RANK = "valid/checkpoint_rank"


def checkpoint_rank(accuracy: Tensor, is_final: bool) -> Tensor:
    """Return the rank of a checkpoint; the one with the highest rank is the best, the first one in a tie.

    Checkpoints rank by their accuracy in validation. One that was saved before the network had its final
    shape counts only if there is no other: its rank is below any with the final shape. That is the final
    width of the ramp (see `training.smoothness_from`) and, with a budget, the final strides.

    Args:
        accuracy: mean over tasks of the accuracy in validation, in [0, 1].
        is_final: whether the network has its final shape.

    Returns:
        The rank: in [0, 1] with the final shape, else in [−2, −1].
    """
    return accuracy if is_final else accuracy - 2


class KeepCheckpoints(Checkpoint):
    """Keeps the last checkpoint of a run, and a copy of the best by `checkpoint_rank`.

    It saves at the end of Lightning's epoch, after the validation, so that a run resumes cleanly. Without
    validation the last checkpoint is the best.

    Every checkpoint holds its own rank, so the two files say by themselves which is better: if a kill or a
    full disk comes between writing the last checkpoint and copying it, a resumed run copies it first.
    Lightning's ModelCheckpoint would need one instance for each file, and would then forget the newest best.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        self.last, self.best = last_checkpoint(run), run / CHECKPOINTS / "best.ckpt"
        self.rank, self.best_rank = float("-inf"), float("-inf")
        self.saved_step = 0

    def on_save_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["rank"] = self.rank

    def on_load_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.saved_step = checkpoint["global_step"]
        if trainer.is_global_zero:
            if self.best.exists():
                self.best_rank = rank_of(read_checkpoint(self.best), self.best)
            self._keep_if_best(checkpoint["rank"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, but only once for each step: Lightning ends the epoch of a resumed run a second time."""
        if trainer.global_step == self.saved_step:
            return
        self.saved_step = trainer.global_step
        for logger in trainer.loggers:
            logger.save()  # what TensorBoard shows up to a checkpoint is on disk before the checkpoint
        self.rank = float(trainer.callback_metrics.get(CHECKPOINT_RANK, trainer.global_step))
        trainer.save_checkpoint(self.last)
        if trainer.is_global_zero:
            self._keep_if_best(self.rank)

    def _keep_if_best(self, rank: float) -> None:
        """Copy the last checkpoint, which has this rank, if it is better than the best one so far."""
        if rank > self.best_rank:
            with replace_when_complete(self.best) as new:
                shutil.copyfile(self.last, new)
            self.best_rank = rank


def rank_of(checkpoint: Mapping[str, Any], path: Path) -> float:
    """Return the rank that a checkpoint holds.

    Args:
        checkpoint: the content of the checkpoint, see `read_checkpoint`.
        path: its file, for the message.

    Raises:
        UserError: if it was written by a version that kept no ranks.
    """
    if "rank" not in checkpoint:
        raise UserError(f"{path} was written by another version of audiostride: train again")
    return checkpoint["rank"]


class SafeCheckpointIO(TorchCheckpointIO):
    """Replaces a checkpoint only by a complete one.

    Lightning's saving does so only if the system's temporary folder is on the same disk as the run.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = BytesIO()  # writing to a file itself, torch hides the error of a full disk
        torch.save(checkpoint, buffer)
        with replace_when_complete(Path(path)) as new:
            new.write_bytes(buffer.getbuffer())
