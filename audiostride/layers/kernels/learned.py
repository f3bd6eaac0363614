"""Resampling by a stride that is learned, without keeping the input for the backward pass."""

from typing import Any

import torch
from torch import Tensor

from audiostride.layers.functional import autocast_device, bin_multiplicity, bin_weights
from audiostride.layers.kernels.operators import per_tap_matrix
from audiostride.layers.kernels.products import apply_along, exact_dtype, is_channels_last
from audiostride.layers.kernels.ramp import analyse, analysis_scale, known_weights, ramp_bins, stride_gradient
from audiostride.layers.kernels.tables import Bins, bin_numbers, bin_table
from audiostride.layers.window import Window


def resample(
    x: Tensor,
    stride: Tensor,
    window: Window,
    dim: int,
    length: int,
    bin_count: int,
    taps: int | None = None,
    keeps_input: bool = False,
    known_stride: float | None = None,
) -> Tensor:
    """Multiply one axis by its `resampling_matrix`, or by its `per_tap_matrix` if there are taps.

    Args:
        x: feature map of any shape.
        stride: stride, a scalar tensor that gets a gradient.
        window: window of the axis, with a smoothness above 0.
        dim: the axis, negative.
        length: number of output samples.
        bin_count: `ramp_size` of the axis.
        taps: number of taps of a convolution, or None.
        keeps_input: keep x for the backward pass instead of its coefficients on the ramp.
        known_stride: stride as a number, or None if the host does not know it.
    """
    n, exact = x.shape[dim], stride.detach().to(exact_dtype(x))
    bins = ramp_bins(n, length, exact, known_stride, window, bin_count)
    # Computed outside the function below, so that a second derivative can follow them to x.
    kept = x if keeps_input else analyse(x, bins, dim, taps)
    return _Resample.apply(x, kept, stride, bins, window, dim, length, taps, keeps_input, known_stride)


class _Resample(torch.autograd.Function):
    """The product with the matrix of a learned stride.

    The gradient of the input is the transposed product, that of the stride the sum over the ramp that
    `audiostride.layers.kernels.ramp` explains. Both are differentiable in turn.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        kept: Tensor,
        stride: Tensor,
        bins: Bins,
        window: Window,
        dim: int,
        length: int,
        taps: int | None,
        keeps_input: bool,
        known_stride: float | None,
    ) -> Tensor:
        matrix = learned_matrix(x, x.shape[dim], stride, window, length, taps, known_stride)
        ctx.save_for_backward(matrix, kept, stride)
        ctx.bins, ctx.known_stride = bins, known_stride
        ctx.keeps_input = keeps_input
        ctx.n, ctx.window, ctx.dim, ctx.length, ctx.taps = x.shape[dim], window, dim, length, taps
        return apply_along(x, matrix, dim)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (matrix, kept, stride), bins = ctx.saved_tensors, ctx.bins
        needs_x, _, needs_stride = ctx.needs_input_grad[:3]
        grad_x = grad_stride = None
        if needs_x:
            if torch.is_grad_enabled():  # a second derivative needs the matrix as a function of the stride
                matrix = learned_matrix(grad_output, ctx.n, stride, ctx.window, ctx.length, ctx.taps)
            grad_x = apply_along(grad_output, matrix.mT, ctx.dim)
        if needs_stride:
            dim = ctx.dim
            coefficients = analyse(kept, bins, dim, ctx.taps) if ctx.keeps_input else kept
            if ctx.taps is not None:
                channels_last, dim = is_channels_last(coefficients), -2
                coefficients, grad_output = (
                    _one_row_per_point(part, ctx.taps, ctx.dim, channels_last)
                    for part in (coefficients, grad_output)
                )
            grad_coefficients = analyse(grad_output, bins, dim)
            grad_stride = stride_gradient(
                coefficients, grad_coefficients, ctx.n, ctx.length, stride, ctx.window, bins, dim, _known(ctx)
            )
        return grad_x, None, grad_stride, None, None, None, None, None, None, None


def _known(ctx: Any) -> float | None:
    """Return the stride as a number in a backward pass that nobody derives again."""
    return None if torch.is_grad_enabled() else ctx.known_stride


def resample_again(node: Any) -> Tensor:
    """Compute the result of `resample` again from the input that its node in the graph keeps."""
    matrix, x, *_ = node.saved_tensors
    return apply_along(x.detach(), matrix, node.dim)


def learned_matrix(
    like: Tensor,
    n: int,
    stride: Tensor,
    window: Window,
    length: int,
    taps: int | None,
    known_stride: float | None = None,
) -> Tensor:
    """Return the `resampling_matrix` of an axis, or its `per_tap_matrix`, in type and device of a tensor.

    Args:
        like: the tensor.
        n: number of samples of the axis.
        stride, window, length, taps: as in `resample`.
        known_stride: the stride as a number, if no derivative of the matrix is needed.
    """
    exact, device, bins = exact_dtype(like), like.device, range(length // 2 + 1)
    synthesis, analysis = (bin_table(points, bins, exact, device) for points in (length, n))
    # Autocast would round these products to 16 bits, and with them everything that follows.
    with torch.autocast(autocast_device(device), enabled=False):
        if known_stride is None:
            weights = bin_weights(n, length, bin_numbers(bins, device), stride, window, exact) / n
        else:
            known = known_weights(n, length, bins, known_stride, window)
            weights = torch.tensor(known, dtype=exact, device=device) / n
        matrix = synthesis.mT @ (weights.repeat(2).unsqueeze(1) * analysis)
    return per_tap_matrix(matrix.to(like.dtype), taps)


def _one_row_per_point(z: Tensor, taps: int, dim: int, channels_last: bool) -> Tensor:
    """Reshape (…, points · taps, …) to (…, points, everything else of one point)."""
    if channels_last:
        z, dim = z.permute(0, 2, 3, 1), dim - 1
    return z.unflatten(dim, (-1, taps)).flatten(dim % z.ndim + 1)


def remove_bins(x: Tensor, stride: Tensor, window: Window, dim: int, count: int) -> Tensor:
    """Return what `resample` returns for an axis that keeps its length, if the window changes few bins.

    It subtracts what the window removes, which takes fewer multiplications than the whole matrix:
    y = x − Σ_f (1 − mask(f)) · multiplicity(f) / n · X(f), summed over the `count` highest bins.
    """
    n = x.shape[dim]
    bins = range(n // 2 + 1 - count, n // 2 + 1)
    return _Remove.apply(x, analyse(x, bins, dim), stride, bins, window, dim)


class _Remove(torch.autograd.Function):
    """`remove_bins`, from the input and its coefficients. The operator is symmetric."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, coefficients: Tensor, stride: Tensor, bins: Bins, window: Window, dim: int
    ) -> Tensor:
        ctx.save_for_backward(coefficients, stride)
        ctx.bins, ctx.window, ctx.dim = bins, window, dim
        return x - _removed(x.shape[dim], coefficients, stride, bins, window, dim)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        coefficients, stride = ctx.saved_tensors
        needs_x, _, needs_stride = ctx.needs_input_grad[:3]
        bins, window, dim, n = ctx.bins, ctx.window, ctx.dim, grad_output.shape[ctx.dim]
        grad_coefficients = analyse(grad_output, bins, dim)
        grad_x = grad_stride = None
        if needs_x:
            grad_x = grad_output - _removed(n, grad_coefficients, stride, bins, window, dim)
        if needs_stride:
            grad_stride = stride_gradient(coefficients, grad_coefficients, n, n, stride, window, bins, dim)
        return grad_x, None, grad_stride, None, None, None


def _removed(n: int, coefficients: Tensor, stride: Tensor, bins: Bins, window: Window, dim: int) -> Tensor:
    """Return what the window removes from an axis of n samples with the given coefficients."""
    exact, device = exact_dtype(coefficients), coefficients.device
    numbers = bin_numbers(bins, device)
    heights = bin_multiplicity(n, n, numbers, exact) - bin_weights(n, n, numbers, stride, window, exact)
    table = bin_table(n, bins, exact, device).mT * (heights / (n * analysis_scale(n))).repeat(2)
    return apply_along(coefficients, table.to(coefficients.dtype), dim)


class _KeepInGraph(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, parameter: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        return grad_output, None


def keep_in_graph(x: Tensor, parameter: Tensor) -> Tensor:
    """Return x with a parameter in its graph that gets no gradient.

    Distributed training waits until the backward pass has reached each parameter.
    """
    return _KeepInGraph.apply(x, parameter)
