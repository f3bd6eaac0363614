"""The folder of a run: where its parts lie. Free of torch, so that a wrong path is told at once.

config.yaml                  the recipe, whole
checkpoints/best.ckpt        best mean accuracy in validation
checkpoints/last.ckpt        after the last validation; --resume goes on from here
metrics.jsonl                one line per validation
events.out.tfevents.*        for TensorBoard
"""

from pathlib import Path

from audiostride.errors import UserError
from audiostride.recipe import build, read
from audiostride.settings import Recipe

CONFIG, CHECKPOINTS, METRICS = "config.yaml", "checkpoints", "metrics.jsonl"


def checkpoint_path(run_or_file: Path, checkpoint: str = "best") -> Path:
    """Where a run's checkpoint lies; a file stands for itself.

    Raises:
        UserError: where there is none.
    """
    if run_or_file.is_file():
        return run_or_file
    if not run_or_file.is_dir():
        raise UserError(f"there is no run at {run_or_file}: give a run folder or a checkpoint file")
    path = run_or_file / CHECKPOINTS / f"{checkpoint}.ckpt"
    if not path.is_file():
        raise UserError(
            f"the run {run_or_file} has no checkpoint ({path.relative_to(run_or_file)} is missing): "
            "train it first, at least until the first validation"
        )
    return path


def read_config(run: Path) -> Recipe:
    """The recipe that a run was trained with.

    Raises:
        UserError: where the folder is missing or is no run.
    """
    if not run.is_dir():
        raise UserError(f"there is no run at {run}: give the folder that audiostride train made")
    if not (run / CONFIG).is_file():
        raise UserError(f"{run} is no run, {CONFIG} is missing: give the folder that audiostride train made")
    return build(read(run / CONFIG), run / CONFIG)
