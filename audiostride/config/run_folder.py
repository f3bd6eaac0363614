"""The files in the folder of a run.

config.yaml                  all settings of the recipe
checkpoints/best.ckpt        checkpoint with the best mean accuracy in validation
checkpoints/last.ckpt        checkpoint after the last validation, from which --resume continues
metrics.jsonl                metrics, one line per validation
events.out.tfevents.*        metrics and figures for TensorBoard
test.json                    accuracy on the test split, kept by audiostride study --summary
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from audiostride.errors import UserError

CONFIG, CHECKPOINTS, METRICS, TEST = "config.yaml", "checkpoints", "metrics.jsonl", "test.json"


def checkpoint_path(run_or_file: Path, checkpoint: str = "best") -> Path:
    """Return the path of a run's checkpoint. A checkpoint file is returned as it is.

    Args:
        run_or_file: a run folder, or a checkpoint file.
        checkpoint: "best" or "last".

    Raises:
        UserError: there is no such run, or it has no checkpoint yet.
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


def check_runs(names: Sequence[str], or_files: bool = False) -> None:
    """Raise an error if a path does not exist, before torch is imported.

    Args:
        names: run folders.
        or_files: accept checkpoint files as well.

    Raises:
        UserError: naming the first path that is neither.
    """
    for name in names:
        if not (Path(name).exists() if or_files else Path(name).is_dir()):
            folder = "the folder that audiostride train made"
            remedy = "a run folder or a checkpoint file" if or_files else folder
            raise UserError(f"there is no run at {name}: give {remedy}")


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file; a line that a kill cut short is left out."""
    lines = []
    for line in file.read_text().splitlines() if file.exists() else ():
        with suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines


def last_checkpoint(run: Path) -> Path:
    """Return the path of a run's last checkpoint, whether it exists or not."""
    return run / CHECKPOINTS / "last.ckpt"
