"""Resampling by a stride that is learned, as autograd functions that do not keep their input."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from audiostride.layers.functional import bin_multiplicity, bin_weights, fourier_table, resampling_matrix
from audiostride.layers.kernels.products import apply_along, exact_dtype, sum_other_axes
from audiostride.layers.kernels.ramp import ramp_bins, ramp_slopes, stride_gradient
from audiostride.layers.window import Window


class LearnedResample(torch.autograd.Function):
    """Multiply one axis by its `resampling_matrix`.

    The gradient of the input is the transposed product, that of the stride the sum over the ramp that
    `audiostride.layers.kernels.ramp` explains.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, stride: Tensor, window: Window, dim: int, length: int, bin_count: int
    ) -> Tensor:
        n, exact = x.shape[dim], exact_dtype(x)
        matrix = resampling_matrix(n, stride, window, length=length, dtype=exact, device=x.device).to(x.dtype)
        bins, slopes = ramp_bins(n, length, stride.to(exact), window, bin_count)
        coefficients = apply_along(x, fourier_table(n, bins, exact).mT.to(x.dtype), dim)
        ctx.save_for_backward(matrix, coefficients, bins, slopes)
        ctx.dim = dim
        return apply_along(x, matrix, dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        matrix, coefficients, bins, slopes = ctx.saved_tensors
        needs_x, needs_stride = ctx.needs_input_grad[:2]
        grad_x = apply_along(grad_output, matrix.mT, ctx.dim) if needs_x else None
        grad_stride = (
            stride_gradient(coefficients, grad_output, bins, slopes, ctx.dim) if needs_stride else None
        )
        return grad_x, grad_stride, None, None, None, None


class LearnedRemoval(torch.autograd.Function):
    """`LearnedResample` for an axis that keeps its length, if the window changes few bins.

    It subtracts what the window removes, which takes fewer multiplications than the whole matrix:
    y = x − Σ_f (1 − mask(f)) · multiplicity(f) / n · X(f), summed over the highest bins. The gradient of the
    stride uses the same coefficients X(f).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: Tensor, window: Window, dim: int, bin_count: int) -> Tensor:
        n, exact = x.shape[dim], exact_dtype(x)
        bins = torch.arange(n // 2 + 1 - bin_count, n // 2 + 1, device=x.device)
        table = fourier_table(n, bins, exact)
        removed = bin_multiplicity(n, n, bins, exact) - bin_weights(n, n, bins, stride, window, exact)
        synthesis = (table * removed.repeat(2) / n).to(x.dtype)
        coefficients = apply_along(x, table.mT.to(x.dtype), dim)
        slopes = ramp_slopes(n, n, stride.to(exact), window, bins)
        ctx.save_for_backward(table.to(x.dtype), synthesis, coefficients, slopes)
        ctx.dim = dim
        return x - apply_along(coefficients, synthesis, dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        table, synthesis, coefficients, slopes = ctx.saved_tensors
        grad_coefficients = apply_along(grad_output, table.mT, ctx.dim)
        needs_x = ctx.needs_input_grad[0]
        grad_x = grad_output - apply_along(grad_coefficients, synthesis, ctx.dim) if needs_x else None
        products = coefficients.to(slopes.dtype) * grad_coefficients
        return grad_x, sum_other_axes(products, ctx.dim) @ slopes.repeat(2), None, None, None
