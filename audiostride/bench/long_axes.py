"""DiffStride on axes of any length, multiplied by a matrix and through the FFT: time, memory and accuracy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiostride.analysis.figures import save_figures
from audiostride.bench.figure import long_axes_figure
from audiostride.bench.layers import saved_bytes
from audiostride.bench.settings import LongAxesBench
from audiostride.layers import DiffStride1d
from audiostride.layers.kernels.fourier import resample_by_fourier
from audiostride.layers.kernels.learned import resample
from audiostride.layers.kernels.pooling import AxisPlan, takes_fourier
from audiostride.layers.kernels.ramp import ramp_size
from audiostride.timing import in_turns

# From an input and the plan of its axis to the output.
Form = Callable[[Tensor, AxisPlan], Tensor]
_PARTS = ("output", "input_gradient", "stride_gradient")


def by_matrix(x: Tensor, axis: AxisPlan) -> Tensor:
    """Resample the last axis by its matrix."""
    assert isinstance(axis.stride, Tensor)
    bins = ramp_size(x.shape[-1], axis.length, axis.known_stride, axis.window)
    return resample(x, axis.stride, axis.window, -1, axis.length, bins)


def by_fft(x: Tensor, axis: AxisPlan) -> Tensor:
    """Resample the last axis through the FFT."""
    return resample_by_fourier(x, axis.stride, axis.known_stride, axis.window, -1, axis.length)


FORMS: dict[str, Form] = {"matrix": by_matrix, "fft": by_fft}


def bench_long_axes(settings: LongAxesBench) -> list[dict[str, Any]]:
    """Measure forward and backward pass of a learned stride by both forms, side by side.

    Returns:
        One row per length of the axis: "samples" before and after resampling, the form that the layers take,
        milliseconds and kept MB of both forms, and their ratios. Then the largest difference from the matrix
        in float64, relative to its largest value, of output, input gradient and stride gradient: through the
        FFT in float64 and float32, and by the matrix in float32. Where the matrix would be too large, FFT in
        float32 is compared with FFT in float64.
    """
    rows = [_compare(settings, n) for n in settings.lengths]
    if settings.plot is not None:
        save_figures([long_axes_figure(rows, settings)], Path(settings.plot))
    return rows


def _compare(settings: LongAxesBench, n: int) -> dict[str, Any]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    layer = DiffStride1d(settings.stride, smoothness=settings.smoothness).to(device)
    x = torch.randn(settings.lines, n, device=device, requires_grad=True)
    (axis,) = layer.plan(x.shape)
    has_matrix = n * axis.length * 8 <= settings.largest_matrix_mb * 1e6
    forms = FORMS if has_matrix else {"fft": by_fft}
    times = in_turns(
        {name: _pass(form, x, axis) for name, form in forms.items()}, settings.rounds, max(1, 2000 // n)
    )
    kept = {name: _kept_mb(form, x, axis) for name, form in forms.items()}
    return {
        "samples": n,
        "output_samples": axis.length,
        "taken": "fft" if takes_fourier(x, axis) else "matrix",
        **{f"{name}_ms": times.get(name) for name in FORMS},
        "matrix_to_fft": times["matrix"] / times["fft"] if has_matrix else None,
        **{f"{name}_kept_mb": kept.get(name) for name in FORMS},
        **_differences(x.detach(), axis, has_matrix),
    }


def _pass(form: Form, x: Tensor, axis: AxisPlan) -> Callable[[], Any]:
    assert isinstance(axis.stride, Tensor)
    inputs, gradient = (x, axis.stride), torch.randn(x.shape[0], axis.length, device=x.device)
    return lambda: torch.autograd.grad(form(x, axis), inputs, gradient)


def _kept_mb(form: Form, x: Tensor, axis: AxisPlan) -> float:
    """Return the MB that the forward pass keeps for the backward pass."""
    with saved_bytes(set()) as saved:
        y = form(x, axis)
        kept = sum(saved.values())
        del y  # needed until here: storages that are freed give their addresses to others
    return kept / 1e6


def _differences(x: Tensor, axis: AxisPlan, has_matrix: bool) -> dict[str, float | None]:
    """Return the differences that `bench_long_axes` describes, by name of form, type and part."""
    exact = _parts(by_matrix if has_matrix else by_fft, x.double(), axis)
    differences: dict[str, float | None] = {}
    for name, form, dtype in (
        ("fft_float64", by_fft, torch.float64),
        ("fft_float32", by_fft, torch.float32),
        ("matrix_float32", by_matrix, torch.float32),
    ):
        measured = has_matrix or name == "fft_float32"
        found = _parts(form, x.to(dtype), axis) if measured else exact
        for part, ours, theirs in zip(_PARTS, found, exact, strict=True):
            differences[f"{name}_{part}"] = _largest_difference(ours, theirs) if measured else None
    return differences


def _parts(form: Form, x: Tensor, axis: AxisPlan) -> list[Tensor]:
    """Return the output, and the gradients of input and stride for half the output's energy as the loss."""
    assert isinstance(axis.stride, Tensor)
    x, stride = (tensor.detach().to(x.dtype).requires_grad_() for tensor in (x, axis.stride))
    y = form(x, axis._replace(stride=stride))
    return [y.detach(), *torch.autograd.grad(y.square().sum() / 2, (x, stride))]


def _largest_difference(ours: Tensor, exact: Tensor) -> float:
    return ((ours - exact).abs().max() / exact.abs().max()).item()
