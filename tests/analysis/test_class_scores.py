"""Precision, recall and F1 of each label."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from audiostride.analysis.class_scores import class_scores
from audiostride.analysis.intervals import Outcomes, accuracy_interval

NAMES = list("abcdef")


def test_scores_equal_those_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(4, size=(2, 200))
    groups = rng.integers(20, size=200).astype(np.uint64)
    rows = class_scores(Outcomes(labels, predictions, groups), NAMES)
    precision, recall, f1, support = precision_recall_fscore_support(labels, predictions)
    assert [row["label"] for row in rows] == NAMES[:4]
    assert [row["precision_percent"].value for row in rows] == pytest.approx(100 * precision)
    assert [row["recall_percent"].value for row in rows] == pytest.approx(100 * recall)
    assert [row["f1_percent"] for row in rows] == pytest.approx(100 * f1)
    assert [row["recordings"] for row in rows] == support.tolist()
    assert [row["predictions"] for row in rows] == np.bincount(predictions).tolist()
    chosen = labels == 2
    expected = accuracy_interval(predictions[chosen] == 2, groups[chosen]).percent()
    assert rows[2]["recall_percent"] == pytest.approx(expected)


def test_label_without_recordings_or_predictions_has_no_recall_or_precision() -> None:
    outcomes = Outcomes(np.array([1, 1]), np.array([3, 1]), np.arange(2, dtype=np.uint64))
    hit, missing = class_scores(outcomes, NAMES)
    assert (hit["label"], hit["recall_percent"].value, hit["precision_percent"].value) == ("b", 50, 100)
    assert (missing["label"], missing["recordings"], missing["predictions"]) == ("d", 0, 1)
    assert missing["recall_percent"] is None
    assert missing["f1_percent"] == 0
