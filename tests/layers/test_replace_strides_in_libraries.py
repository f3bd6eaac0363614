"""DiffStride in networks of torchvision and timm, of small widths."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from audiostride import Window, complexity, cost, replace_strides
from audiostride.layers.dry_run import DryRun
from audiostride.layers.learned_strides import diffstride_layers

torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")

INSIDE = Window(1.0, "inside")


def images(size: int = 64) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def resnet18() -> Any:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=4).eval()


def small_densenet() -> nn.Module:
    return torchvision.models.DenseNet(4, (2, 2, 2, 2), 8, num_classes=4)


def small_efficientnet() -> nn.Module:
    settings = [
        torchvision.models.efficientnet.MBConvConfig(2, 3, 2, 8, 8, 2, 1.0, 1.0),
        torchvision.models.efficientnet.MBConvConfig(2, 5, 2, 8, 16, 1, 1.0, 1.0),
    ]
    return torchvision.models.EfficientNet(settings, dropout=0.1, num_classes=4, last_channel=16)


def small_timm(name: str, **options: Any) -> nn.Module:
    network: nn.Module = timm.create_model(name, num_classes=4, **options)
    return network


def convolutions_that_pad_themselves() -> nn.Module:
    return small_timm("lcnet_035", pad_type="same")


def small_resnet_d() -> nn.Module:
    return small_timm("resnet10t", channels=(4, 4, 8, 8), stem_width=4)


def with_blur_pooling() -> nn.Module:
    return small_timm("resnet18", aa_layer=timm.layers.BlurPool2d, layers=(1, 1, 1, 1), channels=(4, 4, 8, 8))


def test_both_branches_of_a_resnet_block_share_one_stride_and_one_size() -> None:
    network = resnet18()
    result = replace_strides(network, (3, 64, 64))
    assert not result.kept
    assert [entry.name for entry in result.replaced if not entry.shared_with] == ["conv1", "maxpool"]
    assert len(list(diffstride_layers(network))) == 5
    blocks = [network.layer2[0], network.layer3[0], network.layer4[0]]
    for block in blocks:
        assert block.conv1.diffstride.stride is block.downsample[0].diffstride.stride
        nn.init.constant_(block.conv1.diffstride.stride, 1.7)
    run = DryRun(network, (3, 64, 64))
    for block in blocks:
        assert run.outputs[block.bn1].shape == run.outputs[block.downsample].shape
    assert network(images()).isfinite().all()


def test_with_the_ramp_inside_feature_maps_are_as_large_as_before() -> None:
    network = resnet18()
    before = {module: found.shape for module, found in DryRun(network, (3, 64, 64)).outputs.items()}
    replace_strides(network, (3, 64, 64), window=INSIDE)
    after = DryRun(network, (3, 64, 64)).outputs
    assert {module: after[module].shape for module in before} == before


def test_images_below_the_cut_off_give_the_same_features_as_before() -> None:
    axis = 2 * torch.pi / 64 * torch.arange(64)
    x = ((3 * axis).sin()[:, None] + (5 * axis).cos()).expand(1, 3, 64, 64)
    network = resnet18()
    network.conv1.padding_mode = "circular"  # at other edges, convolutions begin and end with a jump
    before = network.conv1(x)
    replace_strides(network, (3, 64, 64), window=INSIDE)
    torch.testing.assert_close(network.conv1(x), before, rtol=0, atol=1e-5)


def test_gradients_of_loss_and_cost_reach_every_stride() -> None:
    network = resnet18()
    replace_strides(network, (3, 64, 64), smoothness=1.0)
    strides = [layer.stride for layer in diffstride_layers(network)]
    of_loss = torch.autograd.grad(network(images()).square().sum(), strides)
    assert all((gradient != 0).all() for gradient in of_loss)
    for penalty in (cost(network, (3, 64, 64)), complexity(network)):
        assert all((gradient < 0).all() for gradient in torch.autograd.grad(penalty, strides))


def test_state_dict_of_torchvision_loads_but_for_the_strides() -> None:
    network, original = resnet18(), torchvision.models.resnet18(num_classes=4)
    replace_strides(network, (3, 64, 64))
    result = network.load_state_dict(original.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert result.missing_keys[:3] == [
        "conv1.diffstride.stride",
        "maxpool.diffstride.stride",
        "layer2.0.conv1.diffstride.stride",
    ]
    assert all(name.endswith(".diffstride.stride") for name in result.missing_keys)
    assert torch.equal(network.conv1.weight, original.conv1.weight)


NETWORKS = [
    (small_densenet, 5),
    (small_efficientnet, 3),
    (convolutions_that_pad_themselves, 5),
    (small_resnet_d, 8),
    (with_blur_pooling, 8),
]


@pytest.mark.parametrize(("build", "layers"), NETWORKS)
def test_networks_run_at_their_cost_with_strides_that_learn(build: Any, layers: int) -> None:
    network = build()
    result = replace_strides(network, (3, 64, 64), window=INSIDE)
    assert (len(result.replaced), result.kept) == (layers, ())
    x = images()
    network(x).square().sum().backward()
    strides = [layer.stride for layer in diffstride_layers(network)]
    assert strides
    assert all(stride.grad is not None and stride.grad.isfinite().all() for stride in strides)
    network.eval()
    with torch.no_grad():
        network(x)
        with FlopCounterMode(display=False) as counter:
            network(x)
    assert cost(network, (3, 64, 64)).item() * len(x) == counter.get_total_flops() / 2


def test_convolution_that_pads_itself_keeps_its_length() -> None:
    network = convolutions_that_pad_themselves()
    conv: Any = network.conv_stem
    assert type(conv).__name__ == "Conv2dSame"
    replace_strides(network, (3, 50, 50), window=INSIDE)
    run = DryRun(network, (3, 50, 50))
    assert run.inputs[conv.diffstride].size == (50, 50)
    assert run.outputs[conv].size == (25, 25)


def test_transformer_needs_its_patches_kept() -> None:
    network = small_timm("vit_tiny_patch16_224", img_size=32, embed_dim=12, depth=1, num_heads=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"VisionTransformer.* in keep=, of patch_embed.proj$"):
        replace_strides(network, (3, 32, 32))
    assert before.keys() == network.state_dict().keys()
    assert network(images(32)).shape == (2, 4)
    (kept,) = replace_strides(network, (3, 32, 32), keep=["patch_embed"]).kept
    assert kept == ("patch_embed.proj", "named in keep")
