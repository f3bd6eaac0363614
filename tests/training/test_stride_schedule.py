"""Strides and ramps in training: learning rate, range, freezing, narrowing."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.tiny_run import assert_same, metrics, tiny, weights

from audiostride import load
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.models.loading import read_checkpoint
from audiostride.training.fit import train
from audiostride.training.stride_schedule import ramp_excess


def test_strides_stay_in_range_at_any_learning_rate(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, stride_learning_rate=50.0)
    train(recipe, tmp_path / "run")
    for line in metrics(tmp_path / "run"):
        strides = torch.tensor(line["strides"])
        assert (strides >= 1).all()
        assert (strides < torch.tensor([100.0, 64.0])).all()
        # Each is at one end of its range, whose upper end is the size of the axis in that step: at least 9.
        assert ((strides == 1) | (strides > 8.9)).all()


def test_strides_have_their_own_learning_rate(store: Store, tmp_path: Path) -> None:
    train(tiny(store, stride_learning_rate=0.0), tmp_path / "still")
    assert metrics(tmp_path / "still")[-1]["strides"] == [[2.0, 2.0], [2.0, 2.0]]
    train(tiny(store, steps=1, learning_rate=0.0, stride_learning_rate=0.25), tmp_path / "moved")
    moved = torch.tensor(metrics(tmp_path / "moved")[-1]["strides"]) - 2
    torch.testing.assert_close(moved.abs(), torch.full((2, 2), 0.25))  # the size of Adam's first step
    train(tiny(store, steps=1, learning_rate=0.125, stride_learning_rate=None), tmp_path / "same")
    moved = torch.tensor(metrics(tmp_path / "same")[-1]["strides"]) - 2
    torch.testing.assert_close(moved.abs(), torch.full((2, 2), 0.125))


@pytest.mark.parametrize("after", [0, 3])
def test_strides_freeze_after_a_step_but_weights_do_not(after: int, store: Store, tmp_path: Path) -> None:
    for steps in (3, 6):
        train(tiny(store, steps=steps, complexity=1.0, freeze_strides_after=after), tmp_path / str(steps))
    then, now = weights(tmp_path / "3"), weights(tmp_path / "6")
    strides = [name for name in now if name.endswith("pool.stride")]
    assert len(strides) == 4
    for name in strides:
        assert torch.equal(then[name], now[name])
        assert (now[name] == 2).all() == (after == 0)
    assert not torch.equal(then["trunk.blocks.0.time.conv.weight"], now["trunk.blocks.0.time.conv.weight"])


def test_run_with_frozen_strides_resumes_with_frozen_strides(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, freeze_strides_after=2)
    train(recipe, tmp_path / "whole")
    train(replace(recipe, training=replace(recipe.training, steps=4)), tmp_path / "cut")
    train(recipe, tmp_path / "cut", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_ramps_narrow_over_the_first_half_of_the_steps(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=8, smoothness_from=4.0, learning_rate=0.0, stride_learning_rate=0.0)
    recipe.model = replace(recipe.model, smoothness=1.0)
    train(replace(recipe, trainer={"max_epochs": 1}), tmp_path / "begun")
    early = load(tmp_path / "begun", "last").trunk
    assert early.window.smoothness == 3.25  # in the second of four steps
    assert early.sizes(100, 64)[1] == (56, 38)
    train(recipe, tmp_path / "run")
    for checkpoint in ("best", "last"):
        trunk = load(tmp_path / "run", checkpoint).trunk
        assert trunk.window.smoothness == 1.0
        assert trunk.sizes(100, 64)[1] == (52, 34)
    assert read_checkpoint(tmp_path / "run/checkpoints/best.ckpt")["global_step"] > 4
    train(recipe, tmp_path / "begun", resume=True)
    assert_same(weights(tmp_path / "run"), weights(tmp_path / "begun"))
    longer = replace(recipe, training=replace(recipe.training, steps=20))
    with pytest.raises(
        UserError, match=r"started with training\.steps 8, not 20"
    ):  # the ramp would widen again
        train(longer, tmp_path / "run", resume=True)


def test_ramps_stay_if_there_is_nothing_to_narrow(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, smoothness_from=2.0)
    train(recipe, tmp_path / "narrow")
    assert load(tmp_path / "narrow", "last").trunk.window.smoothness == 4.0
    recipe.model = replace(recipe.model, downsampling="spectral")
    train(recipe, tmp_path / "spectral")
    assert load(tmp_path / "spectral", "last").trunk.window.smoothness == 0.0


def test_ramp_excess_falls_from_one_to_zero_over_half_of_the_steps() -> None:
    assert [ramp_excess(step, 8) for step in range(9)] == [1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0]
    assert ramp_excess(0, 1) == 0
