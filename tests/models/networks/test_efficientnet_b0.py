"""EfficientNet-B0: torchvision's network, and where it has residual connections."""

import re
from typing import Any

import pytest
import torch
from helpers.networks import noise, small, with_statistics
from torch import nn
from torchvision.models import efficientnet_b0

from audiostride.layers.conv_downsample import Downsampling
from audiostride.models.networks.efficientnet_b0 import EfficientNetB0


def test_strided_network_is_that_of_torchvision() -> None:
    torch.manual_seed(0)
    network = with_statistics(EfficientNetB0(downsampling="strided", in_channels=3))
    reference = efficientnet_b0().eval()
    reference.classifier = nn.Identity()
    # A convolution that downsamples is the first of two modules where torchvision has one.
    weights = network.state_dict()
    for name in list(weights):
        if name not in reference.state_dict():
            weights[re.sub(r"\.0\.weight$", ".weight", name)] = weights.pop(name)
    reference.load_state_dict(weights)
    x = noise(2, 3, 61, 40).double()
    torch.testing.assert_close(network.double()(x), reference.double()(x))


@pytest.mark.parametrize("kind", ["strided", "diffstride"])
def test_only_blocks_that_cannot_downsample_add_their_input(kind: Downsampling) -> None:
    """Also at strides of 1 and with equal channels, where torchvision would add it."""
    network = small("efficientnet_b0", kind, strides=[(1, 1)] * 8)
    stages: Any = list(network.features)[1:-1]  # type: ignore[arg-type]
    x = noise(2, 8, 20, 15)
    for stage in stages:
        for number, block in enumerate(stage):
            norm = block.block[-1][1]
            nn.init.zeros_(norm.weight)
            nn.init.zeros_(norm.bias)
            torch.testing.assert_close(block(x), torch.zeros_like(x) if number == 0 else x)


def test_stochastic_depth_grows_from_0_towards_its_probability() -> None:
    """In equal steps over all blocks, here 8 (Huang et al. 2016), and it changes nothing in evaluation."""
    network = small("efficientnet_b0", stochastic_depth=0.8)
    stages: Any = list(network.features)[1:-1]  # type: ignore[arg-type]
    found = [block.stochastic_depth.p for stage in stages for block in stage]
    assert found == [pytest.approx(0.8 * number / 8) for number in range(8)]
    x, without = noise(2, 1, 40, 32), small("efficientnet_b0", stochastic_depth=0.0)
    without.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(x), without(x), rtol=0, atol=0)


def test_channels_that_torchvision_would_round_report_a_clear_error() -> None:
    channels = (8, 8, 8, 8, 12, 8, 8, 8, 16)
    with pytest.raises(ValueError, match=r"^channels must be multiples of 8 in this network, but are \[8, "):
        EfficientNetB0(channels=channels)


def test_channels_are_those_of_the_feature_maps() -> None:
    channels = (8, 16, 24, 32, 40, 48, 56, 64, 72)
    network = small("efficientnet_b0", channels=channels)
    run = network.dry_run(40, 32)
    found = {name: run.outputs[module].shape[1] for name, module in network.feature_maps().items()}
    numbers = dict(zip(["first", *(f"{n}.1" for n in range(1, 8)), "last"], channels, strict=True))
    assert found == numbers | {"3.2": 32}
