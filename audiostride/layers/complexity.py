"""A penalty on the cost of a network whose strides are learned."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from audiostride.layers.learned_strides import diffstride_layers


def complexity(strides: nn.Module | Iterable[Tensor]) -> Tensor:
    """Return J = Σ_l Π_{i ≤ l} Π_axes 1 / S: the areas of the feature maps after each layer (paper eq. 6).

    Add λ · J to the loss to make strides grow; the paper tries λ from 0.1 to 10. J ignores channels and the
    ramp, so it is a measure of cost relative to a network of the same channels. `cost` counts
    multiply-accumulates instead.

    Args:
        strides: a network, or the strides of each layer in the order of the network, each a tensor of shape
            (axes,), such as ``[layer.strides for layer in layers]``. An axis that a layer does not resample
            counts as stride 1. Of a network these are its `strides`, if it has such an attribute of shape
            (layers, axes), as `SeparableCNN` has; otherwise those of its DiffStride layers in the order of
            its modules, each layer once, as if they followed one another.

    Returns:
        A scalar tensor, at most the number of layers.

    Raises:
        ValueError: if there are no strides.

    >>> complexity(torch.tensor([[2.0, 2.0], [1.0, 2.0]]))
    tensor(0.3750)
    >>> from audiostride.layers import DiffStride1d
    >>> complexity(nn.Sequential(DiffStride1d(2.0), DiffStride1d(4.0)))
    tensor(0.6250, grad_fn=<SumBackward0>)
    """
    area_kept = [1 / s.prod() for s in _of_layers(strides)]
    if not area_kept:
        raise ValueError("there are no strides to compute the complexity of")
    return torch.stack(area_kept).cumprod(0).sum()


def _of_layers(strides: nn.Module | Iterable[Tensor]) -> Iterable[Tensor]:
    """Return the strides of each layer."""
    if isinstance(strides, nn.ParameterList) or not isinstance(strides, nn.Module):
        return strides
    known = getattr(strides, "strides", None)
    if isinstance(known, Tensor) and known.ndim == 2:
        return known
    return [layer.strides for layer in diffstride_layers(strides)]
