"""`functional.spectral_pool` in the cheapest form for each axis."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from audiostride.layers.functional import check_floating_point, resampling_matrix
from audiostride.layers.kernels.learned import LearnedRemoval, LearnedResample
from audiostride.layers.kernels.operators import fixed_matrix
from audiostride.layers.kernels.products import apply_along, as_autocast, exact_dtype
from audiostride.layers.kernels.ramp import changed_size, ramp_size
from audiostride.layers.window import Window


class AxisPlan(NamedTuple):
    """What one call of a layer does to one axis.

    Attributes:
        dim: axis of the feature map, negative.
        stride: stride ≥ 1; a scalar tensor if it gets a gradient or if a compiled graph reads it, else a
            number.
        known_stride: stride as a number, or None if a compiled graph must not keep it. It saves memory.
        window: window of the axis.
        length: number of output samples.
    """

    dim: int
    stride: float | Tensor
    known_stride: float | None
    window: Window
    length: int


def pool_axes(x: Tensor, axes: Sequence[AxisPlan]) -> Tensor:
    """Low-pass and downsample several axes of x.

    Raises:
        ValueError: if x is not of a floating type.
    """
    check_floating_point(x)
    x = as_autocast(x)
    if not torch.compiler.is_compiling():  # a compiled graph cannot sort by lengths that change
        # The axis that shrinks most goes first: the others then have less to do.
        axes = sorted(axes, key=lambda axis: axis.length / max(1, x.shape[axis.dim]))
    for axis in axes:
        x = pool_axis(x, axis)
    return x


def pool_axis(x: Tensor, axis: AxisPlan) -> Tensor:
    """Low-pass and downsample one axis of x, which has the type that autocast asks for."""
    dim, stride, _, window, length = axis
    n = x.shape[dim]
    if window.smoothness == 0 and length == n:
        return x
    if isinstance(stride, Tensor) and stride.requires_grad and torch.is_grad_enabled():
        return _pool_learned(x, axis)
    if isinstance(stride, Tensor):
        matrix = resampling_matrix(n, stride, window, length=length, dtype=exact_dtype(x), device=x.device)
        return apply_along(x, matrix.to(x.dtype), dim)
    return apply_along(x, fixed_matrix(n, stride, window, length, x.dtype, x.device), dim)


def _pool_learned(x: Tensor, axis: AxisPlan) -> Tensor:
    dim, stride, known, window, length = axis
    n = x.shape[dim]
    if known is not None and length == n:
        changed = changed_size(n, known, window)
        if 4 * changed < n:  # two thin products instead of one with an (n, n) matrix
            return LearnedRemoval.apply(x, stride, window, dim, changed)
    return LearnedResample.apply(x, stride, window, dim, length, ramp_size(n, length, known, window))
