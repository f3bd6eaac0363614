"""The optimiser of a training, its weight decay, and the schedule of its learning rates."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR

from audiostride.config.settings import TrainingSettings


def make_optimizer(
    groups: Sequence[dict[str, Any]], settings: TrainingSettings, fused: bool = False
) -> Optimizer:
    """Return the optimiser that settings describe.

    Args:
        groups: groups of parameters, perhaps with learning rates of their own. A group with a weight decay,
            as strides have, keeps it.
        settings: optimiser, learning rate, momentum and weight decay.
        fused: take a step of all parameters at once.
    """
    groups = [part for group in groups for part in _with_decay(group, settings.weight_decay)]
    if settings.optimizer == "sgd":
        return SGD(groups, settings.learning_rate, settings.momentum, fused=fused)
    return Adam(groups, settings.learning_rate, decoupled_weight_decay=True, fused=fused)


def _with_decay(group: dict[str, Any], decay: float) -> Iterator[dict[str, Any]]:
    """Yield the parts of a group with and without weight decay.

    Weights of convolutions and linear layers decay. Biases, scales of normalisations and other parameters
    with one axis do not: they are few, and their size means something.
    """
    if decay == 0 or "weight_decay" in group:
        yield group
        return
    for decayed, weight_decay in ((True, decay), (False, 0.0)):
        parameters = [parameter for parameter in group["params"] if (parameter.ndim > 1) == decayed]
        if parameters:
            yield group | {"params": parameters, "weight_decay": weight_decay}


def make_schedule(optimizer: Optimizer, settings: TrainingSettings, steps: int) -> LRScheduler | None:
    """Return the schedule of the learning rates, which takes a step after each step of the optimiser.

    Args:
        optimizer: the optimiser; each of its groups follows the schedule from its own rate.
        settings: the kind of schedule.
        steps: number of steps of the training.

    Returns:
        None for constant rates.
    """
    if settings.schedule == "steps":
        milestones = [round(fraction * steps) for fraction in settings.decay_at]
        return MultiStepLR(optimizer, milestones, settings.decay)
    if settings.schedule == "one_cycle":
        rates = [group["lr"] for group in optimizer.param_groups]
        # The momentum of sgd is a setting; that of Adam follows the rate, as in Smith 2018.
        return OneCycleLR(optimizer, rates, steps, cycle_momentum=settings.optimizer == "adam")
    return None
