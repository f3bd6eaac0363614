"""The block of convolution and downsampling, in all its kinds."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d

from audiostride.layers import BlurPool1d, ConvDownsample, DiffStride1d, SpectralPool1d
from audiostride.layers.conv_downsample import Downsampling

KINDS = get_args(Downsampling)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [-2, -1])
def test_output_length_is_that_of_the_output_and_the_other_axis_is_kept(kind: Downsampling, dim: int) -> None:
    for stride in (1, 2, 3, 5):
        for n in (1, 2, 5, 13, 40):
            block = ConvDownsample(2, 3, stride, dim=dim, kind=kind)
            shape = (n, 7) if dim == -2 else (7, n)
            expected = (block.output_length(n), 7) if dim == -2 else (7, block.output_length(n))
            assert block(noise(1, 2, *shape)).shape == (1, 3, *expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_weights_load_into_every_kind(kind: Downsampling) -> None:
    source, block = ConvDownsample(2, 3, 2, kind="diffstride"), ConvDownsample(2, 3, 2, kind=kind)
    result = block.load_state_dict(source.state_dict(), strict=False)
    assert not result.missing_keys
    assert set(result.unexpected_keys) <= {"pool.stride"}
    assert torch.equal(block.conv.weight, source.conv.weight)


def test_strided_is_the_convolution_taken_at_every_other_sample() -> None:
    x, block = noise(1, 2, 20, 7), ConvDownsample(2, 3, 2, dim=-2, kind="strided")
    full = conv2d(x, block.conv.weight, block.conv.bias, padding=(1, 0))
    torch.testing.assert_close(block(x), full[:, :, ::2])


@pytest.mark.parametrize(
    ("kind", "pool"), [("diffstride", DiffStride1d(2.0)), ("spectral", SpectralPool1d(2.0))]
)
def test_spectral_kinds_pool_the_full_convolution(kind: Downsampling, pool: nn.Module) -> None:
    x, block = noise(1, 2, 7, 20), ConvDownsample(2, 3, 2.0, dim=-1, kind=kind)
    full = conv2d(x, block.conv.weight, block.conv.bias, padding=(0, 1))
    torch.testing.assert_close(block(x), pool(full))


def test_max_and_average_look_at_a_window_around_each_kept_sample() -> None:
    x = noise(1, 1, 1, 9)
    windows = [x[0, 0, 0, max(0, i - 1) : i + 2] for i in range(0, 9, 2)]
    maxima = ConvDownsample(1, 1, 2, kind="max").pool(x)[0, 0, 0]
    torch.testing.assert_close(maxima, torch.stack([window.max() for window in windows]))
    means = ConvDownsample(1, 1, 2, kind="average").pool(x)[0, 0, 0]
    torch.testing.assert_close(means, torch.stack([window.mean() for window in windows]))


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_blur_keeps_constants_and_removes_tones_that_alias_onto_them(stride: int) -> None:
    x = noise(1, 1, 1, 12 * stride)
    triangle = torch.tensor([float(min(i, 2 * stride - i)) for i in range(1, 2 * stride)]) / stride**2
    inner = conv1d(x[0], triangle.view(1, 1, -1))[..., 1::stride]  # its first sample lies stride − 1 in
    y = BlurPool1d(stride)(x)[0]
    torch.testing.assert_close(y[..., 1 : 1 + inner.shape[-1]], inner)
    torch.testing.assert_close(
        BlurPool1d(stride)(torch.ones(1, 2, 3, 12)), torch.ones(1, 2, 3, -(-12 // stride))
    )
    tone = torch.cos(2 * torch.pi * torch.arange(12 * stride) / stride).view(1, 1, 1, -1)
    assert BlurPool1d(stride)(tone)[..., 1:-1].abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(13,), (3, 13), (2, 3, 13), (2, 3, 4, 13), (2, 3, 4, 5, 13)])
def test_blur_takes_any_number_of_leading_axes(shape: tuple[int, ...]) -> None:
    x = noise(*shape)
    lines = torch.stack([BlurPool1d(2)(line[None, None])[0, 0] for line in x.reshape(-1, 13)])
    torch.testing.assert_close(BlurPool1d(2)(x), lines.view(*shape[:-1], 7))
    if x.ndim > 1:
        torch.testing.assert_close(BlurPool1d(2, dim=-2)(x.mT).mT, BlurPool1d(2)(x))


def test_blur_that_was_made_without_memory_is_the_same() -> None:
    """As large models are loaded: on the meta device, then given memory, then their weights."""
    with torch.device("meta"):
        made = BlurPool1d(3)
    made = made.to_empty(device="cpu")
    made.load_state_dict(BlurPool1d(3).state_dict())
    for buffer in made.buffers():
        buffer.fill_(torch.nan)  # what the memory holds by chance
    x = torch.randn(2, 4, 20)
    torch.testing.assert_close(made(x), BlurPool1d(3)(x))


@pytest.mark.parametrize("arguments", [{"stride": 0}, {"stride": 1.5}, {"dim": 1}])
def test_blur_reports_bad_arguments(arguments: dict) -> None:
    with pytest.raises(ValueError, match=r"whole number|must be negative"):
        BlurPool1d(**arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kind": "fractional"}, "must be one of strided, max"),
        ({"kind": "strided", "stride": 2.5}, "whole strides, but got 2.5"),
        ({"stride": 0.5}, "at least 1, but got 0.5"),
        ({"kernel_size": 4}, "odd"),
        ({"dim": 1}, "-2 or -1"),
    ],
)
def test_bad_arguments_report_a_clear_error(arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ConvDownsample(2, 3, **arguments)
