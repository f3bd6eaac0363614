"""Numbers that the host computes, and tables that are kept, give what the device computes at every step."""

import pytest
import torch
from helpers.feature_maps import RAMPS, maps
from torch import Tensor

from audiostride import ConvDownsample, DiffStride1d, Window
from audiostride.layers.functional import fourier_table
from audiostride.layers.kernels.learned import resample
from audiostride.layers.kernels.ramp import ramp_size
from audiostride.layers.kernels.tables import bin_table


@pytest.mark.parametrize("taps", [None, 3])
@pytest.mark.parametrize("stride", [1.0, 1.07, 2.0, 3.7, 40.0])
@pytest.mark.parametrize("window", RAMPS, ids=str)
@pytest.mark.parametrize("n", [2, 3, 40, 41])
def test_a_stride_that_the_host_knows_gives_the_same_values_and_gradients(
    n: int, window: Window, stride: float, taps: int | None
) -> None:
    x, s = maps((2, 3, n, 4), channels_last=False), torch.tensor(stride, dtype=torch.float64)
    s.requires_grad_()
    length = window.output_length(n, stride)
    count = ramp_size(n, length, stride, window)

    def run(known: float | None) -> list[Tensor]:
        y = resample(x, s, window, -2, length, count, taps, known_stride=known)
        g = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        return [y, *torch.autograd.grad(y, (x, s), g)]

    for ours, expected in zip(run(stride), run(None), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("points", [2, 7, 64, 321])
def test_a_kept_table_is_a_part_of_that_of_all_bins(points: int, dtype: torch.dtype) -> None:
    bins, cpu = range(points // 4, points // 2 + 1), torch.device("cpu")
    expected = fourier_table(points, torch.arange(bins.start, bins.stop), dtype).mT
    for _ in range(2):
        torch.testing.assert_close(bin_table(points, bins, dtype, cpu), expected, atol=0, rtol=0)


def test_a_table_that_was_built_in_inference_mode_can_be_learned_with() -> None:
    layer, x = DiffStride1d(2.0, window=Window(1.0, "inside")), torch.randn(2, 53)
    with torch.inference_mode():
        layer(x)
    layer(x).square().sum().backward()
    assert layer.stride.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layers_of_other_types_do_not_share_their_tables(dtype: torch.dtype) -> None:
    layer = ConvDownsample(2, 2, 1.7, window=Window(1.0, "inside")).to(dtype)
    exact = ConvDownsample(2, 2, 1.7, window=Window(1.0, "inside")).double()
    exact.load_state_dict(layer.state_dict())
    x = torch.randn(1, 2, 5, 47, dtype=torch.float64)
    error = (layer(x.to(dtype)).double() - exact(x)).abs().max()
    assert error < 20 * torch.finfo(dtype).eps
