"""`functional.spectral_pool` in the cheapest form for each axis."""

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor

from audiostride.layers.functional import check_floating_point
from audiostride.layers.kernels.costs import fourier_pays, is_long, resampling_cost
from audiostride.layers.kernels.fourier import resample_by_fourier
from audiostride.layers.kernels.learned import keep_in_graph, learned_matrix, remove_bins, resample
from audiostride.layers.kernels.operators import FixedOperator, OperatorCache
from audiostride.layers.kernels.products import apply_along, as_autocast, transforms_active
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
        bin_count: number of bins on the ramp, see `ramp_size`; None to compute it when it is needed.
        operators: where a matrix of a fixed stride is kept, or None not to keep it.
    """

    dim: int
    stride: float | Tensor
    known_stride: float | None
    window: Window
    length: int
    bin_count: int | None = None
    operators: OperatorCache | None = None


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
    dim, stride, known, window, length, *_ = axis
    n = x.shape[dim]
    if n < 2 or (window.smoothness == 0 and length == n):
        return keep_in_graph(x, stride) if is_learned(stride) else x
    if is_learned(stride) and known is not None and length == n:
        changed = changed_size(n, known, window)
        if 4 * changed * n < resampling_cost(n, n):  # two thin products, to the changed bins and back
            return remove_bins(x, stride, window, dim, changed)
    return resample_axis(x, axis)


def resample_axis(x: Tensor, axis: AxisPlan, taps: int | None = None, keeps_input: bool = False) -> Tensor:
    """Multiply one axis by its `resampling_matrix`, or by its `per_tap_matrix` if there are taps.

    Args:
        x: feature map of any shape.
        axis: the axis.
        taps: number of taps of a convolution, or None.
        keeps_input: see `learned.resample`; the FFT has no use for it.
    """
    dim, stride, known, window, length, bin_count, operators = axis
    n = x.shape[dim]
    if takes_fourier(x, axis, taps):
        return resample_by_fourier(x, stride, known, window, dim, length, taps)
    if is_learned(stride):
        if bin_count is None:
            bin_count = ramp_size(n, length, known, window)
        return resample(x, stride, window, dim, length, bin_count, taps, keeps_input, known)
    if isinstance(stride, Tensor):
        return apply_along(x, learned_matrix(x, n, stride, window, length, taps), dim)
    operator = FixedOperator(n, stride, window, length, x.dtype, x.device, taps)
    return apply_along(x, operators.matrix(operator) if operators else operator.build(), dim)


def takes_fourier(x: Tensor, axis: AxisPlan, taps: int | None = None) -> bool:
    """Return whether `resample_axis` resamples an axis of x through the FFT."""
    n = x.shape[axis.dim]
    if not is_long(n):
        return False
    rebuilt = True
    if axis.operators is not None and not isinstance(axis.stride, Tensor):
        operator = FixedOperator(n, axis.stride, axis.window, axis.length, x.dtype, x.device, taps)
        rebuilt = not operator.is_kept
    return fourier_pays(n, axis.length, x.numel() // n * (taps or 1), rebuilt)


def is_learned(stride: float | Tensor) -> TypeGuard[Tensor]:
    """Return whether a stride gets a gradient from the backward pass of these kernels.

    Under transforms of torch.func and in forward mode, plain operations give all derivatives.
    """
    return (
        isinstance(stride, Tensor)
        and stride.requires_grad
        and torch.is_grad_enabled()
        and not transforms_active()
    )
