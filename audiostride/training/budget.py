"""Keeps the cost of a network at a budget while its strides are learned.

The constraint is C(S) = budget, with C the multiply-accumulates of `network_macs` and S all learned strides.
Each step moves log S along it: the gradient of the loss loses its part along the gradient of log C, and after
the step of the optimiser all strides are multiplied by one factor that puts the cost back to where it should
be (a projected gradient and a retraction; see Absil et al., "Optimization Algorithms on Matrix Manifolds",
2008, chapter 4). The part that is taken away is the Lagrange multiplier times the gradient of log C, so
nothing has to be tuned, and the network is on its budget at every step.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from audiostride.layers.diffstride import DiffStrideNd
from audiostride.layers.learned_strides import diffstride_layers
from audiostride.models.classifier import Classifier
from audiostride.models.network_cost import network_macs

# Fraction of the steps in which the cost goes from that of the initial strides to the budget, and fraction
# after which strides are constants.
_ARRIVAL, LEARNING = 0.1, 0.4
# After this fraction of the time in which strides are learned, their steps become shorter. Adam moves each
# stride by about its rate however small the gradient is, so that at the end chance would decide on many.
_FULL_STEPS = 0.25
# A dry run takes place after so many steps, or when a log stride has changed by so much. In between, log C
# counts as linear in log S.
_EVERY, _FAR = 10, 0.1
# While they are learned, strides leave an axis so many samples: the ramp, a quarter of them, then holds a DFT
# bin. With fewer a stride gets no gradient, and an axis that has shrunk to 2 samples never grows again.
_FEWEST_SAMPLES = 4
# Largest change of all log strides in a step.
_LARGEST_SHIFT = 0.05


class CostBudget:
    """The budget of a training.

    Args:
        classifier: the classifier in training, with its initial strides.
        budget: multiply-accumulates per second of sound (per image) if above 1, else a share of what the
            initial network costs.

    Attributes:
        initial: cost of the initial network.
        target: the budget.
    """

    def __init__(self, classifier: Classifier, budget: float) -> None:
        self.classifier = classifier
        self.initial = self.cost()
        self.target = budget if budget > 1 else budget * self.initial
        self._known: dict[str, Tensor] = {}  # log C at the last dry run, its slopes by log S, and log S there
        self._before: Tensor | None = None  # log S before the step that is being taken

    def cost(self, whole: bool = False) -> float:
        """Return the present cost of the network, with the ramps that it ends with."""
        with torch.no_grad():
            return float(self._macs(whole))

    def before_optimizer_step(self, step: int) -> None:
        """Take out of the gradient of the strides what would change the cost, after `step` steps."""
        parameters = self._parameters()
        with torch.no_grad():
            strides = _flat(parameters)
            self._before = strides.log()
            if step % _EVERY == 0 or self._is_far(strides):
                self._know()
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            gradient = _flat(gradients) * strides
            slopes = self._known["slopes"].to(gradient)
            multiplier = (gradient @ slopes) / (slopes @ slopes).clamp(min=torch.finfo(slopes.dtype).tiny)
            along = (gradient - multiplier * slopes) / strides
            for parameter, part in zip(parameters, _split(along, parameters), strict=True):
                parameter.grad = part

    @torch.no_grad()
    def after_optimizer_step(self, step: int, steps: int, learning: int) -> None:
        """Shorten the step of the strides, and multiply all by one factor that puts the cost in its place.

        Args:
            step: number of steps done before this one.
            steps: number of steps of the training.
            learning: number of steps after which strides are constants.
        """
        if self._before is None:
            return
        parameters = self._parameters()
        logs = _flat(parameters).clamp(min=1).log()
        length = min(1.0, (1 - step / learning) / (1 - _FULL_STEPS))
        logs = self._before + length * (logs - self._before)
        known = {name: value.to(logs) for name, value in self._known.items()}
        log_cost = known["log_cost"] + known["slopes"] @ (logs - known["logs"])
        missing = self._log_aim(step + 1, steps) - log_cost
        # A stride of 1 can grow, but not shrink.
        movable = (logs > 0) | (missing < 0)
        slope = (known["slopes"] * movable).sum().clamp(max=-1e-2)
        shift = (missing / slope).clamp(-_LARGEST_SHIFT, _LARGEST_SHIFT)
        longest = self._longest().to(logs).log()
        self._write((logs + shift * movable).clamp(min=0).minimum(longest).exp(), parameters)

    @torch.no_grad()
    def settle(self) -> float:
        """Multiply all strides by the smallest factor at which the cost with whole lengths is in the budget.

        Returns:
            That cost.
        """
        parameters = self._parameters()
        logs = _flat(parameters).log()

        def cost_at(shift: float) -> float:
            self._write((logs + shift).clamp(min=0).exp(), parameters)
            return self.cost(whole=True)

        too_small, enough = -float(logs.max()), 1.0
        if (cost := cost_at(too_small)) <= self.target:  # with strides of 1
            return cost
        while cost_at(enough) > self.target and enough < 8:
            enough *= 2
        for _ in range(16):
            middle = (too_small + enough) / 2
            fits = cost_at(middle) <= self.target
            too_small, enough = (too_small, middle) if fits else (middle, enough)
        return cost_at(enough)

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on as if it had never stopped."""
        return {"initial": self.initial, "target": self.target, "known": self._known}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.initial, self.target = state["initial"], state["target"]
        self._known = dict(state["known"])

    def _log_aim(self, step: int, steps: int) -> float:
        """Return the logarithm of the cost that the network should have after so many steps."""
        part = min(1.0, step / max(1, round(_ARRIVAL * steps)))
        return (1 - part) * math.log(self.initial) + part * math.log(self.target)

    def _is_far(self, strides: Tensor) -> bool:
        if not self._known:
            return True
        return bool((strides.log() - self._known["logs"].to(strides)).abs().max() > _FAR)

    def _know(self) -> None:
        """Find out the cost and its slopes by a dry run."""
        parameters = self._parameters()
        with torch.enable_grad():
            log_cost = self._macs(whole=False).log()
            slopes = torch.autograd.grad(log_cost, parameters, allow_unused=True, materialize_grads=True)
        strides = _flat([parameter.detach() for parameter in parameters])
        self._known = {
            "log_cost": log_cost.detach(),
            "slopes": _flat(slopes) * strides,
            "logs": strides.log(),
        }

    def _macs(self, whole: bool) -> Tensor:
        classifier = self.classifier
        trunk, present = classifier.trunk, classifier.trunk.window.smoothness
        if trunk.downsampling == "diffstride":
            trunk.set_smoothness_(classifier.settings.smoothness)
        try:
            return network_macs(classifier.frontend, trunk, classifier.window_s, whole)
        finally:
            if trunk.downsampling == "diffstride":
                trunk.set_smoothness_(present)

    def _parameters(self) -> list[Tensor]:
        """Return all learned strides; a shared one once."""
        return [layer.stride for layer in self._layers()]

    def _layers(self) -> list[DiffStrideNd]:
        """Return a layer for each learned stride."""
        layers = {id(layer.stride): layer for layer in diffstride_layers(self.classifier)}
        return [layer for layer in layers.values() if layer.stride.requires_grad]

    def _longest(self) -> Tensor:
        """Return the longest strides that leave enough samples to learn from."""
        return torch.tensor(
            [stride for layer in self._layers() for stride in layer.longest_strides(_FEWEST_SAMPLES)]
        )

    def _write(self, strides: Tensor, parameters: list[Tensor]) -> None:
        for parameter, part in zip(parameters, _split(strides, parameters), strict=True):
            parameter.copy_(part)


def learns_strides(classifier: Classifier) -> bool:
    """Return whether any stride of a classifier gets a gradient."""
    return any(layer.stride.requires_grad for layer in diffstride_layers(classifier))


def _flat(values: Any) -> Tensor:
    return torch.cat([value.reshape(-1) for value in values])


def _split(values: Tensor, like: list[Tensor]) -> list[Tensor]:
    parts = values.split([parameter.numel() for parameter in like])
    return [part.view_as(parameter).to(parameter) for part, parameter in zip(parts, like, strict=True)]
