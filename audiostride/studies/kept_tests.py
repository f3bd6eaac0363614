"""The test results of a run, kept in its folder as test.json for the tables of a study.

They are valid for one checkpoint and for the corpora that it was tested on.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiostride.analysis.intervals import Outcomes
from audiostride.config.recipe import read_config
from audiostride.config.run_folder import TEST, checkpoint_path
from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.training.evaluate import Evaluation, evaluation
from audiostride.training.inputs import open_stores

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Results:
    """The results of a test.

    Attributes:
        rows: one per task, see `evaluate`.
        predicted: from task to what was predicted for each recording.
    """

    rows: list[dict[str, Any]]
    predicted: dict[str, Outcomes]


def results_of(run: Path) -> Results:
    """Return the results of a run on its test split, from test.json if they are still valid.

    Raises:
        UserError: if the run cannot be tested.
    """
    with checkpoint_path(run).open("rb") as file:
        checkpoint = hashlib.file_digest(file, "sha256").hexdigest()
    kept = _read(run, checkpoint)
    if kept:
        return kept
    logger.info(f"testing {run.name}")
    evaluated = evaluation(run)
    for note in evaluated.notes:
        logger.warning(note)
    content = _as_json(evaluated) | {"checkpoint": checkpoint, "corpora": _corpora(run)}
    with replace_when_complete(run / TEST) as new:
        new.write_text(json.dumps(content | {"digest": _digest(content)}), encoding="utf-8")
    return _from_json(content)


def _read(run: Path, checkpoint: str) -> Results | None:
    """Return what test.json holds, or None if it is missing, damaged, or of another checkpoint or corpus."""
    try:
        content = json.loads((run / TEST).read_text(encoding="utf-8"))
        undamaged = content.pop("digest") == _digest(content)
    except (OSError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return None
    # Results outlive a corpus that was deleted, but not one that was prepared anew.
    valid = undamaged and content["checkpoint"] == checkpoint and _corpora(run) in (content["corpora"], None)
    return _from_json(content) if valid else None


def _as_json(evaluated: Evaluation) -> dict[str, Any]:
    return {
        "rows": evaluated.rows,
        "predicted": {
            task: {name: values.tolist() for name, values in outcomes._asdict().items()}
            for task, outcomes in evaluated.predicted.items()
        },
    }


def _from_json(content: dict[str, Any]) -> Results:
    predicted = {
        task: Outcomes(
            np.array(values["labels"], np.int64),
            np.array(values["predictions"], np.int64),
            np.array(values["groups"], np.uint64),
        )
        for task, values in content["predicted"].items()
    }
    return Results(content["rows"], predicted)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _corpora(run: Path) -> list[str] | None:
    """Return the identities of the corpora of a run, or None if one of them cannot be opened."""
    try:
        return [store.identity for store in open_stores(read_config(run).data)]
    except UserError:
        return None
