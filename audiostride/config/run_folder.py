"""The files in the folder of a run, and those in a model folder.

A run folder:

config.yaml                  all settings of the recipe
checkpoints/best.ckpt        checkpoint with the best mean accuracy in validation
checkpoints/last.ckpt        checkpoint after the last validation, from which --resume continues
metrics.jsonl                metrics and strides, one line per validation
events.out.tfevents.*        metrics and figures for TensorBoard
test.json                    results on the test split, kept by audiostride study --summary
.lock                        locked while a process trains the run

A model folder (see `audiostride.models.model_folder`):

model.safetensors            weights
config.json                  all else that is needed to use them
README.md                    model card
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

from audiostride.errors import UserError

logger = logging.getLogger(__name__)

CONFIG, CHECKPOINTS, METRICS, TEST = "config.yaml", "checkpoints", "metrics.jsonl", "test.json"
LOCK = ".lock"
MODEL_CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
# What the name of an exported model ends with. Exported models cannot be read back.
_EXPORTED = (".onnx", ".pt2")
_CHECKSUM = "crc32"  # key of the checksum in a line of metrics.jsonl


def checkpoint_path(model: Path, checkpoint: str = "best") -> Path:
    """Return the path that holds the weights of a model: a checkpoint file, or a model folder.

    Args:
        model: a run folder, a checkpoint file or a model folder. The last two are returned as they are.
        checkpoint: "best" or "last", for a run folder.

    Raises:
        UserError: there is no such model, it is an exported one, the folder is neither a run nor a model, or
            the run has no checkpoint yet.
    """
    check_model(model)
    if model.is_file() or is_model_folder(model):
        return model
    if not is_run_folder(model):
        raise UserError(
            f"{model} is neither a run nor a model folder ({CONFIG} and {MODEL_CONFIG} are missing): give "
            "the folder that audiostride train or audiostride export made"
        )
    path = model / CHECKPOINTS / f"{checkpoint}.ckpt"
    if not path.is_file():
        raise UserError(
            f"the run {model} has no checkpoint ({path.relative_to(model)} is missing): "
            "train it first, at least until the first validation"
        )
    return path


def is_run_folder(path: Path) -> bool:
    """Return whether a path is the folder of a run, maybe of one that has no checkpoint yet."""
    return (path / CONFIG).is_file() or (path / CHECKPOINTS).is_dir()


def is_model_folder(path: Path) -> bool:
    """Return whether a path is a model folder, maybe a damaged one, and no run folder."""
    return not is_run_folder(path) and any((path / name).is_file() for name in (MODEL_CONFIG, WEIGHTS))


def check_model(path: Path) -> None:
    """Raise an error if a path cannot be a model, before torch is imported.

    Raises:
        UserError: there is nothing at the path, or it is an exported model or one file of a model folder.
    """
    if not path.exists():
        raise UserError(f"there is no run at {path}: give a run folder, a checkpoint file or a model folder")
    if path.name.endswith(_EXPORTED):
        raise UserError(
            f"{path} is an exported model: give the run or the model folder that it was made from"
        )
    if path.is_file() and path.name in (MODEL_CONFIG, WEIGHTS, CARD):
        raise UserError(f"{path} is one file of a model folder: give the folder {path.parent}")


def check_runs(names: Sequence[str]) -> None:
    """Raise an error if one of several paths cannot be a model, see `check_model`."""
    for name in names:
        check_model(Path(name))


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
    if entry.keys() - {"frontend_strides"} != {"step", "seconds", "metrics", "strides"}:
        return False
    match entry:
        case {"step": int(), "seconds": int() | float(), "metrics": dict(metrics), "strides": list(pairs)}:
            # Only a frontend that learns its resolution has strides.
            pairs = [*pairs, *([entry["frontend_strides"]] if "frontend_strides" in entry else [])]
            in_pairs = all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
            numbers = [entry["seconds"], *metrics.values(), *(chain(*pairs) if in_pairs else ())]
            return in_pairs and entry["step"] >= 0 and all(map(_is_number, numbers))
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


# Under which names a checkpoint holds what it knows of its data: those of classes.
DATA_STATES = ("WindowsModule", "ImagesModule")


def data_state(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says about its data, see `CorpusModule.state_dict`; empty if nothing."""
    return next((checkpoint[name] for name in DATA_STATES if name in checkpoint), {})


def last_checkpoint(run: Path) -> Path:
    """Return the path of a run's last checkpoint, whether it exists or not."""
    return run / CHECKPOINTS / "last.ckpt"
