"""A penalty on the cost of a network whose strides are learned."""

from collections.abc import Iterable

import torch
from torch import Tensor


def complexity(strides: Iterable[Tensor]) -> Tensor:
    """Return J = Σ_l Π_{i ≤ l} Π_axes 1 / S: the areas of the feature maps after each layer (paper eq. 6).

    Add λ · J to the loss to make strides grow; the paper tries λ from 0.1 to 10. J ignores channels and the
    ramp, so it is a measure of cost relative to a network of the same channels.

    Args:
        strides: strides of each layer in the order of the network, each a tensor of shape (axes,):
            ``network.strides`` of a `SeparableCNN`, or ``[layer.strides for layer in layers]``.

    Returns:
        A scalar tensor, at most the number of layers.

    >>> complexity(torch.tensor([[2.0, 2.0], [1.0, 2.0]]))
    tensor(0.3750)
    """
    area_kept = torch.stack([1 / s.prod() for s in strides])
    return area_kept.cumprod(0).sum()
