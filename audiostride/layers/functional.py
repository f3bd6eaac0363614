"""The mathematics of learnable strides, as pure functions.

One axis of n samples is low-passed by a mask over its DFT bins and evaluated at M ≤ n points. Both
steps are linear, so together they are one real (M, n) matrix; several axes are several products.
Source: Riad et al., "Learning strides in convolutional neural networks", ICLR 2022.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def usable_stride(n: int, stride: float, smoothness: float) -> float:
    """The stride that an axis of n samples really uses, never below n / (n - 1) where there is a ramp.

    At stride 1 every bin would lie in the pass band, where the mask does not depend on the stride: its
    gradient would be zero and the stride could never grow again.
    """
    return max(stride, n / (n - 1)) if smoothness > 0 and n >= 2 else stride


def output_length(n: int, stride: float, smoothness: float) -> int:
    """Samples that an axis of n samples has after pooling: min(n, max(2, floor(n / stride + 2 smoothness))).

    The stride is that of `usable_stride`.

    Args:
        n: samples before pooling, ≥ 0.
        stride: in samples, ≥ 1; need not be whole.
        smoothness: width of the mask's ramp in DFT bins, ≥ 0. Its two sides are kept, hence 2 smoothness.

    Raises:
        ValueError: for a stride that is not a number.
    """
    if math.isnan(stride):
        raise ValueError("the stride is not a number: training has diverged, lower the learning rate")
    if n < 2:
        return n
    return min(n, max(2, math.floor(n / usable_stride(n, stride, smoothness) + 2 * smoothness)))


def cutoff_mask(frequency: Tensor, cutoff: Tensor, smoothness: float) -> Tensor:
    """Low-pass mask clip((smoothness + cutoff − |frequency|) / smoothness, 0, 1), paper eq. 3.

    Differentiable in the cut-off on the whole ramp, its inner corner included: that is where a stride
    at its lower limit stands when the axis has an odd number of samples.

    Args:
        frequency: in DFT bins, any shape; the sign does not matter.
        cutoff: pass-band edge in DFT bins, a scalar tensor.
        smoothness: width of the ramp in DFT bins, > 0.
    """
    f = frequency.abs()
    height = (smoothness + cutoff - f) / smoothness
    rounding = 4 * torch.finfo(height.dtype).eps * (cutoff.detach() + smoothness)
    on_ramp = (f >= cutoff.detach() - rounding) & (f < cutoff.detach() + smoothness)
    slope = torch.where(on_ramp, height, 0.0)
    return height.detach().clamp(0, 1) + (slope - slope.detach())


def resampling_matrix(
    n: int,
    stride: float | Tensor,
    smoothness: float,
    *,
    length: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """The (M, n) matrix that low-passes an axis of n samples and evaluates it at M uniform points.

    A[j, i] = 1/n Σ_f mask(f) cos(2π f (j/M − i/n)) over the signed bins f from −⌊M/2⌋ to ⌊M/2⌋, so
    amplitudes are preserved. With smoothness 0 it is spectral pooling (Rippel et al. 2015) and equals
    ``scipy.signal.resample``.

    Args:
        n: samples before pooling.
        stride: ≥ 1, a number or a scalar tensor; a tensor receives a gradient (for smoothness > 0).
        smoothness: width of the mask's ramp in DFT bins, ≥ 0.
        length: M where the caller knows it already, which spares a tensor on a GPU a synchronisation.
        dtype: of the matrix. As the stride where that is a tensor, otherwise float64.
        device: of the matrix. As the stride where that is a tensor.

    >>> resampling_matrix(4, 2.0, 0.0)
    tensor([[ 0.7500,  0.2500, -0.2500,  0.2500],
            [-0.2500,  0.2500,  0.7500,  0.2500]], dtype=torch.float64)
    """
    if isinstance(stride, Tensor):
        dtype, device = dtype or stride.dtype, device or stride.device
    dtype = dtype or torch.float64
    if length is None:
        length = output_length(n, stride.item() if isinstance(stride, Tensor) else stride, smoothness)
    if n < 2:
        return torch.ones(length, n, dtype=dtype, device=device)
    bins = torch.arange(length // 2 + 1, device=device)
    weight = _bin_weights(n, length, bins, stride, smoothness, dtype)
    # Autocast would round the products to 16 bits here, where it gains nothing and costs the precision
    # of everything that follows.
    with torch.autocast(bins.device.type, enabled=False):
        return (
            (_fourier_table(length, bins, dtype) * weight.repeat(2)) @ _fourier_table(n, bins, dtype).mT / n
        )


def _bin_weights(
    n: int, m: int, bins: Tensor, stride: float | Tensor, smoothness: float, dtype: torch.dtype
) -> Tensor:
    """Mask times multiplicity: every bin stands for ±f, save DC and an uncropped Nyquist bin."""
    once = bins == 0
    if m == n and n % 2 == 0:
        once = once | (bins == n // 2)
    multiplicity = torch.where(once, 1.0, 2.0).to(dtype)
    if smoothness == 0:
        return multiplicity
    stride = torch.as_tensor(stride, dtype=dtype, device=bins.device)
    # Straight through the lower limit: below it the gradient still reaches the parameter.
    lowest = usable_stride(n, 1.0, smoothness)
    used = stride + (stride.detach().clamp(min=lowest) - stride.detach())
    return multiplicity * cutoff_mask(bins.to(dtype), n / (2 * used), smoothness)


def _fourier_table(points: int, bins: Tensor, dtype: torch.dtype) -> Tensor:
    """(points, 2 · bins): cosines, then sines. The phase is reduced in whole numbers, hence exactly."""
    turns = torch.outer(torch.arange(points, device=bins.device), bins) % points
    phase = turns.to(dtype) * (2 * math.pi / points)
    return torch.cat([phase.cos(), phase.sin()], dim=1)


def resample(x: Tensor, matrix: Tensor, dim: int) -> Tensor:
    """Apply an (M, n) matrix along one axis: (…, n, …) to (…, M, …)."""
    if dim in (-1, x.ndim - 1):
        return x @ matrix.mT
    if dim in (-2, x.ndim - 2):
        return matrix @ x
    return (x.movedim(dim, -1) @ matrix.mT).movedim(-1, dim)


def spectral_pool(
    x: Tensor,
    strides: Sequence[float] | Tensor,
    smoothness: float = 0.0,
    dims: Sequence[int] | None = None,
    lengths: Sequence[int] | None = None,
) -> Tensor:
    """Low-pass and resample the given axes of x, one stride each. Not for raw waveforms: the matrix of an
    axis of n samples takes n² / stride numbers.

    Args:
        x: real tensor of any shape and floating type. The matrices are built in at least float32 and
            rounded to the type of x.
        strides: one per axis, each ≥ 1. A tensor of shape (axes,) receives a gradient.
        smoothness: width of the mask's ramp in DFT bins; 0 is spectral pooling.
        dims: the axes, by default the last ``len(strides)``.
        lengths: output lengths where they are known, see `resampling_matrix`.

    Raises:
        ValueError: for an x that is not floating point.
    """
    if not x.is_floating_point():
        raise ValueError(f"only real floating-point tensors can be pooled, but got {x.dtype}")
    dims = range(-len(strides), 0) if dims is None else dims
    if lengths is None:
        values = strides.tolist() if isinstance(strides, Tensor) else strides
        lengths = [output_length(x.shape[d], s, smoothness) for d, s in zip(dims, values, strict=True)]
    exact = torch.promote_types(x.dtype, torch.float32)
    # The axis that shrinks most goes first, so that the others have less to do.
    for dim, stride, m in sorted(
        zip(dims, strides, lengths, strict=True), key=lambda axis: axis[2] / max(1, x.shape[axis[0]])
    ):
        n = x.shape[dim]
        if smoothness == 0 and m == n:
            continue
        matrix = resampling_matrix(n, stride, smoothness, length=m, dtype=exact, device=x.device)
        x = resample(x, matrix.to(x.dtype), dim)
    return x
