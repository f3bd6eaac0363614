"""What training does to strides besides optimising them: narrowing ramps, freezing, projection."""

from audiostride.config.settings import TrainingSettings
from audiostride.layers.learned_strides import diffstride_layers, freeze_, project_
from audiostride.models.classifier import Classifier

# Fraction of the steps over which ramps narrow from training.smoothness_from to model.smoothness.
_NARROWING = 0.5


def ramp_excess(step: int, steps: int) -> float:
    """Return how far the ramp still is from its final width: 1 at step 0, 0 from half of the steps on."""
    final_step = round(_NARROWING * steps)
    return max(0.0, 1 - step / final_step) if final_step else 0.0


class StrideSchedule:
    """Narrows the ramps, freezes the strides after a step, and keeps strides in their range.

    The state follows from the step alone, so a resumed run continues as if it had never stopped.

    Args:
        classifier: the classifier in training.
        settings: `smoothness_from`, `freeze_strides_after` and `steps` are used.

    Attributes:
        steps: number of steps of the training, by default that of the settings.
        frozen: whether the strides are constants by now.
        ramp_is_final: whether the ramps have the width that they keep until the end.
    """

    def __init__(self, classifier: Classifier, settings: TrainingSettings) -> None:
        self.classifier, self.settings = classifier, settings
        self.steps = settings.steps
        self.frozen = False
        self.ramp_is_final = True

    def before_step(self, step: int) -> None:
        """Set the ramps' width and freeze the strides, as step `step` (from 0) asks for."""
        self._narrow_ramps(step)
        freeze_after = self.settings.freeze_strides_after
        if freeze_after is not None and step >= freeze_after and not self.frozen:
            self.frozen = True
            freeze_(self.classifier)

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
        """Drop the gradients of frozen strides: with any gradient, even 0, momentum moves them."""
        if self.frozen:
            for layer in diffstride_layers(self.classifier):
                layer.stride.grad = None

    def after_optimizer_step(self) -> None:
        """Put strides back into their range."""
        project_(self.classifier)
