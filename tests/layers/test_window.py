"""Windows other than the paper's: the definition as plain loops, gradients, sizes, what holds for all."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiostride.analysis.cutoffs import cutoffs
from audiostride.config.settings import ModelSettings
from audiostride.layers import ConvDownsample
from audiostride.layers.diffstride import DiffStride1d, DiffStride2d
from audiostride.layers.functional import output_length, resampling_matrix
from audiostride.layers.kernels.pooling import AxisPlan, pool_axes
from audiostride.layers.kernels.ramp import ramp_size
from audiostride.layers.window import Ramp, Window
from audiostride.models.networks.separable import SeparableCNN

WINDOWS = [
    Window(4.0, "inside"),
    Window(1.0, "inside"),
    Window(0.25, "relative"),
    Window(0.5, "relative"),
    Window(2.0, "outside", 8),
    Window(1.5, "inside", 4),
]


def by_definition(n: int, stride: float, window: Window) -> NDArray[np.float64]:
    """The (M, n) operator as a sum over signed bins, with the mask written out for each kind of ramp."""
    used = stride if window.ramp == "inside" else max(stride, n / (n - 1))
    r = window.smoothness
    length = {
        "outside": math.floor(n / used + 2 * r),
        "inside": math.floor(n / used),
        "relative": math.floor(n / used * (1 + 2 * r)),
    }[window.ramp]
    length = min(n, math.ceil(max(2, length) / window.multiple) * window.multiple)

    def mask(f: int) -> float:
        if window.ramp == "inside":
            width = min(r, length / 4)
            return min(1, max(0, (n / (2 * used) + 0.5 - abs(f)) / width))
        width = r * n / used if window.ramp == "relative" else r
        return min(1, max(0, (width + n / (2 * used) - abs(f)) / width))

    bins = [f for f in range(-(length // 2), length // 2 + 1) if not (length == n and 2 * f == -n)]
    matrix = np.zeros((length, n))
    for j in range(length):
        for i in range(n):
            matrix[j, i] = sum(mask(f) * math.cos(2 * math.pi * f * (j / length - i / n)) for f in bins) / n
    return matrix


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("stride", [1.0, 1.3, 2.0, 3.7])
@pytest.mark.parametrize("n", [7, 16, 33])
def test_matrix_equals_the_definition(n: int, stride: float, window: Window) -> None:
    expected = by_definition(n, stride, window)
    assert output_length(n, stride, window) == len(expected)
    np.testing.assert_allclose(resampling_matrix(n, stride, window).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("stride", [1.337, 2.113, 3.71])
def test_stride_gradient_agrees_with_differences(stride: float, window: Window) -> None:
    x = torch.randn(5, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.randn(5, output_length(40, stride, window), dtype=torch.float64)

    def loss(s: Tensor) -> Tensor:
        axis = AxisPlan(-1, s[0], None, window, target.shape[1])
        return (pool_axes(x, [axis]) - target).square().sum()

    s = torch.tensor([stride], dtype=torch.float64, requires_grad=True)
    (ours,) = torch.autograd.grad(loss(s), s)
    with torch.no_grad():
        differences = (loss(s + 1e-6) - loss(s - 1e-6)) / 2e-6
    torch.testing.assert_close(ours[0], differences, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", WINDOWS)
def test_constants_and_low_tones_are_preserved(window: Window) -> None:
    n = 64
    matrix = resampling_matrix(n, 2.0, window)
    length = len(matrix)
    for bin in (0, 3):
        tone = torch.cos(2 * math.pi * bin * torch.arange(n, dtype=torch.float64) / n)
        expected = torch.cos(2 * math.pi * bin * torch.arange(length, dtype=torch.float64) / length)
        torch.testing.assert_close(matrix @ tone, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_stride_at_its_lower_limit_has_a_gradient(window: Window) -> None:
    layer = DiffStride1d(1.0, window=window)
    x = torch.randn(8, 33, generator=torch.Generator().manual_seed(0))
    layer(x).square().sum().backward()
    assert layer.stride.grad is not None
    assert layer.stride.grad.abs() > 1e-4


def test_a_ramp_inside_gives_the_sizes_of_strided_convolution() -> None:
    inside, strided = (
        SeparableCNN(downsampling=kind, window=Window(4.0, "inside")).sizes(96, 64)
        for kind in ("diffstride", "strided")
    )
    assert inside == strided


def test_a_relative_ramp_shortens_small_maps_as_much_as_large_ones() -> None:
    window = Window(0.25, "relative")
    assert [output_length(n, 2.0, window) / n for n in (16, 32, 64, 128)] == [0.75] * 4
    assert output_length(16, 2.0, 4.0) == 16


def test_lengths_are_multiples_or_the_whole_axis() -> None:
    window = Window(1.0, multiple=8)
    lengths = {output_length(100, s, window) for s in np.linspace(1, 20, 500)}
    assert all(length % 8 == 0 or length == 100 for length in lengths)
    assert len(lengths) < 15


@pytest.mark.parametrize("window", [Window(1.0), *WINDOWS])
def test_a_fused_layer_gives_the_same_as_one_that_is_not(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = ConvDownsample(1, 8, 2.3, dim=-2, window=window).double()
    x = torch.randn(2, 1, 60, 5, dtype=torch.float64)
    assert layer.is_fused(60)
    fused = layer(x)
    gradients = torch.autograd.grad(fused.square().sum(), list(layer.parameters()))
    monkeypatch.setattr("audiostride.layers.conv_downsample.fusing_pays", lambda *sizes: False)
    apart = layer(x)
    torch.testing.assert_close(fused, apart, atol=1e-11, rtol=0)
    expected = torch.autograd.grad(apart.square().sum(), list(layer.parameters()))
    torch.testing.assert_close(gradients, expected, atol=1e-9, rtol=1e-9)


def test_edges_are_those_of_the_window() -> None:
    inside = cutoffs(100, 2.0, Window(4.0, "inside"), 100.0)
    assert (inside.pass_band, inside.half_amplitude, inside.stop_band) == (21.5, 23.5, 25.5)
    relative = cutoffs(100, 2.0, Window(0.2, "relative"), 100.0)
    assert (relative.pass_band, relative.half_amplitude, relative.stop_band) == (25.0, 30.0, 35.0)


def test_bad_windows_report_a_clear_error() -> None:
    with pytest.raises(ValueError, match="ramp must be one of outside, inside, relative, but got 'beside'"):
        DiffStride2d(ramp="beside")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="multiple must be a whole number, at least 1, but got 0"):
        DiffStride2d(multiple=0)
    with pytest.raises(ValueError, match=r"model\.smoothness is a fraction of the output length if"):
        ModelSettings(ramp="relative")


@pytest.mark.parametrize("ramp", ["outside", "inside", "relative"])
@pytest.mark.parametrize("stride", [0.5, 0.0, -3.0])
@pytest.mark.parametrize("n", [8, 33])
def test_a_stride_that_an_optimiser_moved_below_1_counts_as_1_and_can_grow(
    n: int, stride: float, ramp: Ramp
) -> None:
    """Without a projection after the step."""
    layer = DiffStride1d(1.0, smoothness=2.0 if ramp != "relative" else 0.25, ramp=ramp)
    x = torch.randn(8, n, generator=torch.Generator().manual_seed(0))
    expected = layer(x)
    layer.stride.data.fill_(stride)
    y = layer(x)
    torch.testing.assert_close(y, expected)
    y.square().sum().backward()
    assert layer.stride.grad is not None
    assert layer.stride.grad < 0
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected)
    assert layer.window.output_length(n, stride) == n


def test_a_stride_below_1_without_a_ramp_counts_as_1() -> None:
    assert Window(0.0).output_length(10, -2.0) == 10


@pytest.mark.parametrize("window", [Window(1e9), Window(1e9, "inside"), Window(1e9, "relative")])
def test_work_of_an_absurd_ramp_is_bounded_by_the_axis(window: Window) -> None:
    """Bins above N/2 do not exist."""
    for n in (2, 3, 40, 101):
        for stride in (None, 1.0, 2.3, float(n), 1e30):
            length = n if stride is None else window.output_length(n, stride)
            assert 1 <= ramp_size(n, length, stride, window) <= n // 2 + 1
        layer = DiffStride1d(2.3, window=window)
        y = layer(torch.ones(1, n))
        y.sum().backward()
        torch.testing.assert_close(y, torch.ones_like(y))
        assert layer.stride.grad is not None
        assert layer.stride.grad.isfinite()


def test_a_ramp_wider_than_numbers_can_hold_reports_a_clear_error() -> None:
    with pytest.raises(ValueError, match="at least 0 and at most 1e9, but got 1e\\+300"):
        Window(1e300)


@pytest.mark.parametrize("ramp", ["outside", "inside", "relative"])
@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("stride", [1.0, 2.3, 6.0, 15.0, 30.0, 1000.0])
def test_no_window_attenuates_constants(stride: float, multiple: int, ramp: Ramp) -> None:
    """A length rounded up to a multiple would ask for a ramp that is wider than the pass band."""
    window = Window(4.0, ramp, multiple)
    for n in (3, 15, 21, 40):
        s = torch.tensor(stride, dtype=torch.float64, requires_grad=True)
        y = resampling_matrix(n, s, window).sum(1)
        torch.testing.assert_close(y, torch.ones_like(y), atol=1e-12, rtol=0)
        number = resampling_matrix(n, stride, window)
        torch.testing.assert_close(number, resampling_matrix(n, s, window).detach(), atol=1e-12, rtol=0)
