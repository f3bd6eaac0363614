"""Empty axes, too few axes, and the meta device."""

from typing import get_args

import pytest
import torch
from torch import nn

from audiostride import (
    ConvDownsample,
    DiffStride1d,
    DiffStride2d,
    SeparableCNN,
    SpectralPool2d,
    Window,
    project_,
)
from audiostride.layers.conv_downsample import Downsampling

KINDS = get_args(Downsampling)


def layers() -> list[nn.Module]:
    return [
        DiffStride2d((2.3, 1.02), smoothness=1.0),
        DiffStride2d(2.0).freeze_(),
        DiffStride1d(2.0, dim=-2, ramp="inside"),
        SpectralPool2d(2.0),
    ]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    "shape", [(0, 3, 40, 30), (2, 0, 40, 30), (2, 3, 0, 30), (2, 3, 40, 0), (2, 3, 1, 1)]
)
def test_empty_axes_stay_empty(shape: tuple[int, ...], number: int, channels_last: bool) -> None:
    x = torch.ones(shape)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    layer = layers()[number]
    y = layer(x.requires_grad_())
    y.sum().backward()
    assert [n == 0 for n in y.shape] == [n == 0 for n in shape]
    assert x.grad is not None
    assert x.grad.shape == x.shape
    for stride in layer.parameters():
        assert stride.grad is None or (stride.grad == 0).all() or 0 not in shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_convolution_takes_an_empty_batch_and_reports_an_empty_axis(kind: Downsampling) -> None:
    layer = ConvDownsample(1, 4, 2, dim=-2, kind=kind)
    assert layer(torch.ones(0, 1, 40, 30)).shape == (0, 4, layer.output_length(40), 30)
    for shape in ((2, 1, 0, 30), (2, 1, 40, 0)):
        with pytest.raises(ValueError, match=r"needs samples on both axes, but has shape \(2, 1"):
            layer(torch.ones(shape))


@pytest.mark.parametrize("layer", [DiffStride2d(2.0), SpectralPool2d(2.0)])
def test_too_few_axes_report_a_clear_error(layer: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"the input needs at least 2 axes, but has shape \(5,\)"):
        layer(torch.ones(5))


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("made_there", [False, True])
def test_layers_work_on_the_meta_device(number: int, made_there: bool) -> None:
    def make() -> nn.Module:
        return [*layers(), SeparableCNN((4, 6), ((2, 2), (2, 1)), window=Window(1.0))][number]

    expected = make()(torch.ones(2, 1, 40, 30)).shape
    if made_there:
        with torch.device("meta"):
            layer = make()
    else:
        layer = make().to("meta")
    x = torch.ones(2, 1, 40, 30, device="meta", requires_grad=True)
    y = layer(x)
    y.sum().backward()
    project_(layer)
    assert y.is_meta
    assert y.shape == expected
    source = make().eval()
    layer.to_empty(device="cpu").eval().load_state_dict(source.state_dict())
    torch.testing.assert_close(layer(torch.ones(2, 1, 40, 30)), source(torch.ones(2, 1, 40, 30)))
