"""Scores of each label: how many of its recordings are found, and how many predictions of it are correct."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from audiostride.analysis.intervals import Outcomes, accuracy_interval
from audiostride.tables import Interval


def class_scores(outcomes: Outcomes, labels: Sequence[str], noun: str = "recordings") -> list[dict[str, Any]]:
    """Return a row per label that occurs, as a label or as a prediction, in the order of the labels.

    Args:
        outcomes: what a run predicted on the recordings of a task.
        labels: names of all labels.
        noun: what examples are called, the name of their column.

    Returns:
        Rows with label, recordings (that have the label), predictions (of the label), precision_percent (of
        the predictions, how many are correct), recall_percent (of the recordings, how many are found) and
        f1_percent (their harmonic mean). Precision and recall have 95 % confidence intervals, see
        `accuracy_interval`. They are None if there are no predictions or no recordings.
    """
    rows = []
    for index, name in enumerate(labels):
        is_label, is_predicted = outcomes.labels == index, outcomes.predictions == index
        if not (is_label | is_predicted).any():
            continue
        hits = int((is_label & is_predicted).sum())
        rows.append(
            {
                "label": name,
                noun: int(is_label.sum()),
                "predictions": int(is_predicted.sum()),
                "precision_percent": _fraction(outcomes, is_predicted),
                "recall_percent": _fraction(outcomes, is_label),
                "f1_percent": 200 * hits / int(is_label.sum() + is_predicted.sum()),
            }
        )
    return rows


def _fraction(outcomes: Outcomes, chosen: np.ndarray) -> Interval | None:
    """Return the percentage of the chosen recordings whose prediction is correct."""
    if not chosen.any():
        return None
    return accuracy_interval(outcomes.correct[chosen], outcomes.groups[chosen]).percent()
