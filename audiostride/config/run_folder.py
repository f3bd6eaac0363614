"""The folder of a run: where its parts lie.

config.yaml                  the recipe, whole
checkpoints/best.ckpt        best mean accuracy in validation
checkpoints/last.ckpt        after the last validation; --resume goes on from here
metrics.jsonl                one line per validation
events.out.tfevents.*        for TensorBoard
test.json                    accuracy on the test split, kept by audiostride study --summary
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from audiostride.errors import UserError

CONFIG, CHECKPOINTS, METRICS, TEST = "config.yaml", "checkpoints", "metrics.jsonl", "test.json"


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


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; one that a kill cut short is left out."""
    lines = []
    for line in file.read_text().splitlines() if file.exists() else ():
        with suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines


def last_checkpoint(run: Path) -> Path:
    """Where a run's last checkpoint lies or will lie."""
    return run / CHECKPOINTS / "last.ckpt"
