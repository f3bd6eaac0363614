"""The training objective: the weighted sum of the tasks' cross-entropies, plus λ·J."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from audiostride.layers import complexity


def summed_cross_entropy(
    logits: Tensor, labels: Tensor, draws: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the sum of the cross-entropy over the windows that have a label, and their number.

    With mixup (Zhang et al. 2018) every window has two labels, its own and its partner's, weighted by their
    shares in the mixture; the number counts the shares that have a label.

    Args:
        logits: (windows, classes).
        labels: (windows,) or more, −1 where a window has no label. Those of further windows follow, if
            `partner` names them.
        draws: with mixup "partner", (windows,), the index of the window mixed in, and "weight", (windows,),
            the share of the window itself, in [1/2, 1]; see `audiostride.data.augmentation`.

    Returns:
        Two scalars of the type of `logits`.
    """
    own = labels[: len(logits)]
    if "partner" not in draws:
        total = cross_entropy(logits, own, ignore_index=-1, reduction="sum")
        return total, (own >= 0).sum().to(logits.dtype)
    total, count = logits.new_zeros(()), logits.new_zeros(())
    pairs = ((own, draws["weight"]), (labels[draws["partner"]], 1 - draws["weight"]))
    for targets, weight in pairs:
        total = total + (weight * cross_entropy(logits, targets, ignore_index=-1, reduction="none")).sum()
        count = count + (weight * (targets >= 0)).sum()
    return total, count


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the sum over tasks of weight times loss, a scalar. A task without a weight has weight 1."""
    return torch.stack([weights.get(task, 1.0) * loss for task, loss in losses.items()]).sum()


def add_complexity(loss: Tensor, strides: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Return loss + λ·J, and J, the cost of the strides (paper equation 6).

    Args:
        loss: a scalar.
        strides: (blocks, 2), the strides of each block over time and frequency.
        weight: λ, ≥ 0.
    """
    cost = complexity(strides)
    return loss + weight * cost, cost
