"""A convolution and its resampling as one operator give the same numbers as one after the other."""

import pytest
import torch
from helpers.feature_maps import CASES, maps, number
from torch.nn.functional import conv2d

from audiostride import SeparableCNN, SpectralPool1d, cost
from audiostride.layers import ConvDownsample, Window
from audiostride.layers.functional import output_length, resampling_matrix
from audiostride.layers.kernels.fused_convolution import convolve_and_resample, fusing_pays
from audiostride.layers.kernels.pooling import AxisPlan
from audiostride.layers.kernels.products import apply_along


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("taps", [1, 3, 5])
@pytest.mark.parametrize("dim", [-2, -1])
@pytest.mark.parametrize(("n", "stride", "smoothness"), CASES[::5])
def test_fused_and_separate_forms_agree_in_output_and_all_gradients(
    n: int, stride: float, smoothness: float, dim: int, taps: int, channels_last: bool
) -> None:
    shape = [2, 3, 6, 7]
    shape[dim] = n
    along = (lambda value, other: (value, other)) if dim == -2 else (lambda value, other: (other, value))
    x, s, bias = maps((*shape,), channels_last), number(stride), maps((4,), seed=1)
    weight = maps((4, 3, *along(taps, 1)), seed=2)
    length = output_length(n, stride, smoothness)
    full = conv2d(x, weight, bias, padding=along(taps // 2, 0))
    expected = apply_along(full, resampling_matrix(n, s, smoothness, length=length), dim)
    g = torch.randn_like(expected)
    apart = torch.autograd.grad((expected * g).sum(), (x, weight, bias, s))
    ours = convolve_and_resample(x, weight, bias, AxisPlan(dim, s, None, Window(smoothness), length))
    fused = torch.autograd.grad((ours * g).sum(), (x, weight, bias, s))
    torch.testing.assert_close(ours, expected, atol=1e-11, rtol=0)
    torch.testing.assert_close(fused, apart, atol=1e-9, rtol=1e-9)


def test_fusing_pays_for_few_channels_and_short_outputs() -> None:
    assert fusing_pays(100, 58, 3, 1, 64)
    assert ConvDownsample(1, 16, 2.3, dim=-2, window=Window(1.0)).is_fused(60)
    assert not ConvDownsample(1, 16, 2, dim=-2, kind="strided").is_fused(60)
    assert fusing_pays(28, 16, 3, 256, 256)
    assert not fusing_pays(28, 28, 3, 256, 256)
    assert not fusing_pays(64, 40, 3, 64, 64)


@pytest.mark.parametrize("channels", [(2, 16), (16, 2)])
@pytest.mark.parametrize("stride", [1.0, 1.02, 1.9, 2.0, 7.3])
@pytest.mark.parametrize("dim", [-2, -1])
def test_spectral_pooling_joined_with_its_convolution_equals_both_apart(
    dim: int, stride: float, channels: tuple[int, int]
) -> None:
    layer = ConvDownsample(*channels, stride, dim=dim, kind="spectral").double()
    assert layer.is_fused(24) == (channels == (2, 16) and stride > 1)
    x = maps((2, channels[0], 24, 24), channels_last=True)
    inputs = (x, *layer.parameters())
    apart = SpectralPool1d(stride, dim=dim)(layer.conv(x))
    ours = layer(x)
    torch.testing.assert_close(ours, apart, atol=1e-12, rtol=0)
    g = torch.randn_like(apart)
    gradients = [torch.autograd.grad(y, inputs, g) for y in (ours, apart)]
    torch.testing.assert_close(*gradients, atol=1e-11, rtol=1e-11)


def test_spectral_pooling_of_an_axis_that_keeps_its_length_costs_the_convolution_alone() -> None:
    layer = ConvDownsample(1, 64, 1.1, dim=-2, kind="spectral")
    assert layer.output_length(2) == 2
    assert not layer.is_fused(2)
    assert cost(layer, (1, 2, 5)).item() == 2 * 5 * 3 * 64


def test_half_the_papers_network_costs_a_fifth_less_with_joined_spectral_pooling() -> None:
    network = SeparableCNN((32, 64, 128, 128, 256, 256), downsampling="spectral")
    assert network.cost(100, 64).item() / 1e6 == pytest.approx(129, abs=0.5)
