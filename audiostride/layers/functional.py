"""The mathematics of learnable strides, as pure functions.

An axis of n samples is low-passed by a mask over its DFT bins and evaluated at M ≤ n uniform points. Both
steps are linear, so together they are one real (M, n) matrix. Several axes are several matrix products.

This is the readable form. `audiostride.layers.kernels` holds faster forms of the same functions, which the
layers use; tests compare them with this file.

Source: Riad et al., "Learning strides in convolutional neural networks", ICLR 2022.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from audiostride.layers.window import Window, as_window


def output_length(n: int, stride: float, smoothness: float | Window) -> int:
    """Return the length of an axis of n samples after downsampling.

    For the paper's window it is min(n, max(2, floor(n / stride + 2 · smoothness))).

    Args:
        n: number of samples before downsampling, ≥ 0. An axis of fewer than 2 samples stays as it is.
        stride: stride in samples, ≥ 1; it need not be whole.
        smoothness: width of the mask's ramp in DFT bins, ≥ 0, or a `Window`.

    Raises:
        ValueError: if the stride is not a number.

    >>> output_length(64, 2.0, 4.0)
    40
    """
    return as_window(smoothness).output_length(n, stride)


def cutoff_mask(frequency: Tensor, cutoff: Tensor, smoothness: float | Tensor) -> Tensor:
    """Return the low-pass mask clip((smoothness + cutoff − |frequency|) / smoothness, 0, 1), paper eq. 3.

    Its gradient with respect to the cut-off covers the whole ramp including the inner corner, where a stride
    at its lower limit puts the highest bin of an axis with an odd number of samples.

    Args:
        frequency: frequencies in DFT bins, any shape; the sign does not matter.
        cutoff: upper edge of the pass band in DFT bins, a scalar tensor.
        smoothness: width of the ramp in DFT bins, > 0.

    >>> cutoff_mask(torch.arange(0.0, 8.0), torch.tensor(2.0), 4.0)
    tensor([1.0000, 1.0000, 1.0000, 0.7500, 0.5000, 0.2500, 0.0000, 0.0000])
    """
    f = frequency.abs()
    height = (smoothness + cutoff - f) / smoothness
    begin, end = cutoff.detach(), (cutoff + smoothness).detach()
    # Rounding may put the inner corner a little above the bin.
    on_ramp = (f >= begin * (1 - 4 * torch.finfo(height.dtype).eps)) & (f < end)
    differentiable = torch.where(on_ramp, height, 0.0)
    return height.detach().clamp(0, 1) + (differentiable - differentiable.detach())


def resampling_matrix(
    n: int,
    stride: float | Tensor,
    smoothness: float | Window,
    *,
    length: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Return the (M, n) matrix that low-passes an axis of n samples and evaluates it at M uniform points.

    A[j, i] = 1/n · Σ_f mask(f) · cos(2π f (j/M − i/n)), summed over the signed bins f from −⌊M/2⌋ to ⌊M/2⌋.
    Amplitudes are preserved: a constant stays the same constant. With smoothness 0 this is spectral pooling
    (Rippel et al. 2015) and equals ``scipy.signal.resample``.

    Args:
        n: number of samples before downsampling.
        stride: stride ≥ 1, a number or a scalar tensor. A tensor receives a gradient if smoothness > 0.
        smoothness: width of the mask's ramp in DFT bins, ≥ 0, or a `Window`.
        length: M, if the caller knows it already. Computing it reads the stride, which waits for a GPU.
        dtype: type of the matrix; by default that of the stride, and float64 if the stride is a number.
        device: device of the matrix; by default that of the stride.

    >>> resampling_matrix(4, 2.0, 0.0)
    tensor([[ 0.7500,  0.2500, -0.2500,  0.2500],
            [-0.2500,  0.2500,  0.7500,  0.2500]], dtype=torch.float64)
    """
    if isinstance(stride, Tensor):
        dtype, device = dtype or stride.dtype, device or stride.device
    dtype = dtype or torch.float64
    window = as_window(smoothness)
    if length is None:
        length = window.output_length(n, stride.item() if isinstance(stride, Tensor) else stride)
    if n < 2:
        return torch.ones(length, n, dtype=dtype, device=device)
    bins = torch.arange(length // 2 + 1, device=device)
    weights = bin_weights(n, length, bins, stride, window, dtype)
    # Autocast would round these products to 16 bits, and with them everything that follows.
    with torch.autocast(autocast_device(bins.device), enabled=False):
        return (fourier_table(length, bins, dtype) * weights.repeat(2)) @ fourier_table(n, bins, dtype).mT / n


def autocast_device(device: torch.device) -> str:
    """Return the type of device whose autocast applies: for the meta device, which has none, the CPU's."""
    return "cpu" if device.type == "meta" else device.type


def bin_weights(
    n: int, length: int, bins: Tensor, stride: float | Tensor, window: Window, dtype: torch.dtype
) -> Tensor:
    """Return mask times multiplicity of non-negative DFT bins, of shape (bins,)."""
    multiplicity = bin_multiplicity(n, length, bins, dtype)
    if window.smoothness == 0:
        return multiplicity
    stride = torch.as_tensor(stride, dtype=dtype, device=bins.device)
    begin, width = window.edges(n, usable_stride(n, stride, window), length)
    return multiplicity * cutoff_mask(bins.to(dtype), begin, width)


def usable_stride(n: int, stride: Tensor, window: Window) -> Tensor:
    """Return `Window.usable_stride` of a tensor, with the gradient passed straight through."""
    value = stride.detach()
    return value.clamp(min=window.usable_stride(n, 1.0)) + (stride - value)


def bin_multiplicity(n: int, length: int, bins: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 2 for bins that stand for ±f, and 1 for DC and the Nyquist bin of an even axis kept whole."""
    once = bins == 0
    if length == n and n % 2 == 0:
        once = once | (bins == n // 2)
    return torch.where(once, 1.0, 2.0).to(dtype)


def fourier_table(points: int, bins: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (points, 2 · bins): the cosines of all bins, then their sines, at `points` uniform points."""
    # The phase is reduced in whole numbers, which is exact, and rounded once. A factor that is rounded would
    # move all phases in the same direction, which adds up at the edges of long axes.
    turns = torch.outer(torch.arange(points, device=bins.device), bins) % points
    exact = dtype if bins.device.type == "mps" else torch.float64  # which Apple's GPUs do not have
    phase = (turns.to(exact) * (2 * math.pi / points)).to(dtype)
    return torch.cat([phase.cos(), phase.sin()], dim=1)


def spectral_pool(
    x: Tensor,
    strides: Sequence[float] | Tensor,
    smoothness: float | Window = 0.0,
    dims: Sequence[int] | None = None,
) -> Tensor:
    """Low-pass and downsample axes of x, one after the other, each by its own stride.

    .. warning:: The matrix of an axis of n samples holds n² / stride numbers. Do not use it on raw waveforms.

    Args:
        x: real tensor of any shape and floating type. Matrices are built in at least float32 and rounded to
            the type of x.
        strides: one stride ≥ 1 per axis. A tensor of shape (axes,) receives a gradient if smoothness > 0.
        smoothness: width of the mask's ramp in DFT bins, ≥ 0, or a `Window`. The default is spectral pooling.
        dims: axes of x; by default the last ``len(strides)``.

    Returns:
        A tensor like x whose axes in `dims` have `output_length` samples.

    Raises:
        ValueError: if x is not of a floating type.

    >>> spectral_pool(torch.ones(3, 100, 64), (2.0, 1.5), smoothness=4.0).shape
    torch.Size([3, 58, 50])
    """
    check_floating_point(x)
    exact = torch.promote_types(x.dtype, torch.float32)
    for dim, stride in zip(dims or range(-len(strides), 0), strides, strict=True):
        matrix = resampling_matrix(x.shape[dim], stride, smoothness, dtype=exact, device=x.device)
        x = (x.movedim(dim, -1) @ matrix.to(x.dtype).mT).movedim(-1, dim)
    return x


def check_floating_point(x: Tensor) -> None:
    """Raise `ValueError` if x is not a real floating-point tensor."""
    if not x.is_floating_point():
        raise ValueError(f"only real floating-point tensors can be pooled, but got {x.dtype}")
