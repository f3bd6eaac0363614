"""Which checkpoint of a run is the best."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from helpers.tiny_run import assert_same, metrics, tiny, weights
from helpers.two_tasks import recipe

from audiostride.data.store import Store
from audiostride.training.checkpoints import checkpoint_rank
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train


def rank(accuracy: float, ramp_is_final: bool) -> float:
    return checkpoint_rank(torch.tensor(accuracy), ramp_is_final).item()


def test_last_checkpoint_is_the_best_without_validation(
    unvalidated: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = recipe(unvalidated)
    made.data.holdout = 0.0
    train(made, tmp_path / "run")
    assert (
        "there are no recordings for validation: the last checkpoint counts as the best"
        in capsys.readouterr().err
    )
    assert_same(weights(tmp_path / "run", "best"), weights(tmp_path / "run", "last"))
    assert [line["step"] for line in metrics(tmp_path / "run")] == [2, 4, 6]
    assert len(evaluate(tmp_path / "run")) == 2


def test_best_checkpoint_has_the_highest_accuracy_in_validation(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=20), tmp_path / "run")
    best = max(line["metrics"]["valid/accuracy"] for line in metrics(tmp_path / "run"))
    (row,) = evaluate(tmp_path / "run", "valid", "best")
    assert row["accuracy_percent"] == pytest.approx(100 * best)


def test_checkpoints_with_the_same_ramp_rank_by_accuracy() -> None:
    for ramp_is_final in (False, True):
        ranks = [rank(accuracy, ramp_is_final) for accuracy in (0.0, 0.25, 0.5, 1.0)]
        assert all(lower < higher for lower, higher in pairwise(ranks))


def test_rank_is_the_accuracy_once_the_ramp_is_final() -> None:
    assert rank(0.75, True) == 0.75


def test_wider_ramp_never_ranks_above_the_final_ramp() -> None:
    assert rank(0.75, False) < rank(0.0, True)
    assert rank(1.0, False) < rank(0.0, True)
