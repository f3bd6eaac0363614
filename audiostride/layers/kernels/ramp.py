"""The DFT bins on the ramp of a window: only their weight changes with the stride.

With X(f) the coefficients of the input at these bins and G(f) those of the output's gradient, both as cosine
and sine, the gradient of the stride is

    dL/dS = Σ_ramp dmask/dS(f) · multiplicity(f) / n · X(f) · G(f).

So the backward pass needs a handful of coefficients per line instead of the n samples of the input.
"""

import math

import torch
from torch import Tensor

from audiostride.layers.functional import bin_multiplicity, usable_stride
from audiostride.layers.kernels.operators import per_tap_matrix
from audiostride.layers.kernels.products import apply_along, exact_dtype, sum_other_axes
from audiostride.layers.kernels.tables import Bins, bin_numbers, bin_table
from audiostride.layers.window import Window

_SLACK = 1e-5  # float32 may have rounded the stride
_CORNER = 4 * torch.finfo(torch.float32).eps  # and a bin at the beginning of the ramp counts as on it


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
    begin, end = ramp_range(n, length, stride, window)
    return max(1, end - begin)


def ramp_range(n: int, length: int, stride: float | None, window: Window) -> tuple[int, int]:
    """Return the first bin on the ramp, and the first one above it or above the bins of `length` samples.

    Bins below the range lie in the pass band, those above it are removed. Without a ramp, all bins lie in the
    pass band. If the host does not know the stride, all bins count as the ramp.

    Args:
        n, length, stride, window: as in `ramp_size`.
    """
    all_bins = length // 2 + 1
    if window.smoothness == 0:
        return all_bins, all_bins
    if stride is None:
        return 0, all_bins
    begin, width = window.edges(n, window.usable_stride(n, stride), length)
    end = min(all_bins, math.ceil((begin + width) * (1 + _SLACK)))
    return min(end, math.ceil(begin * (1 - _SLACK))), end


def changed_size(n: int, stride: float, window: Window) -> int:
    """Return how many bins a window changes if the axis keeps its length: those from the ramp upwards."""
    begin, _ = window.edges(n, window.usable_stride(n, stride), n)
    return n // 2 + 1 - max(0, math.ceil(begin * (1 - _SLACK)))


def ramp_bins(
    n: int, length: int, stride: Tensor, known_stride: float | None, window: Window, count: int
) -> Bins:
    """Return `count` bins from the beginning of the ramp, see `ramp_size`.

    Args:
        n, length, window: as in `ramp_size`.
        stride: the stride, a scalar tensor.
        known_stride: the stride as a number, or None if the host does not know it.
        count: number of bins.
    """
    if known_stride is not None:
        first, _ = ramp_range(n, length, known_stride, window)
        first = min(first, length // 2 + 1 - count)  # an empty ramp above the last bin
        return range(first, first + count)
    begin, _ = _ramp_ends(n, length, stride, window)
    return (begin.ceil().clamp(min=0) + torch.arange(count, device=stride.device)).long()


def _ramp_slopes(n: int, length: int, stride: Tensor, window: Window, bins: Tensor) -> Tensor:
    """Return dmask/dS · multiplicity / n at each bin: zero for bins that are not on the ramp."""
    used = usable_stride(n, stride, window)
    (begin, width), (begin_slope, width_slope) = window.edges(n, used, length), window.edge_slopes(n, used)
    slopes = (begin_slope + width_slope * (bins - begin) / width) / width
    first, end = _ramp_ends(n, length, stride.detach(), window)
    on_ramp = (bins >= first) & (bins < end) & (bins <= length // 2)
    return torch.where(on_ramp, slopes * bin_multiplicity(n, length, bins, used.dtype) / n, 0.0)


def known_weights(n: int, length: int, bins: range, stride: float, window: Window) -> list[float]:
    """Return `functional.bin_weights` of a stride that the host knows.

    So few numbers take less time there than on any device, where each operation is a call of its own.
    """
    begin, width = window.edges(n, window.usable_stride(n, stride), length)
    return [_known_multiplicity(n, length, f) * min(1.0, max(0.0, (begin + width - f) / width)) for f in bins]


def _known_slopes(n: int, length: int, bins: range, stride: float, window: Window) -> list[float]:
    """Return `_ramp_slopes` of a stride that the host knows."""
    used = window.usable_stride(n, stride)
    (begin, width), (begin_slope, width_slope) = window.edges(n, used, length), window.edge_slopes(n, used)
    end = min(begin + width, length // 2 + 1)
    return [
        (begin_slope + width_slope * (f - begin) / width) / width * _known_multiplicity(n, length, f) / n
        if begin * (1 - _CORNER) <= f < end
        else 0.0
        for f in bins
    ]


def _known_multiplicity(n: int, length: int, f: int) -> float:
    return 1.0 if f == 0 or (length == n and 2 * f == n) else 2.0


def _ramp_ends(n: int, length: int, stride: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Return where the ramp begins, its corner included, and where it ends."""
    begin, width = window.edges(n, usable_stride(n, stride, window), length)
    return begin * (1 - 4 * torch.finfo(begin.dtype).eps), begin + width


def analysis_scale(points: int) -> float:
    """Return the number that coefficients over `points` samples are multiplied by.

    Sums of many samples would overflow in 16 bits, so they are divided by their number, as far as the table
    then stays in the normal range of float16.
    """
    return 1 / min(points, 2**14)


def analyse(x: Tensor, bins: Bins, dim: int, taps: int | None = None) -> Tensor:
    """Return the coefficients X(f) of an axis, times its `analysis_scale`: (…, n, …) to (…, 2 · bins, …).

    Cosines come first, then sines. With taps, there is one for the input as each tap sees it,
    see `per_tap_matrix`: (…, 2 · bins · taps, …).
    """
    points = x.shape[dim]
    table = bin_table(points, bins, exact_dtype(x), x.device) * analysis_scale(points)
    return apply_along(x, per_tap_matrix(table.to(x.dtype), taps), dim)


def stride_gradient(
    coefficients: Tensor,
    grad_coefficients: Tensor,
    n: int,
    length: int,
    stride: Tensor,
    window: Window,
    bins: Bins,
    dim: int,
    known_stride: float | None = None,
) -> Tensor:
    """Return the gradient of the stride by the sum over the ramp above.

    Args:
        coefficients: X(f) of the input, (…, 2 · bins, …), as `analyse` returns them.
        grad_coefficients: G(f) of the output's gradient, of the same shape.
        n: number of samples of the axis before resampling.
        length: number of samples after it.
        stride: the stride, a scalar tensor.
        window: window of the axis.
        bins: bins on the ramp. Others count 0.
        dim: axis that is resampled.
        known_stride: the stride as a number, if no derivative of the result is needed.
    """
    stride = stride.to(exact_dtype(coefficients))
    if isinstance(bins, range) and known_stride is not None:
        known = _known_slopes(n, length, bins, known_stride, window)
        slopes = torch.tensor(known, dtype=stride.dtype, device=stride.device)
    else:
        slopes = _ramp_slopes(n, length, stride, window, bin_numbers(bins, stride.device))
    products = sum_other_axes(coefficients.to(stride.dtype) * grad_coefficients, dim)
    return products @ slopes.repeat(2) / (analysis_scale(n) * analysis_scale(length))
