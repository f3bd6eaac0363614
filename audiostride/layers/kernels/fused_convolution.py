"""A convolution along an axis and the resampling of that axis, as one operator.

Both are linear: y = A (Σ_k W_k · Shift_k x) = Σ_k W_k · (A · Shift_k) x. So the axis can be resampled first,
once per tap, and channels mixed at the reduced length; the map of full length never exists.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from audiostride.layers.functional import (
    Window,
    as_autocast,
    as_window,
    fixed_matrix,
    fourier_table,
    is_channels_last,
    ramp,
    ramp_size,
    resample,
    resampling_matrix,
    tapped,
)

# Measured: a product with a narrow matrix takes about twice the time per multiplication of a convolution, and
# fusing has to win by more than what going over the taps again costs in the backward pass.
_RESAMPLING, _GAIN = 2.0, 0.75
# Times a layer's input that what it has resampled may take, to be kept instead.
_MORE_MEMORY = 1.5


def fusing_pays(n: int, length: int, taps: int, in_channels: int, out_channels: int) -> bool:
    """Whether fewer multiplications are needed with the axis resampled before the channels are mixed."""
    mixing = taps * in_channels * out_channels
    apart = mixing * n + _RESAMPLING * out_channels * length * n
    fused = mixing * length + _RESAMPLING * taps * in_channels * length * n
    return fused < _GAIN * apart


def convolve_and_resample(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: float | Tensor,
    smoothness: float | Window,
    dim: int,
    length: int,
    value: float | None = None,
) -> Tensor:
    """Convolve an axis, with zeros beyond its edges, low-pass it and evaluate it at `length` points.

    Args:
        x: (batch, in_channels, …, …).
        weight: (out_channels, in_channels, taps, 1) for dim −2, (…, 1, taps) for dim −1; taps is odd.
        bias: (out_channels,), or none.
        stride: ≥ 1, a number or a scalar tensor; a tensor receives a gradient (for smoothness > 0).
        smoothness: width of the mask's ramp in DFT bins, ≥ 0, or a `Window`.
        dim: −2 or −1.
        length: see `output_length`.
        value: the stride as a plain number where it is known, which spares memory and work.
    """
    x, weight, bias = as_autocast(x), as_autocast(weight), None if bias is None else as_autocast(bias)
    if isinstance(stride, Tensor):
        window = as_window(smoothness)
        bins = ramp_size(x.shape[dim], length, value, window)
        return _ConvolveAndResample.apply(x, weight, bias, stride, window, dim, length, bins)
    matrix = fixed_matrix(
        x.shape[dim], stride, as_window(smoothness), length, x.dtype, x.device, weight.shape[dim]
    )
    return _mix(resample(x, matrix, dim), weight, bias, dim)


class _ConvolveAndResample(torch.autograd.Function):
    """Keeps its input resampled per tap, with the stride's coefficients; or where that takes much more memory
    its input, as a convolution does, and resamples it again in the backward pass.

    The stride's gradient as in `functional.spectral_pool`, from coefficients on the ramp; but of the input
    and of the gradient before the channels are mixed, so that it takes no more mixing.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Tensor,
        window: Window,
        dim: int,
        length: int,
        bins: int,
    ) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        n, taps = x.shape[dim], weight.shape[dim]
        matrix = resampling_matrix(n, stride, window, length=length, dtype=exact, device=x.device)
        matrix = tapped(matrix.to(x.dtype), taps)
        on_ramp, slopes = ramp(n, length, stride.to(exact), window, bins)
        before, after = (fourier_table(points, on_ramp, exact).mT.to(x.dtype) for points in (n, length))
        before = tapped(before, taps)
        z = resample(x, matrix, dim)
        ctx.dim, ctx.channels_last = dim, is_channels_last(x)
        ctx.resampled = taps * length <= _MORE_MEMORY * n
        kept = (z, resample(x, before, dim)) if ctx.resampled else (x, before)
        ctx.save_for_backward(*kept, weight, matrix, after, slopes)
        return _mix(z, weight, bias, dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        *kept, weight, matrix, after, slopes = ctx.saved_tensors
        dim, taps = ctx.dim, weight.shape[ctx.dim]
        if ctx.resampled:
            z, coefficients = kept
        else:
            x, before = kept
            z, coefficients = resample(x, matrix, dim), resample(x, before, dim)
        wants_x, _, wants_bias, wants_stride = ctx.needs_input_grad[:4]
        of_z, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient,
            z,
            weight,
            [weight.shape[0]],
            along(dim, taps, 1),
            [0, 0],
            [1, 1],
            False,
            [0, 0],
            1,
            [wants_x or wants_stride, True, wants_bias],
        )
        of_x = resample(of_z, matrix.mT, dim) if wants_x else None
        of_stride = None
        if wants_stride:
            ours, theirs = (_rows(part, taps, dim, ctx.channels_last) for part in (coefficients, of_z))
            products = ours.to(slopes.dtype) * (after @ theirs)
            of_stride = products.sum(-1).flatten(0, -2).sum(0) @ slopes.repeat(2)
        return of_x, of_weight, of_bias, of_stride, None, None, None, None


def _rows(z: Tensor, taps: int, dim: int, channels_last: bool) -> Tensor:
    """(…, rows · taps, …) to (…, rows, all that a row holds)."""
    if channels_last:
        z, dim = z.permute(0, 2, 3, 1), dim - 1
    return z.unflatten(dim, (-1, taps)).flatten(dim % z.ndim + 1)


def _mix(z: Tensor, weight: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    """Sum taps and channels."""
    return conv2d(z, weight, bias, stride=along(dim, weight.shape[dim], 1))


def along(dim: int, value: int, across: int) -> tuple[int, int]:
    """A pair for a convolution or pooling layer: `value` along the axis, `across` on the other."""
    return (value, across) if dim == -2 else (across, value)
