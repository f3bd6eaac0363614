"""The files in the folder of a run.

config.yaml                  all settings of the recipe
checkpoints/best.ckpt        checkpoint with the best mean accuracy in validation
checkpoints/last.ckpt        checkpoint after the last validation, from which --resume continues
metrics.jsonl                metrics, one line per validation
events.out.tfevents.*        metrics and figures for TensorBoard
test.json                    results on the test split, kept by audiostride study --summary
.lock                        locked while a process trains the run
"""

import json
import logging
import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

from audiostride.errors import UserError

logger = logging.getLogger(__name__)

CONFIG, CHECKPOINTS, METRICS, TEST = "config.yaml", "checkpoints", "metrics.jsonl", "test.json"
LOCK = ".lock"
_CHECKSUM = "crc32"  # key of the checksum in a line of metrics.jsonl


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


def metrics_line(entry: dict[str, Any]) -> str:
    """Return an entry of a metrics file as a line, with a checksum of the entry."""
    return json.dumps(entry | {_CHECKSUM: crc32(json.dumps(entry).encode())}) + "\n"


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """Return the entries of a metrics file, without their checksums.

    Damaged lines are left out, with a warning. The last line may be incomplete, because a kill cut it short:
    it is left out without a warning.
    """
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    entries = [_read_entry(line) for line in lines]
    damaged = sum(entry is None and line.endswith(b"\n") for entry, line in zip(entries, lines, strict=True))
    if damaged:
        logger.warning(f"{file}: {damaged} of {len(lines)} lines are damaged; left out")
    return [entry for entry in entries if entry is not None]


def _read_entry(line: bytes) -> dict[str, Any] | None:
    """Return the entry in a line of a metrics file, or None if the line is damaged."""
    try:
        entry = json.loads(line)
        checksum = entry.pop(_CHECKSUM, None)  # earlier versions wrote none
    except (AttributeError, RecursionError, TypeError, ValueError):
        return None
    intact = checksum is None or checksum == crc32(json.dumps(entry).encode())
    return entry if intact and _is_entry(entry) else None


def _is_entry(entry: dict[str, Any]) -> bool:
    if entry.keys() != {"step", "seconds", "metrics", "strides"}:
        return False
    match entry:
        case {"step": int(), "seconds": int() | float(), "metrics": dict(metrics), "strides": list(pairs)}:
            in_pairs = all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
            numbers = [entry["seconds"], *metrics.values(), *(chain(*pairs) if in_pairs else ())]
            return in_pairs and entry["step"] >= 0 and all(map(_is_number, numbers))
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


def last_checkpoint(run: Path) -> Path:
    """Return the path of a run's last checkpoint, whether it exists or not."""
    return run / CHECKPOINTS / "last.ckpt"
