"""ResNet-18: torchvision's network, one stride for both branches of a block, and pre-activation."""

import pytest
import torch
from helpers.networks import noise, small, with_statistics
from torch import Tensor, nn
from torchvision.models import resnet18

from audiostride.layers import DiffStride2d, Window
from audiostride.models.networks.resnet18 import ResidualBlock, ResNet18


def names_of_torchvision(name: str) -> str:
    """Return the name that torchvision has for a weight of `ResNet18`."""
    first, rest = name.split(".", 1)
    if first == "first":
        return rest.replace("0.", "conv1.", 1) if rest.startswith("0.") else rest.replace("2.", "bn1.", 1)
    stage, block, rest = rest.split(".", 2)
    rest = rest.replace("norm", "bn").replace("shortcut.", "downsample.")
    return f"layer{int(stage) + 1}.{block}.{rest}"


def test_strided_network_is_that_of_torchvision() -> None:
    """But for the max pooling after the first convolution."""
    torch.manual_seed(0)
    network = with_statistics(ResNet18(downsampling="strided", in_channels=3, first_kernel=7))
    reference = resnet18().eval()
    reference.maxpool, reference.fc = nn.Identity(), nn.Identity()
    weights = {names_of_torchvision(name): value for name, value in network.state_dict().items()}
    reference.load_state_dict(weights)
    x = noise(2, 3, 61, 40)
    torch.testing.assert_close(network(x), reference(x), rtol=1e-4, atol=1e-4)


def test_both_branches_of_a_block_have_one_stride() -> None:
    network = small("resnet18")
    strides = {name for name, _ in network.named_parameters() if "stride" in name}
    assert strides == {
        "first.1.pool.stride",
        *(f"stages.{stage}.0.downsample.pool.stride" for stage in (1, 2, 3)),
    }


@pytest.mark.parametrize("pre_activation", [False, True])
def test_a_block_that_downsamples_is_its_formula(pre_activation: bool) -> None:
    network = small("resnet18", pre_activation=pre_activation, strides=[(2, 2), (1.7, 2.3), (2, 2), (2, 2)])
    block: ResidualBlock = network.stages[1][0]  # type: ignore[index,assignment]
    pool, x = DiffStride2d((1.7, 2.3), window=Window(1.0)), noise(2, 4, 23, 17)
    if pre_activation:
        active = block.norm1(x).relu()
        main = block.conv2(block.norm2(pool(block.conv1(active))).relu())
        expected = main + pool(block.shortcut(active))
    else:
        main = block.norm2(block.conv2(block.norm1(pool(block.conv1(x))).relu()))
        conv, norm = block.shortcut.children()
        expected = (main + norm(pool(conv(x)))).relu()
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pre_activation", [False, True])
def test_a_block_that_keeps_its_size_adds_its_input(pre_activation: bool) -> None:
    network = small("resnet18", pre_activation=pre_activation)
    block: ResidualBlock = network.stages[1][1]  # type: ignore[index,assignment]
    x = noise(2, 6, 23, 17)
    if pre_activation:
        expected = block.conv2(block.norm2(block.conv1(block.norm1(x).relu())).relu()) + x
    else:
        expected = (block.norm2(block.conv2(block.norm1(block.conv1(x)).relu())) + x).relu()
    torch.testing.assert_close(block(x), expected)


def test_pre_activation_normalises_and_rectifies_at_the_end_of_the_network() -> None:
    network, x = small("resnet18", pre_activation=True), noise(2, 1, 40, 32)
    maps: list[Tensor] = []
    network.stages[-1].register_forward_hook(lambda module, inputs, y: maps.append(y))  # type: ignore[index,union-attr]
    embeddings = network(x)
    norm = nn.BatchNorm2d(10).eval()
    norm.load_state_dict(network.last[0].state_dict())  # type: ignore[index,union-attr]
    torch.testing.assert_close(embeddings, norm(maps[0]).clamp(min=0).mean((-2, -1)))


def test_34_layers_have_the_parameters_of_resnet_34() -> None:
    """21.80 million with 1000 classes and colours (torchvision), of which the last layer has 513 000."""
    with torch.device("meta"):
        network = ResNet18(layers=(3, 4, 6, 3), downsampling="strided", in_channels=3, first_kernel=7)
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_797_672 - 513_000
