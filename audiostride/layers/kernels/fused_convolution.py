"""A convolution along an axis and the resampling of that axis, as one operator.

Both are linear: y = A (Σ_k W_k · Shift_k x) = Σ_k W_k · (A · Shift_k) x. So the axis can be resampled first,
once per tap, and channels are mixed at the reduced length. The feature map of full length never exists.
Resampling takes a matrix or the FFT, whichever is cheaper.
"""

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import conv2d

from audiostride.layers.kernels.costs import resampling_cost
from audiostride.layers.kernels.learned import resample_again
from audiostride.layers.kernels.pooling import AxisPlan, is_learned, resample_axis, takes_fourier
from audiostride.layers.kernels.products import as_autocast

# Measured: per multiplication, a product with a narrow matrix takes twice the time of a convolution.
_RESAMPLING_COST = 2.0
# Fusing must save a quarter of the multiplications, because the backward pass goes over the taps again.
_LARGEST_COST = 0.75
# Keep the resampled tensor for the backward pass if it is at most 1.5 times as large as the input.
_LARGEST_KEPT = 1.5


def fusing_pays(n: int, length: int, taps: int, in_channels: int, out_channels: int) -> bool:
    """Return whether resampling an axis before mixing channels takes clearly fewer multiplications."""
    mixing = taps * in_channels * out_channels
    resampling = _RESAMPLING_COST * resampling_cost(n, length)
    apart = mixing * n + resampling * out_channels
    fused = mixing * length + resampling * taps * in_channels
    return fused < _LARGEST_COST * apart


def convolve_and_resample(x: Tensor, weight: Tensor, bias: Tensor | None, axis: AxisPlan) -> Tensor:
    """Convolve an axis, with zeros beyond its edges, then low-pass and downsample it.

    Args:
        x: feature map (batch, in_channels, …, …).
        weight: (out_channels, in_channels, taps, 1) for axis −2, (…, 1, taps) for axis −1; taps is odd.
        bias: (out_channels,), or None.
        axis: the axis, −2 or −1. A stride that is a tensor gets a gradient if the smoothness is above 0.
    """
    dim, taps = axis.dim, weight.shape[axis.dim]
    x = as_autocast(x)
    is_large = taps * axis.length > _LARGEST_KEPT * x.shape[dim]
    keeps_input = is_large and _can_keep_input(x, axis, taps)
    z = resample_axis(x, axis, taps, keeps_input)
    with _kept_as_input(z) if keeps_input else nullcontext():
        return conv2d(z, weight, bias, stride=along(dim, taps, 1))  # sums over taps and input channels


def _can_keep_input(x: Tensor, axis: AxisPlan, taps: int) -> bool:
    """Return whether the resampled tensor can be computed again from x in the backward pass."""
    if torch.compiler.is_compiling() or takes_fourier(x, axis, taps):
        return False
    return is_learned(axis.stride)


def _kept_as_input(z: Tensor) -> saved_tensors_hooks:
    """Return a context that keeps z for the backward pass as the input that it is computed from."""
    # Neither function may refer to z, which would keep it.
    node, pointer, shape = z.grad_fn, z.data_ptr(), z.shape
    return saved_tensors_hooks(
        lambda tensor: None if tensor.data_ptr() == pointer and tensor.shape == shape else tensor,
        lambda kept: resample_again(node) if kept is None else kept,
    )


def along(dim: int, value: int, other: int) -> tuple[int, int]:
    """Return a pair for a 2-D convolution or pooling layer: `value` for axis `dim`, `other` for the other."""
    return (value, other) if dim == -2 else (other, value)
