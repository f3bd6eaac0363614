"""DiffStride in place of the strides of networks that know nothing of it."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.feature_maps import maps
from helpers.reads import counting_reads
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from audiostride import (
    DiffStride1d,
    DiffStride2d,
    DiffStride3d,
    Window,
    freeze_,
    parameter_groups,
    project_,
    replace_strides,
)
from audiostride.layers import BlurPool1d, SpectralPool1d
from audiostride.layers.dry_run import DryRun
from audiostride.layers.learned_strides import diffstride_layers

INSIDE = Window(1.0, "inside")


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A block with two branches that are added."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)


class Calls(nn.Module):
    """A network whose forward pass is a function of its layers and the input."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self._calls = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self._calls(self, x)


def conv(stride: int | tuple[int, int] = 2, channels: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels, 3, 3, stride, **({"padding": 1} | options))


def small_residual() -> nn.Sequential:
    """Three strides, two of them in branches that meet, with normalisation and a head."""
    torch.manual_seed(0)
    block = Residual(nn.Sequential(conv(), nn.BatchNorm2d(3), nn.ReLU(), conv(1)), nn.Conv2d(3, 3, 1, 2))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)]
    return nn.Sequential(conv(channels=1), nn.ReLU(), block, *head)


def state_of(network: nn.Module) -> bytes:
    return pickle.dumps(network)


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


# Branches


def test_branches_that_are_added_concatenated_or_stacked_share_one_stride() -> None:
    layers = {"a": conv(), "b": nn.AvgPool2d(2), "c": nn.Conv2d(3, 3, 1, 2), "d": nn.MaxPool2d(2)}

    def forward(self: Any, x: Tensor) -> Tensor:
        joined = torch.cat([self.a(x), self.b(x)], 1).chunk(2, 1)[0]
        return torch.stack([joined, self.c(x)], 1).sum(1) * self.d(x)

    network = Calls(forward, **layers)
    result = replace_strides(network, (3, 32, 32))
    assert {entry.name for entry in result.replaced} == set(layers)
    assert all({*entry.shared_with, entry.name} == set(layers) for entry in result.replaced)
    assert len(list(diffstride_layers(network))) == 1


def test_branches_with_several_strides_share_step_by_step() -> None:
    first, second = nn.Sequential(conv(), conv()), nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 3, 1, 2))
    network = nn.Sequential(conv(), Residual(first, second), conv())
    shared = {entry.name: entry.shared_with for entry in replace_strides(network, (3, 64, 64)).replaced}
    assert shared["1.first.0"] == ("1.second.0",)
    assert shared["1.first.1"] == ("1.second.1",)
    assert shared["0"] == shared["2"] == ()


def test_branches_are_told_apart_also_where_the_input_leaves_single_samples() -> None:
    network = nn.Sequential(*[Residual(conv(), nn.Conv2d(3, 3, 1, 2)) for _ in range(3)])
    replace_strides(network, (3, 8, 8), window=INSIDE)
    assert len(list(diffstride_layers(network))) == 3


def test_an_encoder_learns_strides_if_its_decoder_takes_the_sizes_from_it() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        deep = self.down(x)
        return x + functional.interpolate(self.middle(deep), size=x.shape[-2:])

    network = Calls(forward, down=conv(), middle=conv(1))
    assert [entry.name for entry in replace_strides(network, (3, 16, 16)).replaced] == ["down"]


def test_upsampling_by_a_factor_needs_lengths_that_are_multiples() -> None:
    network = nn.Sequential(conv(), Residual(nn.Sequential(conv(), nn.Upsample(scale_factor=2)), conv(1)))
    with pytest.raises(ValueError, match=r"1 \(Residual\) does not run with feature maps of other sizes"):
        replace_strides(network, (3, 32, 32), smoothness=1.0)
    result = replace_strides(network, (3, 32, 32), window=Window(1.0, multiple=2))
    assert [entry.name for entry in result.replaced] == ["0"]


def test_together_joins_layers_whose_branches_cannot_be_followed() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        first, second = self.first(x).flatten(1), self.second(x).flatten(1)
        return first + second

    network = Calls(forward, first=conv(), second=nn.MaxPool2d(2))
    with pytest.raises(ValueError, match=r"the network .* name the strided layers before it in keep="):
        replace_strides(network, (3, 16, 16))
    result = replace_strides(network, (3, 16, 16), together=[("first", "second")])
    assert [entry.shared_with for entry in result.replaced] == [("second",), ("first",)]
    assert len(list(network.parameters())) == 3


def test_a_network_over_waveforms_learns_strides_of_any_kind_of_layer() -> None:
    torch.manual_seed(0)
    downsampling = [
        nn.Conv1d(1, 4, 11, 5, 5),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(4, 4, 3, 3),
        nn.AvgPool1d(2),
    ]
    network = nn.Sequential(*downsampling, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))
    result = replace_strides(network, (1, 2400), window=Window(0.25, "relative"))
    assert [entry.strides for entry in result.replaced] == [(5,), (4,), (3,), (2,)]
    network(image(2, 1, 2400)).square().sum().backward()
    gradients = [layer.stride.grad for layer in diffstride_layers(network)]
    assert all(gradient is not None and gradient != 0 for gradient in gradients)
    assert network(image(2, 1, 3000)).shape == (2, 2)  # another size than that of the call


def test_a_network_over_volumes_shares_strides_of_three_axes() -> None:
    torch.manual_seed(0)
    block = Residual(nn.Conv3d(2, 3, 3, (1, 2, 2), 1), nn.Conv3d(2, 3, 1, (1, 2, 2)))
    network = nn.Sequential(nn.Conv3d(1, 2, 3, 2, 1), nn.ReLU(), block, nn.MaxPool3d(2))
    result = replace_strides(network, (1, 8, 16, 16), window=INSIDE)
    assert [entry.strides for entry in result.replaced] == [(2, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2)]
    y = network(image(2, 1, 8, 16, 16))
    assert y.shape == (2, 3, 2, 2, 2)
    y.square().sum().backward()
    first, shared, last = diffstride_layers(network)
    assert [len(layer.stride) for layer in (first, shared, last)] == [3, 2, 3]
    assert all((layer.stride.grad != 0).all() for layer in (first, shared))  # type: ignore[union-attr]


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


# Networks after replacing


def replaced(window: Window = INSIDE) -> tuple[nn.Sequential, Tensor]:
    network = small_residual()
    replace_strides(network, (1, 32, 32), window=window)
    return network, image(2, 1, 32, 32)


def test_state_dict_of_the_network_before_loads_and_lacks_only_strides() -> None:
    original, (network, _) = small_residual(), replaced()
    for parameter in original.parameters():
        nn.init.normal_(parameter)
    result = network.load_state_dict(original.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert result.missing_keys == [f"{name}.diffstride.stride" for name in ("0", "2.first.0", "2.second")]
    assert all(
        torch.equal(network.state_dict()[name], value) for name, value in original.state_dict().items()
    )


def test_state_dict_round_trip_keeps_strides() -> None:
    (network, x), (other, _) = replaced(), replaced()
    for number, layer in enumerate(diffstride_layers(network)):
        nn.init.constant_(layer.stride, 1.5 + number)
    other.load_state_dict(network.state_dict())
    assert [layer.strides.tolist() for layer in diffstride_layers(other)] == [[1.5, 1.5], [2.5, 2.5]]
    torch.testing.assert_close(other(x), network(x))


def copied(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network)


def pickled(network: nn.Module) -> nn.Module:
    restored: nn.Module = pickle.loads(pickle.dumps(network))
    return restored


def saved(network: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    restored: nn.Module = torch.load(file, weights_only=False)
    return restored


@pytest.mark.parametrize("duplicate", [copied, pickled, saved])
def test_copies_share_nothing_with_the_network(duplicate: Callable[[nn.Module], nn.Module]) -> None:
    network, x = replaced()
    expected = network.eval()(x)
    other = duplicate(network)
    assert torch.equal(other(x), expected)
    assert len(list(diffstride_layers(other))) == 2
    for layer in diffstride_layers(other):
        nn.init.constant_(layer.stride, 1.2)
    assert torch.equal(network(x), expected)
    assert not torch.equal(other(x), expected)


def test_a_pass_reads_all_strides_at_once() -> None:
    network, x = replaced()
    for expected in (1, 2):
        with counting_reads() as reads:
            for _ in range(expected):
                network(x).sum().backward()
                for layer in diffstride_layers(network):
                    layer.stride.data.add_(0.1)  # a change that a tensor does not count
        assert reads.count == expected
    assert [layer.host_strides for layer in diffstride_layers(network)] == [(pytest.approx(2.2),) * 2] * 2


def test_a_second_call_changes_nothing() -> None:
    network, x = replaced()
    expected, before = network(x), state_of(network)
    result = replace_strides(network, (1, 32, 32))
    assert not result.replaced
    assert len(network._forward_pre_hooks) == 1
    assert state_of(network) == before
    assert torch.equal(network(x), expected)


def test_training_learns_strides_and_weights_within_their_range() -> None:
    network, x = replaced(Window(2.0))
    optimizer = torch.optim.AdamW(parameter_groups(network, stride_lr=100.0), lr=1e-3)
    weights = [p.detach().clone() for p in network.parameters()]
    network(x).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all((layer.stride.grad != 0).all() for layer in diffstride_layers(network))  # type: ignore[union-attr]
    optimizer.step()
    project_(network)
    assert not any(map(torch.equal, weights, network.parameters()))
    for layer in diffstride_layers(network):
        assert ((layer.stride >= 1) & (layer.stride < 32)).all()
    assert network(x).isfinite().all()


def test_modes_and_gradients_asked_for_stay() -> None:
    network = small_residual().train()
    network[2].eval()
    network[0].requires_grad_(False)
    modes = {module: module.training for module in network.modules()}
    replace_strides(network, (1, 32, 32))
    assert modes == {module: module.training for module in modes}
    assert all(layer.training is (name == "0") for name, layer in diffstrides(network).items())
    assert not network[0].weight.requires_grad
    assert all(layer.stride.requires_grad for layer in diffstride_layers(network))


def diffstrides(network: nn.Module) -> dict[str, Any]:
    """Return the DiffStride layers by the names of the layers that they are part of."""
    layers = set(diffstride_layers(network))
    return {name.rpartition(".")[0]: module for name, module in network.named_modules() if module in layers}


def test_strides_have_the_device_and_at_least_single_precision() -> None:
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        network = nn.Sequential(small_residual(), nn.Unflatten(1, (1, 2)), nn.MaxPool1d(2)).to(dtype)
        replace_strides(network, (1, 32, 32), keep=["2"])
        assert {layer.stride.dtype for layer in diffstride_layers(network)} == {expected}
        assert network(image(2, 1, 32, 32).to(dtype)).dtype == dtype
    network = small_residual().to("meta")
    replace_strides(network, (1, 32, 32))
    assert all(layer.stride.is_meta for layer in diffstride_layers(network))
    assert network(image(2, 1, 32, 32).to("meta")).shape == (2, 2)


def test_pooling_gets_its_device_from_the_layers_around_it() -> None:
    block = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 3, 1).to("meta"))
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.AvgPool2d(2), block)
    replace_strides(network, (1, 32, 32))
    first, second = diffstride_layers(network)
    assert not first.stride.is_meta
    assert second.stride.is_meta


def test_compiled_network_and_gradient_checkpoint_give_the_same() -> None:
    network, x = nn.Sequential(conv(), nn.Conv2d(3, 2, 1, 2)), image(2, 3, 16, 16)
    replace_strides(network, (3, 16, 16), window=INSIDE)
    expected = network(x)
    torch.testing.assert_close(checkpoint(network, x, use_reentrant=False), expected)
    torch.compiler.reset()
    freeze_(network)
    torch.testing.assert_close(torch.compile(network, backend="eager", fullgraph=True)(x), expected)


def test_printed_result_lists_what_was_replaced_and_kept() -> None:
    network = nn.Sequential(small_residual()[:3], nn.AvgPool2d((2, 1)), nn.AdaptiveAvgPool2d(2))
    assert str(replace_strides(network, (1, 64, 64))).splitlines() == [
        "learned strides: 4 layers",
        "  0.0          Conv2d 3×3     stride 2 × 2",
        "  0.2.first.0  Conv2d 3×3     stride 2 × 2",
        "  0.2.second   Conv2d 1×1     stride 2 × 2  shared with 0.2.first.0",
        "  1            AvgPool2d 2×1  stride 2 × 1",
        "kept: 1",
        "  2  its output has a fixed size",
    ]
