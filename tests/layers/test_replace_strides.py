"""DiffStride in place of the strides of networks that know nothing of it: which layers, and errors."""

import copy
from typing import Any

import pytest
import torch
from helpers.feature_maps import maps
from helpers.strided_networks import INSIDE, Calls, Residual, conv, image, small_residual, state_of
from torch import Tensor, nn
from torch.nn import functional

from audiostride import DiffStride1d, DiffStride2d, DiffStride3d, Window, replace_strides
from audiostride.layers import BlurPool1d, SpectralPool1d
from audiostride.layers.dry_run import DryRun
from audiostride.layers.learned_strides import diffstride_layers

# One layer


@pytest.mark.parametrize(
    ("layer", "shape", "diffstride"),
    [
        (nn.Conv1d(2, 3, 5, 4, 2), (20,), DiffStride1d(4.0)),
        (nn.Conv1d(2, 3, 5, 2, 4, dilation=3), (20,), DiffStride1d(2.0)),
        (nn.Conv2d(2, 4, 3, 2, 1, groups=2), (12, 11), DiffStride2d(2.0)),
        (nn.Conv2d(2, 3, 3, (1, 2)), (12, 11), DiffStride1d(2.0)),
        (nn.Conv2d(2, 3, 3, (3, 1), padding_mode="circular", padding=1), (12, 9), DiffStride1d(3.0, dim=-2)),
        (nn.Conv3d(2, 3, 3, 2, 1), (8, 9, 10), DiffStride3d(2.0)),
        (nn.MaxPool1d(3, 2, 1), (20,), DiffStride1d(2.0)),
        (nn.MaxPool2d(3, 2, dilation=2, ceil_mode=True), (12, 11), DiffStride2d(2.0)),
        (nn.MaxPool3d(3, (1, 2, 2), 1), (8, 9, 10), DiffStride2d(2.0)),
    ],
)
def test_convolution_or_maximum_at_stride_1_is_resampled(
    layer: nn.Module, shape: tuple[int, ...], diffstride: nn.Module
) -> None:
    network = nn.Sequential(layer).double()
    at_stride_1: Any = copy.deepcopy(layer)
    at_stride_1.stride = (1,) * len(shape)
    x = maps((2, 2, *shape))
    assert len(replace_strides(network, x.shape[1:]).replaced) == 1
    assert not torch.equal(network(x), at_stride_1(x))
    torch.testing.assert_close(network(x), diffstride.double()(at_stride_1(x)))


def test_stride_of_first_and_last_of_three_axes_leaves_the_middle_axis() -> None:
    network: Any = nn.Sequential(nn.Conv3d(1, 1, 3, (2, 1, 3), padding=1)).double()
    x = maps((1, 1, 12, 7, 15))
    full = functional.conv3d(x, network[0].weight, network[0].bias, padding=1)
    replace_strides(network, (1, 12, 7, 15), smoothness=1.0)
    along_last = DiffStride1d(3.0, smoothness=1.0).double()(full)
    expected = DiffStride1d(2.0, smoothness=1.0, dim=-3).double()(along_last)
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("layer", [nn.Conv2d(2, 3, 1, 2), nn.Conv2d(2, 3, 1, (2, 3), bias=False)])
def test_1x1_convolution_has_its_input_resampled_with_equal_results(layer: nn.Conv2d) -> None:
    network = nn.Sequential(layer).double()
    x = maps((2, 2, 12, 11))
    full = functional.conv2d(x, layer.weight, layer.bias)
    expected = DiffStride2d(tuple(map(float, layer.stride))).double()(full)
    replace_strides(network, (2, 12, 11))
    assert DryRun(network, (2, 12, 11)).inputs[layer.diffstride].shape == (1, 2, 12, 11)  # type: ignore[index]
    torch.testing.assert_close(network(x), expected)


def test_1x1_convolution_with_padding_is_resampled_after_it() -> None:
    network: Any = nn.Sequential(nn.Conv2d(1, 1, 1, 2, padding=1)).double()
    x = maps((1, 1, 8, 8))
    full = functional.conv2d(x, network[0].weight, network[0].bias, padding=1)
    replace_strides(network, (1, 8, 8))
    torch.testing.assert_close(network(x), DiffStride2d(2.0).double()(full))


def test_windows_that_do_not_overlap_begin_at_every_sample() -> None:
    x = maps((1, 1, 13))
    pooled = [x[0, 0, i : i + 4].max() for i in range(13)]
    network = nn.Sequential(nn.MaxPool1d(4))
    replace_strides(network, (1, 13))
    torch.testing.assert_close(network(x)[0, 0], DiffStride1d(4.0)(torch.stack(pooled)))

    patches = nn.Conv1d(1, 1, 3, 4, padding=1, bias=False).double()
    padded = torch.cat([x.new_zeros(1), x[0, 0], x.new_zeros(2)])
    embedded = [(padded[i : i + 3] * patches.weight[0, 0]).sum() for i in range(13)]
    network = nn.Sequential(patches)
    replace_strides(network, (1, 13))
    torch.testing.assert_close(network(x)[0, 0], DiffStride1d(4.0).double()(torch.stack(embedded)))


@pytest.mark.parametrize(
    ("layer", "shape", "diffstride"),
    [
        (nn.AvgPool1d(3, 2, 1), (20,), DiffStride1d(2.0)),
        (nn.AvgPool2d((1, 4)), (12, 11), DiffStride1d(4.0)),
        (nn.AvgPool3d(2, ceil_mode=True), (8, 9, 10), DiffStride3d(2.0)),
        (BlurPool1d(3, dim=-2), (12, 11), DiffStride1d(3.0, dim=-2)),
    ],
)
def test_low_pass_becomes_diffstride_alone(
    layer: nn.Module, shape: tuple[int, ...], diffstride: nn.Module
) -> None:
    network = nn.Sequential(layer)
    replace_strides(network, (2, *shape))
    x = maps((2, 2, *shape))
    assert type(network[0]) is type(diffstride)
    torch.testing.assert_close(network(x), diffstride(x))


def test_pooling_layers_are_kept_if_asked() -> None:
    network = nn.Sequential(conv(), nn.MaxPool2d(2), nn.AvgPool2d(2))
    result = replace_strides(network, (3, 32, 32), pooling=False)
    assert [entry.name for entry in result.replaced] == ["0"]
    assert [tuple(entry) for entry in result.kept] == [(n, "pooling layers are kept") for n in "12"]


def test_window_and_shared_stride_are_those_asked_for() -> None:
    network = nn.Sequential(conv())
    replace_strides(network, (3, 32, 32), window=INSIDE, shared=True)
    (layer,) = diffstride_layers(network)
    assert layer.window is INSIDE
    assert layer.stride.tolist() == [2.0]


def test_layer_that_is_called_twice_has_one_stride_and_uses_it_twice() -> None:
    network = Calls(lambda self, x: self.pool(self.pool(x)), pool=nn.MaxPool2d(2))
    result = replace_strides(network, (1, 32, 32), window=INSIDE)
    assert len(result.replaced) == len(list(network.parameters())) == 1
    assert network(image(1, 1, 32, 32)).shape == (1, 1, 8, 8)


# What is kept


@pytest.mark.parametrize(
    ("network", "name", "reason"),
    [
        (Calls(lambda self, x: functional.max_pool2d(x, 2)), "max_pool2d in Calls", "calls this function"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(4)), "0", "output has a fixed size"),
        (nn.Sequential(nn.LPPool2d(2, 2)), "0", "LPPool2d is not a kind"),
        (nn.Sequential(SpectralPool1d(2.0)), "0", "SpectralPool1d is not a kind"),
        (nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3, 2)), "0", "takes a whole axis"),
        (nn.Sequential(nn.ConvTranspose2d(3, 1, 2, 2)), "0", "upsamples"),
        (
            Calls(lambda self, x: self.pool(x)[0], pool=nn.MaxPool2d(2, return_indices=True)),
            "pool",
            "indices",
        ),
        (Calls(lambda self, x: x + 1, unused=conv()), "unused", "is not called in evaluation mode"),
        (Calls(lambda self, x: self.conv(input=x), conv=conv()), "conv", "by keyword"),
        (nn.Sequential(DiffStride2d(2.0)), "0", "DiffStride layer already"),
        (conv(), "Conv2d", "put it into torch.nn.Sequential"),
    ],
)
def test_what_cannot_be_replaced_is_kept_with_a_reason(network: nn.Module, name: str, reason: str) -> None:
    before = state_of(nn.ModuleList(network.children()))
    result = replace_strides(network, (3, 16, 16))
    assert state_of(nn.ModuleList(network.children())) == before
    assert not result.replaced
    ((kept, why),) = result.kept
    assert kept == name
    assert reason in why


def test_layers_without_stride_and_global_pooling_are_not_mentioned() -> None:
    network = nn.Sequential(nn.Conv2d(3, 1, 5), nn.MaxPool2d(3, 1), nn.AdaptiveMaxPool2d(1))
    result = replace_strides(network, (3, 16, 16))
    assert result.replaced == result.kept == ()


def test_keep_names_a_layer_or_all_that_a_module_contains() -> None:
    network = nn.Sequential(conv(), nn.Sequential(conv(), nn.Sequential(conv())), conv())
    result = replace_strides(network, (3, 64, 64), keep=["0", "1.1"])
    assert [entry.name for entry in result.replaced] == ["1.0", "2"]
    assert {entry.name: entry.reason for entry in result.kept} == dict.fromkeys(
        ("0", "1.1.0"), "named in keep"
    )


def test_layer_whose_branch_meets_that_of_a_kept_one_is_kept() -> None:
    network = small_residual()
    result = replace_strides(network, (1, 32, 32), keep=["2.second"])
    assert [entry.name for entry in result.replaced] == ["0"]
    reasons = {entry.name: entry.reason for entry in result.kept}
    assert reasons["2.first.0"] == "its branch meets that of 2.second, which is kept"


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (nn.Sequential(conv(), conv()), conv(4), "0.first.0 (stride 2) and 0.first.1 (stride 2)"),
        (nn.Sequential(conv(), nn.Upsample(scale_factor=2)), conv(1), "is not downsampled"),
        (Calls(lambda self, x: functional.max_pool2d(x, 2)), conv(), "max_pool2d in 0.first, which is kept"),
        # After a window of even length, a maximum is one sample shorter than after one of odd length.
        (nn.MaxPool2d(4, 2, 1), conv(), "has size (32, 32) before the stride, that of 0.first (31, 31)"),
    ],
)
def test_branches_that_do_not_match_are_kept_with_a_reason(
    first: nn.Module, second: nn.Module, reason: str
) -> None:
    network = nn.Sequential(Residual(first, second), conv())
    result = replace_strides(network, (3, 32, 32))
    assert [entry.name for entry in result.replaced] == ["1"]
    assert any(reason in entry.reason for entry in result.kept)


def test_branches_that_downsample_different_axes_are_kept() -> None:
    """A map with a single column can be added to one with two."""
    network = nn.Sequential(Residual(conv((2, 1)), conv()))
    result = replace_strides(network, (3, 16, 2))
    reasons = [entry.reason for entry in result.kept]
    assert reasons == ["its branch meets that of 0.first, but they downsample different axes"] * 2


# Errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"keep": ["2.secnd"]},
            "keep names '2.secnd', but the network has no such module: did you mean 2.second?",
        ),
        ({"together": [("0", "nonsense")]}, "together names 'nonsense', but the network has no such module"),
        ({"together": [("0", "1")]}, "together names 1, but this ReLU has no stride above 1 to learn"),
        ({"keep": "0"}, r"keep takes lists of names, but got '0': write \['0'\]"),
        ({"smoothness": -1}, "smoothness must be"),
        (
            {"shape": (2, 32, 32)},
            r"does not run with one input of shape \(2, 32, 32\): Invalid channel dimensions",
        ),
    ],
)
def test_bad_arguments_report_a_clear_error_and_change_nothing(arguments: dict, sentence: str) -> None:
    network = small_residual()
    before = state_of(network)
    with pytest.raises(ValueError, match=sentence):
        replace_strides(network, **({"shape": (1, 32, 32)} | arguments))
    assert state_of(network) == before


def test_layers_with_unequal_strides_cannot_be_shared() -> None:
    network = nn.Sequential(conv(), conv(4), nn.Conv2d(3, 3, 3, (1, 2)), nn.Conv2d(3, 3, 3, (2, 3)))
    with pytest.raises(ValueError, match=r"equal strides, but have 0 \(2, 2\), 1 \(4, 4\)"):
        replace_strides(network, (3, 128, 128), together=[("0", "1")])
    with pytest.raises(ValueError, match=r"but 3 has \(2, 3\): name it in keep="):
        replace_strides(network, (3, 128, 128), shared=True)
    assert len(replace_strides(network, (3, 128, 128), shared=True, keep=["3"]).replaced) == 3


class Embedded(nn.Module):
    """Patches with a learned embedding of their positions."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.pool = nn.Conv2d(1, 4, 4, 4), nn.AvgPool2d(2)
        self.positions = nn.Parameter(torch.zeros(1, 4, 8, 8))
        self.register_forward_pre_hook(ignore)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.patches(x) + self.positions)


def ignore(module: nn.Module, inputs: Any) -> None:
    """A hook that a network has already."""


@pytest.mark.parametrize("window", [Window(4.0), INSIDE])
def test_a_network_of_fixed_size_is_left_as_it_was(window: Window) -> None:
    """With the ramp inside it would run at first, and fail as soon as a stride has changed."""
    network = Embedded().train()
    network.patches.eval()
    before = state_of(network)
    with pytest.raises(ValueError, match=r"the network \(Embedded\) .* in keep=, of patches$"):
        replace_strides(network, (1, 32, 32), window=window)
    assert state_of(network) == before
    kept = replace_strides(network, (1, 32, 32), keep=["patches"])
    assert [entry.name for entry in kept.replaced] == ["pool"]
