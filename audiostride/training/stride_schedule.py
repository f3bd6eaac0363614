"""What training does to strides besides optimising them: narrowing ramps, a budget, freezing, projection."""

import logging
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from audiostride.config.settings import TrainingSettings
from audiostride.layers.learned_strides import diffstride_layers, freeze_, project_
from audiostride.models.classifier import Classifier
from audiostride.models.network_cost import macs_unit
from audiostride.models.width import LEAST_SPENT
from audiostride.training.budget import LEARNING, CostBudget, learns_strides

logger = logging.getLogger(__name__)

# Fraction of the steps over which ramps narrow from training.smoothness_from to model.smoothness.
_NARROWING = 0.5


def ramp_excess(step: int, steps: int) -> float:
    """Return how far the ramp still is from its final width: 1 at step 0, 0 from half of the steps on."""
    final_step = round(_NARROWING * steps)
    return max(0.0, 1 - step / final_step) if final_step else 0.0


class StrideSchedule:
    """Narrows the ramps, keeps strides in their range and in a budget, and freezes them after a step.

    The state follows from the step alone, apart from that of a budget, which checkpoints hold. So a resumed
    run continues as if it had never stopped.

    Args:
        classifier: the classifier in training, with its initial strides.
        settings: `smoothness_from`, `budget`, `freeze_strides_after` and `steps` are used.

    Attributes:
        steps: number of steps of the training, by default that of the settings.
        frozen: whether the strides are constants by now.
        ramp_is_final: whether the ramps have the width that they keep until the end.
        budget: what keeps the strides in their budget, if there is one.
    """

    def __init__(self, classifier: Classifier, settings: TrainingSettings) -> None:
        self.classifier, self.settings = classifier, settings
        self.steps = settings.steps
        self.frozen = False
        self.ramp_is_final = True
        self.budget: CostBudget | None = None
        if settings.budget is not None and learns_strides(classifier):
            self.budget = CostBudget(classifier, settings.budget)
        self._step = 0

    @property
    def is_final(self) -> bool:
        """Whether ramps and, under a budget, strides are what they stay until the end."""
        return self.ramp_is_final and (self.budget is None or self.frozen)

    @property
    def freeze_after(self) -> int | None:
        """Number of steps after which the strides are constants, or None if they always learn.

        Under a budget it is at the latest before the last step, so that the saved network is in the budget.
        """
        given = self.settings.freeze_strides_after
        if self.budget is None:
            return given
        return min(round(LEARNING * self.steps) if given is None else given, self.steps - 1)

    def before_step(self, step: int) -> None:
        """Set the ramps' width and freeze the strides, as step `step` (from 0) asks for."""
        self._step = step
        self._narrow_ramps(step)
        freeze_after = self.freeze_after
        if freeze_after is not None and step >= freeze_after and not self.frozen:
            if self.budget is not None and step == freeze_after:
                self._settle(self.budget)
            self.frozen = True
            freeze_(self.classifier)

    def _settle(self, budget: CostBudget) -> None:
        """Bring the strides into the budget, for good."""
        spent = budget.settle()
        share, counted = spent / budget.target, macs_unit(self.classifier.frontend)
        rank_zero_only(logger.info)(
            f"step {self._step}: strides are constants from here on; the network costs {spent / 1e6:.3g} "
            f"{counted}, {100 * share:.0f} % of its budget"
        )
        if not LEAST_SPENT <= share <= 1:
            rank_zero_only(logger.warning)(
                f"the network does not meet its budget of {budget.target / 1e6:.3g} {counted}: "
                f"{self._why(share)}"
            )

    def _why(self, share: float) -> str:
        """Return why a network does not meet its budget, of which it takes this share."""
        if share > 1:
            return (
                "it costs more even with its longest strides; raise training.budget or lower model.channels"
            )
        if all(stride == 1 for layer in diffstride_layers(self.classifier) for stride in layer.strides):
            return "it costs less even with strides of 1; lower training.budget or raise model.channels"
        return "the next larger sizes of its feature maps cost more; change training.budget or model.channels"

    def _narrow_ramps(self, step: int) -> None:
        initial, final = self.settings.smoothness_from, self.classifier.settings.smoothness
        trunk = self.classifier.trunk
        if self.settings.freeze_trunk or trunk.downsampling != "diffstride":
            return
        if initial is None or not initial > final > 0:
            return
        excess = ramp_excess(step, self.steps)
        self.ramp_is_final = excess == 0
        trunk.set_smoothness_(final + (initial - final) * excess)

    def before_optimizer_step(self) -> None:
        """Keep the gradients of the strides along the budget, and drop those of frozen strides.

        With any gradient, even 0, momentum would move frozen strides.
        """
        if self.budget is not None and not self.frozen:
            self.budget.before_optimizer_step(self._step)
        if self.frozen:
            for layer in diffstride_layers(self.classifier):
                layer.stride.grad = None

    def after_optimizer_step(self) -> None:
        """Put strides back into their budget and their range."""
        if self.budget is not None and not self.frozen:
            assert self.freeze_after is not None
            self.budget.after_optimizer_step(self._step, self.steps, self.freeze_after)
        project_(self.classifier)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for a resumed run."""
        return {} if self.budget is None else self.budget.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        if self.budget is not None and state:
            self.budget.load_state(state)
