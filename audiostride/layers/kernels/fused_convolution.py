"""A convolution along an axis and the resampling of that axis, as one operator.

Both are linear: y = A (Σ_k W_k · Shift_k x) = Σ_k W_k · (A · Shift_k) x. So the axis can be resampled first,
once per tap, and channels are mixed at the reduced length. The feature map of full length never exists.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from audiostride.layers.functional import fourier_table, resampling_matrix
from audiostride.layers.kernels.operators import fixed_matrix, per_tap_matrix
from audiostride.layers.kernels.pooling import AxisPlan
from audiostride.layers.kernels.products import apply_along, as_autocast, exact_dtype, is_channels_last
from audiostride.layers.kernels.ramp import ramp_bins, ramp_size
from audiostride.layers.window import Window

# Measured: per multiplication, a product with a narrow matrix takes twice the time of a convolution.
_RESAMPLING_COST = 2.0
# Fusing must save a quarter of the multiplications, because the backward pass goes over the taps again.
_LARGEST_COST = 0.75
# Keep the resampled tensor for the backward pass if it is at most 1.5 times as large as the input.
_LARGEST_KEPT = 1.5


def fusing_pays(n: int, length: int, taps: int, in_channels: int, out_channels: int) -> bool:
    """Return whether resampling an axis before mixing channels takes clearly fewer multiplications."""
    mixing = taps * in_channels * out_channels
    apart = mixing * n + _RESAMPLING_COST * out_channels * length * n
    fused = mixing * length + _RESAMPLING_COST * taps * in_channels * length * n
    return fused < _LARGEST_COST * apart


def convolve_and_resample(x: Tensor, weight: Tensor, bias: Tensor | None, axis: AxisPlan) -> Tensor:
    """Convolve an axis, with zeros beyond its edges, then low-pass and downsample it.

    Args:
        x: feature map (batch, in_channels, …, …).
        weight: (out_channels, in_channels, taps, 1) for axis −2, (…, 1, taps) for axis −1; taps is odd.
        bias: (out_channels,), or None.
        axis: the axis, −2 or −1. A stride that is a tensor gets a gradient if the smoothness is above 0.
    """
    x, weight, bias = as_autocast(x), as_autocast(weight), None if bias is None else as_autocast(bias)
    dim, stride, known, window, length = axis
    if isinstance(stride, Tensor):
        bin_count = ramp_size(x.shape[dim], length, known, window)
        return _ConvolveAndResample.apply(x, weight, bias, stride, window, dim, length, bin_count)
    matrix = fixed_matrix(x.shape[dim], stride, window, length, x.dtype, x.device, weight.shape[dim])
    return _mix(apply_along(x, matrix, dim), weight, bias, dim)


class _ConvolveAndResample(torch.autograd.Function):
    """`convolve_and_resample` for a learned stride.

    For the backward pass it keeps the input resampled per tap and its coefficients on the ramp. If these are
    much larger than the input, it keeps the input, as a convolution does, and resamples it again.

    The gradient of the stride is that of `audiostride.layers.kernels.ramp`, taken before channels are mixed,
    so it needs no further convolution.
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
        bin_count: int,
    ) -> Tensor:
        exact = exact_dtype(x)
        n, taps = x.shape[dim], weight.shape[dim]
        matrix = resampling_matrix(n, stride, window, length=length, dtype=exact, device=x.device)
        matrix = per_tap_matrix(matrix.to(x.dtype), taps)
        bins, slopes = ramp_bins(n, length, stride.to(exact), window, bin_count)
        table_in, table_out = (fourier_table(points, bins, exact).mT.to(x.dtype) for points in (n, length))
        table_in = per_tap_matrix(table_in, taps)
        z = apply_along(x, matrix, dim)
        ctx.dim, ctx.channels_last = dim, is_channels_last(x)
        ctx.keeps_resampled = taps * length <= _LARGEST_KEPT * n
        kept = (z, apply_along(x, table_in, dim)) if ctx.keeps_resampled else (x, table_in)
        ctx.save_for_backward(*kept, weight, matrix, table_out, slopes)
        return _mix(z, weight, bias, dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        *kept, weight, matrix, table_out, slopes = ctx.saved_tensors
        dim, taps = ctx.dim, weight.shape[ctx.dim]
        if ctx.keeps_resampled:
            z, coefficients = kept
        else:
            x, table_in = kept
            z, coefficients = apply_along(x, matrix, dim), apply_along(x, table_in, dim)
        needs_x, _, needs_bias, needs_stride = ctx.needs_input_grad[:4]
        grad_z, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            grad_output,
            z,
            weight,
            [weight.shape[0]],
            along(dim, taps, 1),
            [0, 0],
            [1, 1],
            False,
            [0, 0],
            1,
            [needs_x or needs_stride, True, needs_bias],
        )
        grad_x = apply_along(grad_z, matrix.mT, dim) if needs_x else None
        grad_stride = None
        if needs_stride:
            x_rows, grad_rows = (
                _one_row_per_point(part, taps, dim, ctx.channels_last) for part in (coefficients, grad_z)
            )
            products = x_rows.to(slopes.dtype) * (table_out @ grad_rows)
            grad_stride = products.sum(-1).flatten(0, -2).sum(0) @ slopes.repeat(2)
        return grad_x, grad_weight, grad_bias, grad_stride, None, None, None, None


def _one_row_per_point(z: Tensor, taps: int, dim: int, channels_last: bool) -> Tensor:
    """Reshape (…, points · taps, …) to (…, points, everything else of one point)."""
    if channels_last:
        z, dim = z.permute(0, 2, 3, 1), dim - 1
    return z.unflatten(dim, (-1, taps)).flatten(dim % z.ndim + 1)


def _mix(z: Tensor, weight: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    """Sum over taps and input channels."""
    return conv2d(z, weight, bias, stride=along(dim, weight.shape[dim], 1))


def along(dim: int, value: int, other: int) -> tuple[int, int]:
    """Return a pair for a 2-D convolution or pooling layer: `value` for axis `dim`, `other` for the other."""
    return (value, other) if dim == -2 else (other, value)
