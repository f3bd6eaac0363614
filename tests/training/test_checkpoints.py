"""Which checkpoint of a run is the best."""

from itertools import pairwise

import torch

from audiostride.training.checkpoints import checkpoint_rank
from audiostride.training.stride_schedule import ramp_excess


def rank(accuracy: float, ramp_is_final: bool) -> float:
    return checkpoint_rank(torch.tensor(accuracy), ramp_is_final).item()


def test_checkpoints_with_the_same_ramp_rank_by_accuracy() -> None:
    for ramp_is_final in (False, True):
        ranks = [rank(accuracy, ramp_is_final) for accuracy in (0.0, 0.25, 0.5, 1.0)]
        assert all(lower < higher for lower, higher in pairwise(ranks))


def test_rank_is_the_accuracy_once_the_ramp_is_final() -> None:
    assert rank(0.75, True) == 0.75


def test_wider_ramp_never_ranks_above_the_final_ramp() -> None:
    assert rank(0.75, False) < rank(0.0, True)
    assert rank(1.0, False) <= rank(0.0, True)


def test_ramp_excess_falls_from_one_to_zero_over_half_of_the_steps() -> None:
    assert [ramp_excess(step, 8) for step in range(9)] == [1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0]
    assert ramp_excess(0, 1) == 0
