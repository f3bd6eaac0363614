"""The mathematics of learnable strides, as pure functions.

One axis of n samples is low-passed by a mask over its DFT bins and evaluated at M ≤ n points. Both
steps are linear, so together they are one real (M, n) matrix; several axes are several products.
Source: Riad et al., "Learning strides in convolutional neural networks", ICLR 2022.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

Ramp = Literal["outside", "inside", "relative"]


@dataclass(frozen=True)
class Window:
    """What shapes the low-pass window of an axis of N samples beside its stride S.

    Attributes:
        smoothness: R, width of the ramp from 1 to 0 in DFT bins, ≥ 0.
        ramp: where it lies. "outside" begins it at the cut-off N / (2 S), as in the paper, so that the output
            is N / S + 2 R samples long. "inside" ends it half a bin above the cut-off, for N / S samples; it
            is then at most a quarter of the output wide. "relative" is outside and R · N / S wide, so that
            small maps are shortened as much as large ones.
        multiple: output lengths are rounded up to whole multiples of it, so that they change less often.
    """

    smoothness: float = 4.0
    ramp: Ramp = "outside"
    multiple: int = 1

    def length(self, n: int, stride: float) -> int:
        """Of the output of an axis of n ≥ 2 samples, without regard to `usable_stride`."""
        grown = {"outside": 2 * self.smoothness, "inside": 0.0, "relative": 2 * self.smoothness * n / stride}
        length = max(2, math.floor(n / stride + grown[self.ramp]))
        return min(n, -(-length // self.multiple) * self.multiple)

    def edges(self, n: int, stride: Any, length: int) -> tuple[Any, Any]:
        """Where the window reaches 0, and how wide its ramp is, in DFT bins; of a number or a tensor."""
        cutoff = n / (2 * stride)
        if self.ramp == "inside":
            return cutoff + 0.5, min(self.smoothness, length / 4)
        width = self.smoothness * n / stride if self.ramp == "relative" else self.smoothness
        return cutoff + width, width

    def rates(self, n: int, stride: Tensor) -> tuple[Tensor, Tensor | float]:
        """Derivatives of both edges by the stride."""
        of_cutoff = -n / (2 * stride**2)
        if self.ramp == "relative":
            of_width = -self.smoothness * n / stride**2
            return of_cutoff + of_width, of_width
        return of_cutoff, 0.0


def as_window(smoothness: "float | Window") -> Window:
    """A smoothness alone stands for the paper's window."""
    return smoothness if isinstance(smoothness, Window) else Window(smoothness)


def usable_stride(n: int, stride: float, smoothness: float | Window) -> float:
    """The stride that an axis of n samples really uses, never below n / (n - 1) where there is a ramp.

    At stride 1 every bin would lie in the pass band, where the mask does not depend on the stride: its
    gradient would be zero and the stride could never grow again. A ramp inside always holds some bins.
    """
    window = as_window(smoothness)
    can_die = window.smoothness > 0 and window.ramp != "inside"
    return max(stride, n / (n - 1)) if can_die and n >= 2 else stride


def output_length(n: int, stride: float, smoothness: float | Window) -> int:
    """Samples that an axis of n samples has after pooling: min(n, max(2, floor(n / stride + 2 smoothness)))
    in the paper, or what another `Window` has instead.

    The stride is that of `usable_stride`.

    Args:
        n: samples before pooling, ≥ 0.
        stride: in samples, ≥ 1; need not be whole.
        smoothness: width of the mask's ramp in DFT bins, ≥ 0, whose two sides are kept, hence 2 smoothness;
            or a `Window`.

    Raises:
        ValueError: for a stride that is not a number.
    """
    if math.isnan(stride):
        raise ValueError("the stride is not a number: training has diverged, lower the learning rate")
    if n < 2:
        return n
    return as_window(smoothness).length(n, usable_stride(n, stride, smoothness))


def cutoff_mask(frequency: Tensor, cutoff: Tensor, smoothness: float | Tensor) -> Tensor:
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
    begin, end = cutoff.detach(), (cutoff + smoothness).detach()
    on_ramp = (f >= begin - 4 * torch.finfo(height.dtype).eps * end) & (f < end)
    slope = torch.where(on_ramp, height, 0.0)
    return height.detach().clamp(0, 1) + (slope - slope.detach())


def resampling_matrix(
    n: int,
    stride: float | Tensor,
    smoothness: float | Window,
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
        smoothness: width of the mask's ramp in DFT bins, ≥ 0, or a `Window`.
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
        return (fourier_table(length, bins, dtype) * weight.repeat(2)) @ fourier_table(n, bins, dtype).mT / n


def _bin_weights(
    n: int, m: int, bins: Tensor, stride: float | Tensor, smoothness: float | Window, dtype: torch.dtype
) -> Tensor:
    """Mask times multiplicity."""
    multiplicity = _multiplicity(n, m, bins, dtype)
    window = as_window(smoothness)
    if window.smoothness == 0:
        return multiplicity
    stride = torch.as_tensor(stride, dtype=dtype, device=bins.device)
    # Straight through the lower limit: below it the gradient still reaches the parameter.
    lowest = usable_stride(n, 1.0, window)
    used = stride + (stride.detach().clamp(min=lowest) - stride.detach())
    stop, width = window.edges(n, used, m)
    return multiplicity * cutoff_mask(bins.to(dtype), stop - width, width)


def _multiplicity(n: int, m: int, bins: Tensor, dtype: torch.dtype) -> Tensor:
    """Every bin stands for ±f, save DC and an uncropped Nyquist bin."""
    once = bins == 0
    if m == n and n % 2 == 0:
        once = once | (bins == n // 2)
    return torch.where(once, 1.0, 2.0).to(dtype)


def fourier_table(points: int, bins: Tensor, dtype: torch.dtype) -> Tensor:
    """(points, 2 · bins): cosines, then sines. The phase is reduced in whole numbers, hence exactly."""
    turns = torch.outer(torch.arange(points, device=bins.device), bins) % points
    phase = turns.to(dtype) * (2 * math.pi / points)
    return torch.cat([phase.cos(), phase.sin()], dim=1)


def as_autocast(x: Tensor) -> Tensor:
    """In the type that autocast, where it is on, has for a matrix product."""
    if torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        return x.to(torch.get_autocast_dtype(x.device.type))
    return x


def resample(x: Tensor, matrix: Tensor, dim: int) -> Tensor:
    """Apply an (M, n) matrix along one axis: (…, n, …) to (…, M, …), in the memory format of x."""
    if dim in (-2, -1) and is_channels_last(x):
        batch, channels, height, width = x.shape
        y = x.permute(0, 2, 3, 1)
        if dim == -2:  # rows of width · channels: one large product per example
            y = (matrix @ y.reshape(batch, height, width * channels)).view(batch, -1, width, channels)
        else:
            y = matrix @ y
        return y.permute(0, 3, 1, 2)
    if dim in (-1, x.ndim - 1):
        return x @ matrix.mT
    if dim in (-2, x.ndim - 2):
        return matrix.contiguous() @ x  # many small products, which go twice as fast with it
    return (x.movedim(dim, -1) @ matrix.mT).movedim(-1, dim)


def fixed_matrix(
    n: int,
    stride: float,
    window: Window,
    length: int,
    dtype: torch.dtype,
    device: torch.device,
    taps: int | None = None,
) -> Tensor:
    """`resampling_matrix` of a stride that does not change, built once and kept; with taps, `tapped`."""
    build = _fixed_matrix if torch.compiler.is_compiling() else _kept_matrix  # a graph keeps nothing
    return build(n, stride, window, length, dtype, device, taps)


def _fixed_matrix(
    n: int,
    stride: float,
    window: Window,
    length: int,
    dtype: torch.dtype,
    device: torch.device,
    taps: int | None,
) -> Tensor:
    exact = torch.promote_types(dtype, torch.float32)
    matrix = resampling_matrix(n, stride, window, length=length, dtype=exact, device=device).to(dtype)
    return matrix if taps is None else tapped(matrix, taps)


_kept_matrix = lru_cache(maxsize=512)(torch.inference_mode(False)(_fixed_matrix))


def tapped(matrix: Tensor, taps: int) -> Tensor:
    """(rows, n) to (rows · taps, n): row after row, what it takes of the samples that each tap sees."""
    n, edge = matrix.shape[1], taps // 2
    wide = pad(matrix, (edge, edge))
    shifted = [wide[:, 2 * edge - tap : 2 * edge - tap + n] for tap in range(taps)]
    return torch.stack(shifted, 1).flatten(0, 1)


def is_channels_last(x: Tensor) -> bool:
    """Whether a batch of maps has its channels beside one another in memory, and not its samples."""
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


class _LearnedResample(torch.autograd.Function):
    """The product with `resampling_matrix` along one axis, without keeping its input for the backward pass.

    The mask depends on the stride at the bins of its ramp alone. With X(f) the input's coefficients there and
    G(f) those of the output's gradient, both by cosine and sine,

        dL/dS = Σ_ramp dmask/dS(f) · multiplicity(f) / n · X(f) · G(f),

    so a handful of coefficients per line is kept instead of n samples; dL/dx is the transposed product.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, stride: Tensor, window: Window, dim: int, length: int, bins: int
    ) -> Tensor:
        n = x.shape[dim]
        exact = torch.promote_types(x.dtype, torch.float32)
        matrix = resampling_matrix(n, stride, window, length=length, dtype=exact, device=x.device)
        matrix = matrix.to(x.dtype)
        on_ramp, slopes = ramp(n, length, stride.to(exact), window, bins)
        coefficients = resample(x, fourier_table(n, on_ramp, exact).mT.to(x.dtype), dim)
        ctx.save_for_backward(matrix, coefficients, on_ramp, slopes)
        ctx.dim = dim
        return resample(x, matrix, dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        matrix, coefficients, on_ramp, slopes = ctx.saved_tensors
        of_x = resample(gradient, matrix.mT, ctx.dim) if ctx.needs_input_grad[0] else None
        of_stride = None
        if ctx.needs_input_grad[1]:
            of_stride = stride_gradient(coefficients, gradient, on_ramp, slopes, ctx.dim)
        return of_x, of_stride, None, None, None, None


class _LearnedRemoval(torch.autograd.Function):
    """`_LearnedResample` for an output as long as the input, where the window reaches few bins.

    What it removes is then less than what it keeps: y = x − Σ_f (1 − mask(f)) · multiplicity(f) / n · X(f),
    over the highest bins; the stride's gradient takes the same coefficients.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: Tensor, window: Window, dim: int, count: int) -> Tensor:
        n = x.shape[dim]
        exact = torch.promote_types(x.dtype, torch.float32)
        bins = torch.arange(n // 2 + 1 - count, n // 2 + 1, device=x.device)
        table = fourier_table(n, bins, exact)
        removed = _multiplicity(n, n, bins, exact) - _bin_weights(n, n, bins, stride, window, exact)
        back = (table * removed.repeat(2) / n).to(x.dtype)
        coefficients = resample(x, table.mT.to(x.dtype), dim)
        slopes = _slopes(n, n, stride.to(exact), window, bins)
        ctx.save_for_backward(table.to(x.dtype), back, coefficients, slopes)
        ctx.dim = dim
        return x - resample(coefficients, back, dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        table, back, coefficients, slopes = ctx.saved_tensors
        of_coefficients = resample(gradient, table.mT, ctx.dim)
        of_x = gradient - resample(of_coefficients, back, ctx.dim) if ctx.needs_input_grad[0] else None
        products = coefficients.to(slopes.dtype) * of_coefficients
        return of_x, _summed(products, ctx.dim) @ slopes.repeat(2), None, None, None


def stride_gradient(
    coefficients: Tensor, gradient: Tensor, on_ramp: Tensor, slopes: Tensor, dim: int
) -> Tensor:
    """The sum over the ramp that `_LearnedResample` explains.

    Args:
        coefficients: (…, 2 · bins, …), X(f) of what is resampled, cosines and then sines.
        gradient: (…, M, …), of the output.
        on_ramp, slopes: (bins,) each, see `ramp`.
        dim: the axis that is resampled.
    """
    table = fourier_table(gradient.shape[dim], on_ramp, slopes.dtype).mT.to(gradient.dtype)
    return _summed(coefficients.to(slopes.dtype) * resample(gradient, table, dim), dim) @ slopes.repeat(2)


def _summed(x: Tensor, dim: int) -> Tensor:
    """Over all axes but one."""
    rest = [d for d in range(x.ndim) if d != dim % x.ndim]
    return x.sum(rest) if rest else x


def reached_size(n: int, stride: float, window: Window) -> int:
    """How many bins of an axis that keeps its length the window changes: those from its ramp on."""
    stop, width = window.edges(n, usable_stride(n, stride, window), n)
    return n // 2 + 1 - max(0, math.ceil(stop - width - 1e-5 * stop))


def ramp_size(n: int, m: int, stride: float | None, window: Window) -> int:
    """How many bins the ramp of the mask has at the most, of those that an output of m samples keeps.

    Without the stride, what the window alone allows.
    """
    if stride is None:
        widest = window.edges(n, usable_stride(n, 1.0, window), m)[1]
        return min(math.ceil(widest), m // 2) + 1
    stop, width = window.edges(n, usable_stride(n, stride, window), m)
    slack = 1e-5 * stop  # for a stride that float32 has rounded
    last = min(m // 2, math.ceil(stop + slack) - 1)
    return max(1, last - math.ceil(stop - width - slack) + 1)


def ramp(n: int, m: int, stride: Tensor, window: Window, count: int) -> tuple[Tensor, Tensor]:
    """The bins on the ramp of the mask, and by how much the output's part at each changes with the stride.

    Of `count` bins from the first on, see `ramp_size`, those beyond the ramp have a slope of zero.
    """
    begin, _ = _ramp_ends(n, m, stride, window)
    bins = (begin.ceil().clamp(min=0) + torch.arange(count, device=stride.device)).long()
    return bins, _slopes(n, m, stride, window, bins)


def _slopes(n: int, m: int, stride: Tensor, window: Window, bins: Tensor) -> Tensor:
    """By how much the output's part at each bin changes with the stride: 0 for those beyond the ramp."""
    used = stride.clamp(min=usable_stride(n, 1.0, window))
    (stop, width), (of_stop, of_width) = window.edges(n, used, m), window.rates(n, used)
    begin, end = _ramp_ends(n, m, stride, window)
    on_ramp = (bins >= begin) & (bins < end) & (bins <= m // 2)
    slopes = (of_stop * width - (stop - bins) * of_width) / width**2
    return torch.where(on_ramp, slopes * _multiplicity(n, m, bins, used.dtype) / n, 0.0)


def _ramp_ends(n: int, m: int, stride: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Where the ramp begins, its corner included, and ends."""
    stop, width = window.edges(n, stride.clamp(min=usable_stride(n, 1.0, window)), m)
    return stop - width - 4 * torch.finfo(stop.dtype).eps * stop, stop


def spectral_pool(
    x: Tensor,
    strides: Sequence[float] | Tensor,
    smoothness: float | Window = 0.0,
    dims: Sequence[int] | None = None,
    lengths: Sequence[int] | None = None,
    values: Sequence[float] | None = None,
) -> Tensor:
    """Low-pass and resample the given axes of x, one stride each. Not for raw waveforms: the matrix of an
    axis of n samples takes n² / stride numbers.

    Args:
        x: real tensor of any shape and floating type. The matrices are built in at least float32 and
            rounded to the type of x.
        strides: one per axis, each ≥ 1. A tensor of shape (axes,) receives a gradient.
        smoothness: width of the mask's ramp in DFT bins, or a `Window`; 0 is spectral pooling.
        dims: the axes, by default the last ``len(strides)``.
        lengths: output lengths where they are known, see `resampling_matrix`.
        values: the strides as plain numbers where they are known, which spares memory for the backward pass.

    Raises:
        ValueError: for an x that is not floating point.
    """
    if not x.is_floating_point():
        raise ValueError(f"only real floating-point tensors can be pooled, but got {x.dtype}")
    x = as_autocast(x)
    window = as_window(smoothness)
    dims = range(-len(strides), 0) if dims is None else dims
    if lengths is None:
        values = strides.tolist() if isinstance(strides, Tensor) else strides
        assert values is not None
        lengths = [output_length(x.shape[d], s, window) for d, s in zip(dims, values, strict=True)]
    exact = torch.promote_types(x.dtype, torch.float32)
    # The axis that shrinks most goes first, so that the others have less to do.
    known: Sequence[float | None] = values if values is not None else [None] * len(lengths)
    axes = list(zip(dims, strides, lengths, known, strict=True))
    if not torch.compiler.is_compiling():  # a compiled graph cannot sort by lengths that change
        axes.sort(key=lambda axis: axis[2] / max(1, x.shape[axis[0]]))
    for dim, stride, m, value in axes:
        n = x.shape[dim]
        if window.smoothness == 0 and m == n:
            continue
        if isinstance(stride, Tensor) and stride.requires_grad and torch.is_grad_enabled():
            reached = reached_size(n, value, window) if value is not None and m == n else n
            if 4 * reached < n:
                x = _LearnedRemoval.apply(x, stride, window, dim, reached)
                continue
            x = _LearnedResample.apply(x, stride, window, dim, m, ramp_size(n, m, value, window))
            continue
        if isinstance(stride, Tensor):
            matrix = resampling_matrix(n, stride, window, length=m, dtype=exact, device=x.device)
            x = resample(x, matrix.to(x.dtype), dim)
        else:
            x = resample(x, fixed_matrix(n, stride, window, m, x.dtype, x.device), dim)
    return x
