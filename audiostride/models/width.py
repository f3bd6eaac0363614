"""The number of channels that a budget buys."""

import math
from dataclasses import replace
from typing import get_args

import torch

from audiostride.config.settings import Channels, ModelSettings, Recipe
from audiostride.errors import UserError
from audiostride.frontends.build import build_frontend
from audiostride.layers.learned_strides import diffstride_layers
from audiostride.models.build import build_trunk, with_network
from audiostride.models.network_cost import macs_unit, network_macs

# A network costs at least this part of its budget.
LEAST_SPENT = 0.9
_LONGEST = 1e6  # a stride that leaves two samples of any axis
_MOST = get_args(Channels)[1].most


def complete(recipe: Recipe) -> Recipe:
    """Return the recipe that a run keeps: with the network's own defaults and the channels of its budget.

    A recipe that is complete stays as it is.

    Raises:
        UserError: if the network refuses its settings, or cannot meet its budget.
    """
    return _within_budget(with_network(recipe))


def _within_budget(recipe: Recipe) -> Recipe:
    """Return a recipe whose budget is a number of multiply-accumulates, and whose network can meet it.

    With `training.budget_on` both, all numbers of channels are multiplied by one factor, the largest for
    which the network is in the budget at its usual strides. Initial strides do not count if they are
    learned: training changes them, and poor ones would ask for a poor number of channels.
    """
    budget, model = recipe.training.budget, recipe.model
    if budget is None:
        return recipe
    if budget <= 1:
        budget *= _macs(recipe, model)
    recipe = replace(recipe, training=replace(recipe.training, budget=budget))
    if recipe.training.budget_on == "strides" or recipe.training.init_from:
        _check_strides_alone(recipe, budget)
        return recipe
    usual = _usual_strides(model)
    if LEAST_SPENT * budget <= _macs(recipe, usual) <= budget:
        return recipe
    channels = _channels(recipe, usual, budget)
    return replace(recipe, model=replace(model, channels=channels))


def _channels(recipe: Recipe, usual: ModelSettings, budget: float) -> tuple[int, ...]:
    """Return the most channels at which usual strides are in the budget, in the proportions of the recipe."""
    given = usual.channels
    assert given is not None

    def channels(log_factor: float) -> tuple[int, ...]:
        return tuple(max(1, round(number * math.exp(log_factor))) for number in given)

    def cost(log_factor: float) -> float:
        return _macs(recipe, replace(usual, channels=channels(log_factor)))

    low, high = -math.log(max(given)), math.log(_MOST / max(given))
    if (least := cost(low)) > budget:
        raise _out_of_reach(recipe, budget, least, "one channel per layer at its usual strides")
    if (most := cost(high)) < LEAST_SPENT * budget:
        raise UserError(
            f"training.budget is {_million(budget)}, but with {_MOST} channels the network costs "
            f"{_million(most)} {_unit(recipe)}: give at most that"
        )
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) <= budget else (low, middle)
    found = channels(low)
    for number in reversed(range(len(found))):  # a few channels more, where all layers together would not fit
        wider = (*found[:number], found[number] + 1, *found[number + 1 :])
        if _macs(recipe, replace(usual, channels=wider)) <= budget:
            found = wider
    return found


def _check_strides_alone(recipe: Recipe, budget: float) -> None:
    """Raise `UserError` if no strides bring the network into the budget."""
    model = recipe.model
    if not _learns(model):
        other = "leave it out" if recipe.training.init_from else "set training.budget_on both"
        raise UserError(
            "training.budget without other channels can only be met by strides that are learned: set "
            f"model.downsampling diffstride, or {other}"
        )
    assert model.strides is not None
    longest = replace(model, strides=[(_LONGEST, _LONGEST)] * len(model.strides))
    if (least := _macs(recipe, longest, _LONGEST)) > budget:
        raise _out_of_reach(recipe, budget, least, "the longest strides")


def _out_of_reach(recipe: Recipe, budget: float, least: float, where: str) -> UserError:
    return UserError(
        f"training.budget is {_million(budget)}, but the network costs at least {_million(least)} "
        f"{_unit(recipe)}, with {where}: give at least that"
    )


def _million(macs: float) -> str:
    return f"{macs / 1e6:.3g}"


def _unit(recipe: Recipe) -> str:
    return macs_unit(build_frontend(recipe.frontend))


def _usual_strides(model: ModelSettings) -> ModelSettings:
    """Return settings with the strides that training may end with: fixed ones as they are, and in place of
    those that are learned the network's own, if it has any for these channels."""
    if not _learns(model):
        return model
    usual = replace(model, strides=None)
    try:
        with torch.device("meta"):
            return replace(model, strides=build_trunk(usual).initial_strides)
    except UserError:  # another number of blocks than that of the network's own strides
        return model


def _learns(model: ModelSettings) -> bool:
    return model.downsampling == "diffstride" and model.smoothness > 0


def _macs(recipe: Recipe, model: ModelSettings, frontend_stride: float | None = None) -> float:
    """Return the cost of a recipe's network with these settings, and perhaps this stride of its frontend."""
    frontend = build_frontend(recipe.frontend)
    if frontend_stride is not None:
        for layer in diffstride_layers(frontend):
            layer.stride.data.fill_(frontend_stride)
    with torch.device("meta"):
        trunk = build_trunk(model, frontend.images)
    return network_macs(frontend, trunk, recipe.data.window_s, whole=True).item()
