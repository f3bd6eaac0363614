"""Scores of a classifier."""

from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score

from audiostride.training.metrics import RecordingLogits, scores


def test_roc_auc_is_exact_for_confident_models() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 2, (200,))
    margin = 20 * (torch.randn(200) + labels)
    logits = torch.stack([-margin / 2, margin / 2], 1)
    area = scores(logits, labels)["roc_auc"]
    assert float(area) == pytest.approx(roc_auc_score(labels, margin), abs=1e-6)


def test_windows_are_counted_exactly_in_bfloat16() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        scores = RecordingLogits(1)
        for _ in range(700):
            batch: Any = {"recording": torch.tensor([0]), "labels": {"task": torch.tensor([1])}}
            scores.update(batch, {"task": torch.tensor([[1.0, 2.0]])})
        torch.testing.assert_close(scores.mean("task")[0], torch.tensor([[1.0, 2.0]], dtype=torch.float32))
    finally:
        torch.set_default_dtype(before)
