"""Checkpoints of a run: the rule which one is best, and how they are written and found again."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from audiostride.config.run_folder import CHECKPOINTS
from audiostride.files import replace_when_complete

# Name of the metric that holds `checkpoint_rank`.
CHECKPOINT_RANK = "valid/checkpoint_rank"


def checkpoint_rank(accuracy: Tensor, ramp_is_final: bool) -> Tensor:
    """Return the rank of a checkpoint; the one with the highest rank is the best, the first one in a tie.

    Checkpoints rank by their accuracy in validation. One that was saved before the ramp reached its final
    width (see `training.smoothness_from`) counts only if there is no other: its rank is 1 lower, and so it
    is not above any with the final ramp.

    Args:
        accuracy: mean over tasks of the accuracy in validation, in [0, 1].
        ramp_is_final: whether the ramp has its final width.
    """
    return accuracy if ramp_is_final else accuracy - 1


class KeepCheckpoint(ModelCheckpoint):
    """Keeps the last checkpoint of a run, or the best by `checkpoint_rank`.

    It saves at the end of Lightning's epoch, after the validation, so that a run resumes cleanly. A resumed
    run knows its best checkpoint even if the run folder has moved.

    Args:
        run: the run folder.
        name: name of the file without its suffix, "last" or "best".
        ranked: keep the checkpoint with the highest rank. Otherwise each one replaces the one before.
    """

    def __init__(self, run: Path, name: str, ranked: bool = False) -> None:
        super().__init__(
            run / CHECKPOINTS,
            name,
            monitor=CHECKPOINT_RANK if ranked else None,
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        """Key of this callback's state in a checkpoint. Lightning's key would be the same for two of them."""
        return f"KeepCheckpoint {self.filename}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        folder = Path(str(self.dirpath))
        paths = {name: path for name, path in state_dict.items() if name.endswith("_path") and path}
        moved = {name: str(folder / Path(path).name) for name, path in paths.items()}
        models = {str(folder / Path(path).name): rank for path, rank in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"dirpath": str(folder), "best_k_models": models})


class SafeCheckpointIO(TorchCheckpointIO):
    """Replaces a checkpoint only by a complete one.

    Lightning's saving does so only if the system's temporary folder is on the same disk as the run.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with replace_when_complete(Path(path)) as new:
            super().save_checkpoint(checkpoint, new, storage_options)
