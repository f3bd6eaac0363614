"""Sizes, costs and their derivatives without computing a network."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from audiostride.layers import BlurPool1d, ConvDownsample, DiffStride1d, DiffStride2d, SpectralPool2d, Window
from audiostride.layers.downsample2d import Downsample2d
from audiostride.layers.dry_run import DryRun, Map
from audiostride.layers.window import Ramp


class Calls(nn.Module):
    """A network that is one function of its input, and perhaps of modules."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.inner = function, nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.inner)


def counted_macs(network: nn.Module, x: Tensor) -> float:
    """Return the multiply-accumulates of a second forward pass, as torch counts them."""
    with torch.no_grad():
        network(x)
        with FlopCounterMode(display=False) as counter:
            network(x)
    return counter.get_total_flops() / 2


def output_of(network: nn.Module, *shape: int) -> Map:
    return DryRun(network, shape).outputs[network]


def lengths(found: Map) -> list[float | None]:
    return [None if axis is None else axis.length.item() for axis in found.axes]


OPERATIONS = {
    "conv1d": (nn.Conv1d(3, 4, 5, stride=2), (3, 40)),
    "conv2d": (nn.Conv2d(3, 4, (3, 5), stride=(1, 2), padding=1, dilation=(2, 1)), (3, 20, 30)),
    "depthwise": (nn.Conv2d(6, 6, 3, groups=6), (6, 20, 30)),
    "grouped": (nn.Conv2d(6, 4, 3, groups=2), (6, 20, 30)),
    "conv3d": (nn.Conv3d(2, 3, 3), (2, 8, 9, 10)),
    "transposed": (nn.ConvTranspose2d(3, 4, 4, stride=2), (3, 10, 7)),
    "transposed and grouped": (nn.ConvTranspose1d(4, 6, 3, groups=2), (4, 10)),
    "linear": (nn.Linear(30, 5), (3, 20, 30)),
    "product": (Calls(lambda x: x @ x.mT), (3, 20, 30)),
    "product with a constant": (Calls(lambda x: torch.ones(7, 20) @ x), (3, 20, 30)),
    "batched product": (Calls(lambda x: torch.bmm(x[0], x[0].mT)), (3, 20, 30)),
    "blur": (BlurPool1d(3, dim=-2), (3, 20, 30)),
    "max and mean": (nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)), (3, 20, 30)),
    "diffstride": (DiffStride2d((1.7, 2.3), smoothness=1.5), (3, 21, 34)),
    "spectral": (SpectralPool2d((1.0, 2.3)), (3, 21, 34)),
    "long axis": (DiffStride1d(50.0, dim=-2), (2, 20_000, 1)),
    "fused": (ConvDownsample(1, 8, 3.3, dim=-2, window=Window(1.0)), (1, 40, 21)),
    "not fused": (ConvDownsample(8, 2, 1.3, dim=-1, window=Window(1.0)), (8, 40, 21)),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_macs_are_half_of_what_torch_counts(operation: str) -> None:
    network, shape = OPERATIONS[operation]
    run = DryRun(network, shape, whole=True)
    if operation == "long axis":  # torch does not count Fourier transforms
        assert 0 < run.macs().item() < 20_000 * 400
    else:
        assert run.macs().item() == pytest.approx(counted_macs(network, torch.ones(1, *shape)), rel=1e-12)
    assert tuple(run.outputs[network].shape) == tuple(network(torch.ones(1, *shape)).shape)


def test_attention_counts_both_of_its_products() -> None:
    attention = Calls(lambda x: functional.scaled_dot_product_attention(x, x[:, :, :7], x[:, :, :7, :4]))
    assert DryRun(attention, (2, 10, 8)).macs().item() == 2 * (10 * 7 * 8 + 10 * 7 * 4)


def test_values_are_those_in_the_outputs_of_convolutions_and_resampling() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), DiffStride2d(2.0, smoothness=1.0))
    run = DryRun(network, (1, 20, 30), whole=True)
    assert run.values().item() == 4 * 20 * 30 + 4 * 12 * 17
    assert [operation.values.item() for operation in run.operations] == [4 * 20 * 30, 4 * 12 * 17]
    assert [operation.modules[-1] for operation in run.operations] == [network[0], network[2]]
    assert all(operation.modules[0] is network for operation in run.operations)


@pytest.mark.parametrize("ramp", ["outside", "inside", "relative"])
def test_real_lengths_round_down_to_output_lengths(ramp: Ramp) -> None:
    for smoothness in (0.0, 0.2, 1.0, 4.0):
        for multiple in (1, 4):
            window = Window(smoothness, ramp, multiple)
            for n in (2, 5, 31, 64):
                for stride in (1.0, 1.3, 2.0, 7.7):
                    layer = DiffStride1d(stride, window=window)
                    axis = DryRun(layer, (1, n)).outputs[layer].axes[2]
                    assert axis is not None
                    whole = window.output_length(n, layer.stride.item())
                    assert whole <= axis.length.item() + 1e-9
                    assert axis.length.item() + 1e-9 < whole + 1


def test_length_after_two_layers_is_that_of_their_exact_strides() -> None:
    """100 / 1.7 / 1.3 = 45.25, though the layers return 58 and 44 samples."""
    layers = [DiffStride1d(stride, dim=-2, smoothness=1.0, ramp="inside") for stride in (1.7, 1.3)]
    network = nn.Sequential(*layers)
    assert output_of(network, 1, 100, 1).shape[2] == 44
    found = output_of(network, 1, 100, 1).axes[2]
    assert found is not None
    assert found.length.item() == pytest.approx(100 / 1.7 / 1.3, rel=1e-6)
    whole = DryRun(network, (1, 100, 1), whole=True).outputs[network].axes[2]
    assert whole is not None
    assert whole.length.item() == 44


def test_macs_have_the_derivative_of_their_formula() -> None:
    """A layer from n to n / s samples takes n · n / s, the convolution behind it 3 · n / s per line."""
    layer = DiffStride1d(2.5, dim=-2, ramp="inside")
    network = nn.Sequential(layer, nn.Conv2d(1, 1, (3, 1), padding=(1, 0)))
    DryRun(network, (1, 100, 7)).macs().backward()
    assert layer.stride.grad is not None
    assert layer.stride.grad.item() == pytest.approx(-7 * (100 * 100 + 3 * 100) / 2.5**2, rel=1e-6)


def test_macs_have_no_gradient_where_it_is_not_wanted() -> None:
    layer = DiffStride1d(2.5, dim=-2)
    assert DryRun(layer, (1, 100, 7)).macs().requires_grad
    with torch.no_grad():
        assert not DryRun(layer, (1, 100, 7)).macs().requires_grad


def test_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), Downsample2d((2, 2)))
    network.train()
    network[2].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()]
    random = torch.get_rng_state()
    DryRun(network, (1, 20, 30))
    assert [module.training for module in network] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    assert torch.equal(torch.get_rng_state(), random)
    assert not any("forward" in vars(module) for module in network.modules())


def test_the_network_is_left_as_it_was_after_an_error() -> None:
    network = nn.Sequential(DiffStride1d(2.0), nn.Conv2d(3, 4, 3)).train()
    with pytest.raises(RuntimeError, match="channel"):
        DryRun(network, (1, 20, 30))
    assert network.training
    assert not any("forward" in vars(module) for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_sound_without_values_takes_no_memory_and_no_time_of_its_length() -> None:
    network = nn.Conv1d(1, 1000, 9, padding=4)
    run = DryRun(network, (1, 10**12))
    assert run.values().item() == 1000 * 10**12
    assert run.macs().item() == 9 * 1000 * 10**12


def test_inputs_and_outputs_are_those_of_every_module() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Sequential(nn.MaxPool2d(2), nn.Flatten(2)))
    run = DryRun(network, (1, 21, 31))
    assert run.inputs[network[0]].shape == (1, 1, 21, 31)
    assert run.outputs[network[0]].shape == run.inputs[network[1]].shape == (1, 4, 10, 15)
    assert run.outputs[network[1]].shape == run.outputs[network].shape == (1, 4, 35)
    assert run.inputs[network[0]].size == (21, 31)


def test_steps_say_what_downsamples_which_axis_by_how_much() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=(2, 1), padding=1),
        nn.MaxPool2d((1, 4)),
        Downsample2d((2.5, 1.25), window=Window(1.0, "inside")),
        nn.Conv2d(4, 4, 5),  # loses samples at the edges
    )
    run = DryRun(network, (1, 160, 100))
    assert [(step.operation, step.axis, step.ratio, step.modules[1]) for step in run.steps] == [
        ("conv2d", -2, 2.0, network[0]),
        ("max_pool2d", -1, 4.0, network[1]),
        ("resample", -2, 2.5, network[2]),
        ("resample", -1, 1.25, network[2]),
    ]
    time, mel = run.outputs[network].axes[2:]
    assert time is not None
    assert mel is not None
    assert time.steps == (0, 2)
    assert mel.steps == (1, 3)


def test_merges_say_which_steps_must_agree() -> None:
    block = Calls(lambda x, conv, pool: conv(x) + pool(x), nn.Conv2d(1, 1, 2, stride=2), nn.MaxPool2d(2))
    run = DryRun(block, (1, 20, 30))
    numbers: dict[str, list[int]] = {step.operation: [] for step in run.steps}
    for number, step in enumerate(run.steps):
        numbers[step.operation].append(number)
    (conv_time, conv_mel), (pool_time, pool_mel) = numbers["conv2d"], numbers["max_pool2d"]
    assert run.merges == [((conv_time,), (pool_time,)), ((conv_mel,), (pool_mel,))]


def test_branches_that_are_downsampled_together_merge_nothing() -> None:
    layer = Downsample2d((2, 2))
    block = Calls(lambda x, layer: sum(layer.both(x, 2 * x)), layer)
    run = DryRun(block, (1, 40, 30))
    assert run.merges == []
    assert len(run.steps) == 2


def test_fields_and_jumps_are_those_of_the_convolutions() -> None:
    """Each convolution adds (taps − 1) · dilation · distance between its samples."""
    network = nn.Sequential(
        nn.Conv2d(1, 2, (3, 5), padding=(1, 2)),
        nn.Conv2d(2, 2, (3, 1), stride=(2, 1), padding=(1, 0)),
        nn.Conv2d(2, 2, 3, padding=(2, 4), dilation=(2, 4)),
    )
    time, mel = output_of(network, 1, 40, 30).axes[2:]
    assert time is not None
    assert mel is not None
    assert (time.field, time.jump) == (1 + 2 + 2 + 2 * 2 * 2, 2.0)
    assert (mel.field, mel.jump) == (1 + 4 + 2 * 4, 1.0)


def test_a_fused_convolution_has_the_field_of_one_that_is_not_fused() -> None:
    layer = ConvDownsample(1, 8, 3.3, dim=-2, kernel_size=5, window=Window(1.0))
    assert layer.is_fused(40)
    twice = nn.Sequential(layer, nn.Conv2d(8, 8, (3, 1), padding=(1, 0)))
    apart = nn.Sequential(layer.conv, layer.pool, twice[1])
    (fused, _), (plain, _) = (output_of(network, 1, 40, 21).axes[2:] for network in (twice, apart))
    assert fused is not None
    assert plain is not None
    assert fused.field == plain.field == 1 + 4 + 2 * 40 / layer.output_length(40)
    assert fused.jump == plain.jump


VIEWS: dict[str, tuple[Callable[[Tensor], Tensor], list[float | None]]] = {
    "permute": (lambda x: x.permute(0, 3, 1, 2), [None, 30.0, None, 20.0]),
    "transpose": (lambda x: x.transpose(2, 3), [None, None, 30.0, 20.0]),
    "unsqueeze": (lambda x: x.unsqueeze(1), [None, None, None, 20.0, 30.0]),
    "flatten of channels and time": (lambda x: x.flatten(1, 2), [None, None, 30.0]),
    "mean over time": (lambda x: x.mean(-2, keepdim=True), [None, None, None, 30.0]),
    "sum with a constant": (lambda x: x + torch.ones(30), [None, None, 20.0, 30.0]),
    "one frame": (lambda x: x[:, :, :1], [None, None, 1.0, 30.0]),
    "half of the frames": (lambda x: x[:, :, :10], [None, None, 10.0, 30.0]),
    "joined pieces": (lambda x: torch.cat(x.tensor_split(7, -1), -1), [None, None, 20.0, 30.0]),
    "joined samples": (lambda x: torch.cat([2 * y for y in x.split(1, -2)], -2), [None, None, 20.0, 30.0]),
    "a longer axis": (lambda x: torch.cat([x, x], -1), [None, None, 20.0, 60.0]),
    "padding by cat": (lambda x: torch.cat([x, torch.ones(1, 2, 20, 5)], -1), [None, None, 20.0, 35.0]),
    "joined channels": (lambda x: torch.cat([x, x], 1), [None, None, 20.0, 30.0]),
}


@pytest.mark.parametrize("view", VIEWS)
def test_axes_are_followed_through_operations_that_do_not_downsample(view: str) -> None:
    function, expected = VIEWS[view]
    network = Calls(function)
    run = DryRun(network, (2, 20, 30))
    assert lengths(run.outputs[network]) == expected
    assert run.outputs[network].shape == tuple(function(torch.ones(1, 2, 20, 30)).shape)
    assert run.steps == []


def test_bands_that_are_joined_keep_the_exact_length_and_its_gradient() -> None:
    """Of 10 samples whose exact length is 30 / 2.9, also if each band is one sample."""
    for bands in (4, 10):
        layer = DiffStride1d(2.9, ramp="inside")
        network = Calls(
            lambda x, layer, n=bands: torch.cat([y.relu() + 1 for y in layer(x).tensor_split(n, -1)], -1),
            layer,
        )
        axis = output_of(network, 1, 1, 30).axes[-1]
        assert axis is not None
        assert axis.length.item() == pytest.approx(30 / 2.9, rel=1e-6)
        axis.length.backward()
        assert layer.stride.grad is not None
        assert layer.stride.grad.item() == pytest.approx(-30 / 2.9**2, rel=1e-6)


def test_networks_may_return_several_tensors_and_take_any_precision() -> None:
    network = Calls(lambda x, a, b: {"a": a(x), "b": [b(x)]}, nn.Conv1d(1, 2, 3), nn.Conv1d(1, 5, 1))
    expected = 2 * 3 * 18 + 5 * 20
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        assert DryRun(network.to(dtype), (1, 20)).macs().item() == expected


def test_layers_that_are_called_twice_count_twice() -> None:
    conv = nn.Conv1d(2, 2, 3, padding=1)
    network = Calls(lambda x, conv: conv(conv(x)), conv)
    run = DryRun(network, (2, 20))
    assert run.macs().item() == 2 * 2 * 2 * 3 * 20
    assert len(run.operations) == 2
