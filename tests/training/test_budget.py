"""A budget is met by strides and channels, from any initial strides, or a sentence says what can be met."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import assert_same, metrics, tiny, weights

from audiostride import Classifier, ModelSettings, load
from audiostride.analysis.summary import summarise_classifier
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.recipe import read_config
from audiostride.config.settings import Recipe, TrainingSettings
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.layers.learned_strides import diffstride_layers
from audiostride.models.loading import read_checkpoint
from audiostride.models.network_cost import macs_of_parts, network_macs
from audiostride.models.width import complete
from audiostride.training.budget import CostBudget
from audiostride.training.fit import train

SMALL = ModelSettings((4, 6), ((2, 2), (2, 2)), smoothness=1.0, ramp="inside")


def macs(classifier: Classifier, whole: bool = True) -> float:
    return network_macs(classifier.frontend, classifier.trunk, classifier.window_s, whole).item()


def with_model(recipe: Recipe, **settings: Any) -> Recipe:
    return replace(recipe, model=replace(recipe.model, **settings))


@pytest.mark.parametrize("kind", ["log_mel", "learned_resolution"])
@pytest.mark.parametrize("window_s", [1.0, 2.5])
def test_what_is_counted_is_the_row_of_the_network_in_the_summary_per_second(
    kind: Any, window_s: float
) -> None:
    classifier = Classifier({"word": ["yes", "no"]}, SMALL, window_s, FrontendSettings(kind=kind))
    (row,) = (row for row in summarise_classifier(classifier) if row["layer"] == "all")
    assert macs(classifier) == pytest.approx(1e6 * row["mega_macs"] / window_s)


@pytest.mark.parametrize("kind", ["log_mel", "learned_resolution"])
def test_costs_of_the_parts_add_up_to_that_of_the_network(kind: Any) -> None:
    classifier = Classifier({"word": ["yes", "no"]}, SMALL, 1.0, FrontendSettings(kind=kind))
    parts = macs_of_parts(classifier.frontend, classifier.trunk, 1.0)
    assert parts.pop("all") == pytest.approx(sum(parts.values())) == macs(classifier)


def test_of_images_is_counted_what_one_costs() -> None:
    frontend = FrontendSettings(kind="pixels", image_size=(32, 32))
    classifier = Classifier({"picture": ["cat", "dog"]}, SMALL, 1.0, frontend)
    assert macs(classifier) == pytest.approx(classifier.trunk.cost(32, 32).item(), rel=0.02)


@pytest.mark.parametrize("kind", ["log_mel", "learned_resolution"])
def test_the_gradient_of_a_step_leaves_the_cost_as_it_is(kind: Any) -> None:
    """Central differences of the cost along the gradient vanish, beside those along what was taken away."""
    torch.manual_seed(0)
    model = replace(SMALL, strides=((1.7, 2.3), (2.1, 1.4)))
    classifier = Classifier({"word": ["yes", "no"]}, model, 1.0, FrontendSettings(kind=kind)).double()
    budget = CostBudget(classifier, 0.5)
    strides: list[Any] = [layer.stride for layer in diffstride_layers(classifier)]
    before = [torch.randn_like(stride) for stride in strides]
    for stride, gradient in zip(strides, before, strict=True):
        stride.grad = gradient.clone()
    budget.before_optimizer_step(0)
    kept: list[Any] = [stride.grad for stride in strides]
    # The step is taken in log S: a step of d in log S is one of d · S in S.
    directions = [
        [stride.detach().square() * part for stride, part in zip(strides, parts, strict=True)]
        for parts in (kept, [a - b for a, b in zip(before, kept, strict=True)])
    ]
    changes = []
    for direction in directions:
        costs = []
        for sign in (-1e-5, 2e-5):
            with torch.no_grad():
                for stride, part in zip(strides, direction, strict=True):
                    stride += sign * part
            costs.append(macs(classifier, whole=False))
        with torch.no_grad():
            for stride, part in zip(strides, direction, strict=True):
                stride -= 1e-5 * part
        changes.append(abs(costs[1] - costs[0]))
    # A frontend keeps its strides in float32.
    assert changes[0] < (1e-6 if kind == "log_mel" else 1e-2) * changes[1]


@pytest.mark.parametrize(("step", "length"), [(20, 1.0), (70, 0.4), (100, 0.0)])
def test_steps_of_strides_become_shorter_until_they_are_constants(step: int, length: float) -> None:
    """A step along the budget is taken in full, in part, or not at all."""
    torch.manual_seed(0)
    classifier = Classifier(
        {"word": ["yes", "no"]}, replace(SMALL, strides=((1.7, 2.3), (2.1, 1.4)))
    ).double()
    budget = CostBudget(classifier, 1.0)
    strides: list[Any] = [layer.stride for layer in diffstride_layers(classifier)]
    before = [stride.detach().clone() for stride in strides]
    for stride in strides:
        stride.grad = torch.randn_like(stride)
    budget.before_optimizer_step(step)
    moves = [1e-3 * stride.grad * stride.detach() for stride in strides]  # in log S, along the budget
    with torch.no_grad():
        for stride, move in zip(strides, moves, strict=True):
            stride *= move.exp()
    budget.after_optimizer_step(step, steps=100, learning=100)
    for stride, start, move in zip(strides, before, moves, strict=True):
        assert (stride / start).log().tolist() == pytest.approx((length * move).tolist(), abs=1e-6)


STARTS = {
    "usual": ((2, 2), (2, 2)),
    "all 1": ((1, 1), (1, 1)),
    "early": ((4, 4), (1, 1)),
    "late": ((1, 1), (4, 4)),
    "random": ((1.3, 2.9), (2.2, 1.1)),
}


@pytest.mark.parametrize("start", STARTS)
def test_strides_come_into_the_budget_and_stay_there(start: str, store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=20, budget=2e6, budget_on="strides")
    recipe = with_model(recipe, channels=(6, 8), strides=STARTS[start], ramp="inside", smoothness=1.0)
    train(recipe, tmp_path / "run")
    for checkpoint in ("best", "last"):
        assert 0.9 * 2e6 <= macs(load(tmp_path / "run", checkpoint)) <= 2e6
    assert read_checkpoint(tmp_path / "run/checkpoints/best.ckpt")["global_step"] >= 8
    strides = [line["strides"] for line in metrics(tmp_path / "run")]
    assert strides[4:] == [strides[-1]] * len(strides[4:])  # constants after 40 % of the steps
    assert strides[2] != strides[3]
    assert min(map(min, strides[-1])) >= 1


def test_the_cost_goes_from_that_of_the_initial_strides_to_the_budget(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=120, validate_every=1, budget=2e6, budget_on="strides")
    recipe = with_model(recipe, channels=(6, 8), strides=STARTS["all 1"], ramp="inside", smoothness=1.0)
    train(replace(recipe, trainer={"max_epochs": 48}), tmp_path / "run")
    classifier = load(tmp_path / "run", "last")
    costs = []
    for line in metrics(tmp_path / "run"):
        layers = list(diffstride_layers(classifier))
        with torch.no_grad():
            for layer, stride in zip(layers, [s for pair in line["strides"] for s in pair], strict=True):
                layer.stride.fill_(stride)
        costs.append(macs(classifier, whole=False))
    falling = torch.tensor(costs[:10])
    assert (falling.diff() < 0).all()
    assert costs[0] > 4 * 2e6
    assert all(abs(cost / 2e6 - 1) < 0.02 for cost in costs[24:48])


@pytest.mark.parametrize("downsampling", ["strided", "spectral", "diffstride"])
@pytest.mark.parametrize("budget", [4e6, 2e7])
def test_channels_come_into_the_budget_in_their_proportions(
    budget: float, downsampling: Any, store: Store, tmp_path: Path
) -> None:
    recipe = with_model(tiny(store, budget=budget, steps=1), channels=(8, 16), downsampling=downsampling)
    train(recipe, tmp_path / "run")
    config, classifier = read_config(tmp_path / "run"), load(tmp_path / "run")
    assert 0.9 * budget <= macs(classifier) <= budget
    first, second = config.model.channels or ()
    assert 1.5 <= second / first <= 2.5
    assert classifier.trunk.channels == (first, second)


def test_a_share_becomes_a_number_and_is_not_taken_twice(store: Store, tmp_path: Path) -> None:
    recipe = with_model(tiny(store, budget=0.3), channels=(16, 32), ramp="inside")
    once = complete(recipe)
    whole = network_macs_of(recipe)
    assert once.training.budget == pytest.approx(0.3 * whole)
    assert 0.27 * whole <= network_macs_of(once) <= 0.3 * whole
    assert complete(once) == once


def network_macs_of(recipe: Recipe) -> float:
    return macs(Classifier({"word": ["yes", "no"]}, recipe.model, recipe.data.window_s, recipe.frontend))


def test_poor_initial_strides_do_not_decide_on_the_channels() -> None:
    channels = []
    for strides in (None, [(1, 1)] * 6, [(3, 3)] * 6):
        recipe = Recipe(
            ModelSettings((8, 8, 8, 8, 8, 8), strides, ramp="inside"), training=TrainingSettings(budget=1e6)
        )
        channels.append(complete(recipe).model.channels)
    assert channels[0] == channels[1] == channels[2] != (8,) * 6


def test_fixed_strides_decide_on_the_channels() -> None:
    channels = []
    for stride in (1, 2):
        model = ModelSettings((8,) * 6, [(stride, stride)] * 6, downsampling="strided")
        recipe = complete(Recipe(model, training=TrainingSettings(budget=3e6)))
        assert 2.7e6 <= network_macs_of(recipe) <= 3e6
        channels.append(recipe.model.channels[0])  # type: ignore[index]
    assert channels[0] < channels[1]


def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(store: Store, tmp_path: Path) -> None:
    recipe = with_model(tiny(store, steps=26, validate_every=3, budget=0.5), channels=(8, 8), ramp="inside")
    train(recipe, tmp_path / "whole")
    for epochs in (1, 3, 6):
        train(replace(recipe, trainer={"max_epochs": epochs}), tmp_path / "cut", resume="auto")
    train(recipe, tmp_path / "cut", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


@pytest.mark.parametrize("shared", [False, True])
def test_axes_keep_enough_samples_to_learn_from(shared: bool, store: Store, tmp_path: Path) -> None:
    """With 2 or 3 samples, the ramp may hold no DFT bin, and then a stride has no gradient."""
    recipe = tiny(store, steps=10, validate_every=1, budget=3e5, budget_on="strides")
    recipe = with_model(
        recipe, strides=((60, 60), (2, 2)), channels=(8, 8), ramp="inside", smoothness=1.0, shared=shared
    )
    train(replace(recipe, trainer={"max_epochs": 3}), tmp_path / "run")
    for line in metrics(tmp_path / "run"):
        (time, frequency), _ = line["strides"]
        assert time <= (16 if shared else 25) + 1e-4
        assert frequency <= 16 + 1e-4


def test_the_ramps_that_narrow_do_not_count(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=20, budget=2e6, budget_on="strides", smoothness_from=4.0)
    train(with_model(recipe, channels=(6, 8), smoothness=1.0), tmp_path / "run")
    assert 0.9 * 2e6 <= macs(load(tmp_path / "run")) <= 2e6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"budget": 100.0},
            r"budget is 0\.0001, but the network costs at least 0\.[\d]+ million .*one channel",
        ),
        ({"budget": 100.0, "budget_on": "strides"}, r"costs at least 0\.[\d]+ million .*the longest strides"),
        ({"budget": 1e15}, r"with 4096 channels the network costs .* give at most that"),
    ],
)
def test_a_budget_out_of_reach_is_refused_with_the_limit(
    settings: Any, message: str, store: Store, tmp_path: Path
) -> None:
    recipe = with_model(tiny(store, **settings), ramp="inside")
    with pytest.raises(UserError, match=message):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_strides_are_in_the_budget_however_late_they_are_frozen(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=20, budget=2e6, budget_on="strides", freeze_strides_after=1000)
    train(with_model(recipe, channels=(6, 8), ramp="inside", smoothness=1.0), tmp_path / "run")
    assert 0.9 * 2e6 <= macs(load(tmp_path / "run")) <= 2e6


def test_a_run_under_a_budget_is_not_resumed_with_more_steps(store: Store, tmp_path: Path) -> None:
    """Its strides would learn again after they were constants."""
    recipe = with_model(tiny(store, budget=0.5), channels=(8, 8), ramp="inside")
    train(recipe, tmp_path / "run")
    longer = replace(recipe, training=replace(recipe.training, steps=12))
    with pytest.raises(UserError, match=r"started with training\.steps 6, not 12"):
        train(longer, tmp_path / "run", resume=True)


def test_strides_of_a_frontend_count_towards_the_lowest_cost() -> None:
    """With its longest strides, the network gets 2 × 2 samples."""
    settings = TrainingSettings(budget=1e5, budget_on="strides")
    recipe = Recipe(SMALL, training=settings, frontend=FrontendSettings(kind="learned_resolution"))
    assert complete(recipe).training.budget == 1e5


def test_strides_that_are_not_learned_cannot_meet_a_budget(store: Store, tmp_path: Path) -> None:
    recipe = with_model(tiny(store, budget=0.5, budget_on="strides"), downsampling="spectral")
    with pytest.raises(
        UserError, match=r"set model\.downsampling diffstride, or set training\.budget_on both"
    ):
        train(recipe, tmp_path / "run")


def test_strides_that_cannot_use_up_a_budget_are_reported(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = with_model(tiny(store, budget=1e9, budget_on="strides", steps=10), ramp="inside")
    with caplog.at_level(logging.INFO):
        train(recipe, tmp_path / "run")
    assert "strides are constants from here on" in caplog.text
    assert "does not meet its budget of 1e+03 million" in caplog.text
    assert "it costs less even with strides of 1; lower training.budget" in caplog.text
    assert metrics(tmp_path / "run")[-1]["strides"] == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"complexity": 1.0}, r"training\.complexity also limits the cost: leave it or training\.budget out"),
        ({"freeze_trunk": True}, r"training\.freeze_trunk keeps the strides as they are"),
        ({"budget": 0.0}, r"training\.budget must be"),
    ],
)
def test_settings_that_contradict_a_budget_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**{"budget": 0.5} | settings)
