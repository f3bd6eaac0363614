"""Resampling of long axes through the FFT: n · log n operations per line instead of the n · M of a matrix.

The product with a `resampling_matrix` is the inverse transform, at M points, of the first M // 2 + 1 DFT
bins, each times a weight. Numbers and derivatives of any order are those of the matrix, up to rounding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from audiostride.layers.functional import bin_multiplicity, bin_weights
from audiostride.layers.kernels.products import exact_dtype, is_channels_last, transforms_active
from audiostride.layers.kernels.ramp import ramp_range
from audiostride.layers.window import Window


def resample_by_fourier(
    x: Tensor,
    stride: float | Tensor,
    known_stride: float | None,
    window: Window,
    dim: int,
    length: int,
    taps: int | None = None,
) -> Tensor:
    """Multiply one axis by its `resampling_matrix`, or by its `per_tap_matrix` if there are taps.

    Types of 16 bits are transformed in float32, and the result is rounded to the type of x.

    Args:
        x: feature map of any shape.
        stride: stride ≥ 1. A scalar tensor gets a gradient if the smoothness is above 0.
        known_stride: the stride as a number, so that the backward pass keeps only the bins on the ramp; or
            None.
        window: window of the axis.
        dim: the axis, negative, of at least 2 samples.
        length: number of output samples.
        taps: number of taps of a convolution, or None.
    """
    if x.numel() == 0:  # torch transforms no empty batch
        return x.narrow(dim, 0, length).repeat_interleave(taps or 1, dim) + 0 * stride
    y = x.to(exact_dtype(x))
    if taps is None:
        y = _resample_lines(y.movedim(dim, -1), stride, known_stride, window, length).movedim(-1, dim)
    else:
        seen = _as_taps_see_it(y, dim, taps)
        y = _resample_lines(seen, stride, known_stride, window, length).movedim(-1, dim - 1)
        y = y.flatten(dim - 1, dim)
    return y.to(x.dtype).contiguous(
        memory_format=torch.channels_last if is_channels_last(x) else torch.contiguous_format
    )


def _as_taps_see_it(x: Tensor, dim: int, taps: int) -> Tensor:
    """Turn (…, n, …) into (…, taps, …, n): shifted by the offset of each tap, with zeros beyond the edges."""
    edge = taps // 2
    return pad(x, [0, 0] * (-1 - dim) + [edge, edge]).unfold(dim, x.shape[dim], 1)


def _resample_lines(
    lines: Tensor, stride: float | Tensor, known_stride: float | None, window: Window, length: int
) -> Tensor:
    """Low-pass and downsample the last axis: (…, n) to (…, length)."""
    n, dtype = lines.shape[-1], lines.dtype

    def weights(bins: Tensor) -> Tensor:
        # The inverse transform counts a bin as often as it occurs in an axis of `length` samples.
        counted = bin_multiplicity(length, length, bins, dtype)
        return bin_weights(n, length, bins, stride, window, dtype) / (n * counted)

    begin, end = ramp_range(n, length, known_stride, window)
    bins, spectrum = torch.arange(end, device=lines.device), _half_spectrum(lines, end)
    with torch.no_grad():  # the stride changes the weights on the ramp alone
        pass_band = weights(bins[:begin])
    # A copy: the backward pass would keep the whole spectrum with a view of it.
    ramp = spectrum[..., begin:].clone() * weights(bins[begin:])
    weighted = torch.cat([spectrum[..., :begin] * pass_band, ramp], -1)
    return torch.fft.irfft(weighted, length, norm="forward")


def _half_spectrum(lines: Tensor, count: int) -> Tensor:
    """Return the first `count` DFT bins of the last axis, not scaled."""
    if lines.requires_grad and not transforms_active():
        return _HalfSpectrum.apply(lines, count)
    return torch.fft.rfft(lines)[..., :count]


class _HalfSpectrum(torch.autograd.Function):
    """The first DFT bins of real lines.

    The backward pass of torch.fft.rfft transforms n complex numbers. This one needs half the memory.
    """

    @staticmethod
    def forward(ctx: Any, lines: Tensor, count: int) -> Tensor:
        ctx.n = lines.shape[-1]
        return torch.fft.rfft(lines)[..., :count]

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        bins = torch.arange(grad_output.shape[-1], device=grad_output.device)
        counted = bin_multiplicity(ctx.n, ctx.n, bins, grad_output.real.dtype)
        return torch.fft.irfft(grad_output / counted, ctx.n, norm="forward"), None
