"""The DFT bins on the ramp of a window: only their weight changes with the stride.

With X(f) the coefficients of the input at these bins and G(f) those of the output's gradient, both as cosine
and sine, the gradient of the stride is

    dL/dS = Σ_ramp dmask/dS(f) · multiplicity(f) / n · X(f) · G(f).

So the backward pass needs a handful of coefficients per line instead of the n samples of the input.
"""

import math

import torch
from torch import Tensor

from audiostride.layers.functional import bin_multiplicity, fourier_table
from audiostride.layers.kernels.products import apply_along, sum_other_axes
from audiostride.layers.window import Window


def ramp_size(n: int, length: int, stride: float | None, window: Window) -> int:
    """Return an upper bound for the number of bins on the ramp that an output of `length` samples keeps.

    Args:
        n: number of samples of the axis.
        length: number of output samples.
        stride: stride as a number; None if the host does not know it, which gives the bound for all strides.
        window: window of the layer.
    """
    if stride is None:
        widest = window.edges(n, window.usable_stride(n, 1.0), length)[1]
        return min(math.ceil(widest), length // 2) + 1
    stop, width = window.edges(n, window.usable_stride(n, stride), length)
    slack = 1e-5 * stop  # float32 may have rounded the stride
    last = min(length // 2, math.ceil(stop + slack) - 1)
    return max(1, last - math.ceil(stop - width - slack) + 1)


def changed_size(n: int, stride: float, window: Window) -> int:
    """Return how many bins a window changes if the axis keeps its length: those from the ramp upwards."""
    stop, width = window.edges(n, window.usable_stride(n, stride), n)
    return n // 2 + 1 - max(0, math.ceil(stop - width - 1e-5 * stop))


def ramp_bins(n: int, length: int, stride: Tensor, window: Window, count: int) -> tuple[Tensor, Tensor]:
    """Return `count` bins from the beginning of the ramp, see `ramp_size`, and their `ramp_slopes`."""
    begin, _ = _ramp_ends(n, length, stride, window)
    bins = (begin.ceil().clamp(min=0) + torch.arange(count, device=stride.device)).long()
    return bins, ramp_slopes(n, length, stride, window, bins)


def ramp_slopes(n: int, length: int, stride: Tensor, window: Window, bins: Tensor) -> Tensor:
    """Return dmask/dS · multiplicity / n at each bin: zero for bins that are not on the ramp."""
    used = stride.clamp(min=window.usable_stride(n, 1.0))
    (stop, width), (stop_slope, width_slope) = window.edges(n, used, length), window.edge_slopes(n, used)
    begin, end = _ramp_ends(n, length, stride, window)
    on_ramp = (bins >= begin) & (bins < end) & (bins <= length // 2)
    slopes = (stop_slope * width - (stop - bins) * width_slope) / width**2
    return torch.where(on_ramp, slopes * bin_multiplicity(n, length, bins, used.dtype) / n, 0.0)


def _ramp_ends(n: int, length: int, stride: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Return where the ramp begins, its corner included, and where it ends."""
    stop, width = window.edges(n, stride.clamp(min=window.usable_stride(n, 1.0)), length)
    return stop - width - 4 * torch.finfo(stop.dtype).eps * stop, stop


def stride_gradient(
    coefficients: Tensor, grad_output: Tensor, bins: Tensor, slopes: Tensor, dim: int
) -> Tensor:
    """Return the gradient of the stride by the sum over the ramp above.

    Args:
        coefficients: X(f) of the input, (…, 2 · bins, …), cosines and then sines.
        grad_output: gradient of the output, (…, M, …).
        bins: bins on the ramp, (bins,).
        slopes: their `ramp_slopes`, (bins,).
        dim: axis that is resampled.
    """
    table = fourier_table(grad_output.shape[dim], bins, slopes.dtype).mT.to(grad_output.dtype)
    products = coefficients.to(slopes.dtype) * apply_along(grad_output, table, dim)
    return sum_other_axes(products, dim) @ slopes.repeat(2)
