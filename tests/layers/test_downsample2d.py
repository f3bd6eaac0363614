"""Downsampling of both axes is downsampling of each, in all kinds."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from audiostride.layers import ConvDownsample, DiffStride1d, SpectralPool1d, Window
from audiostride.layers.conv_downsample import Downsampling
from audiostride.layers.downsample2d import Downsample2d

KINDS = get_args(Downsampling)
every_kind = pytest.mark.parametrize("kind", KINDS)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@every_kind
@pytest.mark.parametrize("strides", [(2, 1), (1, 3), (3, 2), (1, 1)])
def test_each_axis_is_downsampled_as_by_the_layers_for_one_axis(
    kind: Downsampling, strides: tuple[int, int]
) -> None:
    x, layer = noise(2, 3, 21, 16), Downsample2d(strides, kind, Window(1.0))
    time, frequency = (
        ConvDownsample(1, 1, stride, dim=dim, kind=kind, window=Window(1.0)).pool
        for dim, stride in zip((-2, -1), strides, strict=True)
    )
    torch.testing.assert_close(layer(x), frequency(time(x)))


@pytest.mark.parametrize("strides", [(1.7, 2.3), (2.5, 1.1)])
def test_strides_need_not_be_whole_where_spectra_are_cropped(strides: tuple[float, float]) -> None:
    x, (time, frequency) = noise(2, 3, 21, 16), strides
    learned = DiffStride1d(time, dim=-2, smoothness=1.0), DiffStride1d(frequency, smoothness=1.0)
    torch.testing.assert_close(Downsample2d(strides, "diffstride", Window(1.0))(x), learned[1](learned[0](x)))
    fixed = SpectralPool1d(time, dim=-2), SpectralPool1d(frequency)
    torch.testing.assert_close(Downsample2d(strides, "spectral")(x), fixed[1](fixed[0](x)))


@every_kind
def test_sizes_are_those_of_whole_strides_rounded_up_or_of_the_window(kind: Downsampling) -> None:
    for size in ((1, 1), (2, 3), (13, 40)):
        layer = Downsample2d((2, 3), kind, Window(1.0))
        windows = {"diffstride": Window(1.0), "spectral": Window(0.0)}
        if kind in windows:
            expected = [windows[kind].output_length(n, s) for n, s in zip(size, (2, 3), strict=True)]
        else:
            expected = [-(-n // s) for n, s in zip(size, (2, 3), strict=True)]
        y = layer(layer.conv(1, 2, 3)(noise(1, 1, *size)))
        assert list(y.shape) == [1, 2, *expected]


@pytest.mark.parametrize("taps", [3, (1, 5), (3, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_strided_convolution_is_the_full_one_at_every_stride_th_sample(
    taps: int | tuple[int, int], groups: int
) -> None:
    strided, other = Downsample2d((2, 3), "strided"), Downsample2d((2, 3), "max")
    conv, full = strided.conv(4, 6, taps, groups=groups), other.conv(4, 6, taps, groups=groups)
    full.load_state_dict(conv.state_dict())
    x = noise(2, 4, 20, 17)
    assert full(x).shape == (2, 6, 20, 17)
    torch.testing.assert_close(strided(conv(x)), full(x)[..., ::2, ::3])


def test_convolutions_have_no_bias_and_other_options_as_given() -> None:
    layer = Downsample2d((2, 2), "max")
    assert layer.conv(2, 3, 3).bias is None
    conv, x = layer.conv(2, 3, (3, 5), bias=True, padding=0), noise(1, 2, 9, 8)
    torch.testing.assert_close(conv(x), conv2d(x, conv.weight, conv.bias))


@every_kind
def test_two_feature_maps_at_once_are_downsampled_as_one_by_one(kind: Downsampling) -> None:
    layer, main, shortcut = Downsample2d((2, 3), kind, Window(1.0)), noise(2, 3, 20, 15), noise(2, 5, 20, 15)
    # Of the kind "strided", the convolution of the main branch has taken the stride already.
    one_by_one = layer(main), shortcut[..., ::2, ::3] if kind == "strided" else layer(shortcut)
    for y, expected in zip(layer.both(main, shortcut), one_by_one, strict=True):
        torch.testing.assert_close(y, expected)


def test_a_strided_shortcut_may_be_convolved_afterwards() -> None:
    layer, x = Downsample2d((2, 3), "strided"), noise(2, 4, 20, 15)
    conv = layer.conv(4, 6, 1)
    _, shortcut = layer.both(x, x)
    torch.testing.assert_close(conv2d(shortcut, conv.weight), conv(x))


@every_kind
def test_strides_are_those_given(kind: Downsampling) -> None:
    layer = Downsample2d((2, 3), kind)
    assert layer.strides.tolist() == [2, 3]
    assert layer.conv_stride == ((2, 3) if kind == "strided" else (1, 1))
    parameters = [name for name, _ in layer.named_parameters()]
    assert parameters == (["pool.stride"] if kind == "diffstride" else [])
    assert not [name for name in layer.state_dict() if name != "pool.stride"]


def test_a_shared_stride_learns_from_both_axes() -> None:
    shared, apart = (Downsample2d((2, 2), window=Window(1.0), shared=shared) for shared in (True, False))
    for layer in (shared, apart):
        layer(noise(1, 2, 20, 15)).square().sum().backward()
    (one,), (two,) = shared.parameters(), apart.parameters()
    assert one.shape == (1,)
    assert one.grad is not None
    assert two.grad is not None
    torch.testing.assert_close(one.grad, two.grad.sum().view(1))
    with torch.no_grad():
        one.fill_(1.5)
    assert shared.strides.tolist() == [1.5, 1.5]


def test_gradients_of_both_maps_reach_the_stride() -> None:
    layer = Downsample2d((2, 2), window=Window(1.0))
    main, shortcut = layer.both(noise(1, 2, 20, 15), noise(1, 3, 20, 15))
    (stride,) = layer.parameters()
    weight = noise(1, 1, *main.shape[-2:])
    together, a, b = (
        torch.autograd.grad(loss, stride, retain_graph=True)[0]
        for loss in (
            (main * weight).sum() + (shortcut * weight).sum(),
            (main * weight).sum(),
            (shortcut * weight).sum(),
        )
    )
    assert (a != 0).all()
    assert (b != 0).all()
    torch.testing.assert_close(together, a + b)


def test_kinds_that_do_not_learn_keep_a_feature_map_at_strides_of_1() -> None:
    x = noise(1, 2, 9, 8)
    for kind in KINDS:
        if kind != "diffstride":
            assert torch.equal(Downsample2d((1, 1), kind)(x), x)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"stride": (2, 2), "kind": "dilated"}, "downsampling must be one of strided, max"),
        ({"stride": (2, 2.5), "kind": "average"}, "average downsampling takes whole strides, but got 2.5"),
        ({"stride": (2, 0.5)}, "a stride must be a finite number, at least 1, but got 0.5"),
        ({"stride": (2, 2, 2)}, "expected one stride or 2, one per axis, but got 3"),
        ({"stride": (2, 3), "shared": True}, "a shared stride needs equal strides on both axes"),
    ],
)
def test_bad_arguments_report_a_clear_error(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Downsample2d(**arguments)


def test_layers_may_be_part_of_a_sequence() -> None:
    layer = Downsample2d((2, 2), "strided")
    network = nn.Sequential(layer.conv(1, 4, 3), layer, nn.ReLU())
    assert network(noise(2, 1, 20, 15)).shape == (2, 4, 10, 8)
