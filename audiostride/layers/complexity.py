"""A penalty on the cost of a network whose strides are learned."""

from collections.abc import Iterable

import torch
from torch import Tensor


def complexity(strides: Iterable[Tensor]) -> Tensor:
    """J = Σ_l Π_{i ≤ l} Π_axes 1 / S: the area left after each layer, summed (paper eq. 6).

    Add λ·J to the loss to make strides grow; the paper sweeps λ from 0.1 to 10.

    Args:
        strides: of each layer in the order of the network, each a tensor of shape (axes,), as given by
            `DiffStride2d.strides` or `SeparableCNN.strides`.

    Returns:
        A scalar tensor, at most the number of layers.
    """
    area_kept = torch.stack([1 / s.prod() for s in strides])
    return area_kept.cumprod(0).sum()
