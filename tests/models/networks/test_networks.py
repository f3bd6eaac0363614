"""What every network must hold. A network that is added needs an entry in `helpers.networks.SMALL`."""

import copy
import io
import pickle
from collections.abc import Iterable
from inspect import signature
from typing import Any

import pytest
import torch
from helpers.networks import KINDS, SMALL, fractional, is_stride, noise, small, stride_pairs
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from audiostride.config.network_names import network_names
from audiostride.layers import Window
from audiostride.layers.conv_downsample import Downsampling
from audiostride.models.build import build_network, network_class
from audiostride.models.trunk import Trunk

every_network = pytest.mark.parametrize("name", network_names())
every_kind = pytest.mark.parametrize("kind", KINDS)


def counted_macs(network: Trunk, x: Tensor) -> float:
    """Return the multiply-accumulates of a second forward pass, as torch counts them."""
    with torch.no_grad():
        network(x)
        with FlopCounterMode(display=False) as counter:
            network(x)
    return counter.get_total_flops() / 2


def sizes_in_order(
    network: Trunk, modules: Iterable[Any], x: Tensor
) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Return the modules in the order in which a network leaves them, and the sizes of their outputs."""
    found: list[tuple[nn.Module, tuple[int, ...]]] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        found.append((module, tuple(output.shape[-2:])))

    handles = [module.register_forward_hook(note) for module in modules]
    network(x)
    for handle in handles:
        handle.remove()
    return found


@every_network
@every_kind
def test_embeddings_are_finite_and_have_the_size_that_the_network_says(name: str, kind: Downsampling) -> None:
    network = small(name, kind)
    embeddings = network(noise(3, 1, 40, 32))
    assert embeddings.shape == (3, network.embedding_size)
    assert embeddings.isfinite().all()
    assert (embeddings[0] - embeddings[1]).abs().max() > 1e-3


@every_network
@every_kind
def test_sizes_are_those_of_the_feature_maps(name: str, kind: Downsampling) -> None:
    network = fractional(name, kind)
    for size in ((30, 20), (301, 64), (7, 5)):
        found = sizes_in_order(network, network.downsamplers(), noise(1, 1, *size))
        assert [module for module, _ in found] == network.downsamplers()
        assert network.sizes(*size) == [size, *(after for _, after in found)]


@every_network
def test_parts_return_feature_maps_as_large_as_after_the_last_downsampler(name: str) -> None:
    network = fractional(name, "diffstride")
    layers: Any = network.downsamplers()
    inside = {inner for layer in layers for inner in layer.modules()} - set(layers)
    parts = [module for module in network.feature_maps().values() if module not in inside]
    present = None
    for module, size in sizes_in_order(network, {*parts, *layers}, noise(1, 1, 37, 23)):
        present = size if module in layers or present is None else present
        assert size == present


@every_network
def test_parts_are_the_whole_network_in_order(name: str) -> None:
    network = small(name)
    modules = [module for part in network.parts().values() for module in part]
    assert [module for module, _ in sizes_in_order(network, modules, noise(1, 1, 37, 23))] == modules
    owned = [id(parameter) for module in modules for parameter in module.parameters()]
    assert owned == [id(parameter) for parameter in network.parameters()]


@every_network
def test_embeddings_pool_the_last_feature_map(name: str) -> None:
    network, kept = small(name), []
    *_, last = network.feature_maps().values()
    last.register_forward_hook(lambda module, inputs, output: kept.append(output))
    embeddings = network(noise(2, 1, 40, 32))
    pooled = kept[0].amax((-2, -1)) if name == "separable" else kept[0].mean((-2, -1))
    torch.testing.assert_close(embeddings, pooled)


@every_network
@every_kind
def test_cost_is_half_of_what_torch_counts_where_all_lengths_are_whole(name: str, kind: Downsampling) -> None:
    network = small(name, kind, window=Window(1.0, "inside"))
    assert network.cost(64, 32).item() == counted_macs(network, noise(1, 1, 64, 32))


@every_network
@every_kind
def test_cost_of_whole_lengths_is_half_of_what_torch_counts(name: str, kind: Downsampling) -> None:
    network = fractional(name, kind)
    for size in ((37, 21), (300, 13)):
        macs = network.dry_run(*size, whole=True).macs().item()
        assert macs == pytest.approx(counted_macs(network, noise(1, 1, *size)), rel=1e-12)


@every_network
@pytest.mark.parametrize("window", [Window(0.3), Window(1.0, "inside"), Window(0.05, "relative")])
def test_cost_and_activations_have_the_derivatives_of_their_finite_differences(
    name: str, window: Window
) -> None:
    network = fractional(name, "diffstride", window=window).double()
    strides = [parameter for key, parameter in network.named_parameters() if is_stride(key)]
    directions = [noise(len(stride)).double() for stride in strides]
    for measure in (network.cost, network.activations):
        gradients = torch.autograd.grad(measure(101, 47), strides)
        assert all((gradient <= 0).all() for gradient in gradients)
        slope = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
        values = []
        for change in (1e-6, -2e-6):
            with torch.no_grad():
                for stride, direction in zip(strides, directions, strict=True):
                    stride.add_(change * direction)
                values.append(measure(101, 47).item())
        with torch.no_grad():
            for stride, direction in zip(strides, directions, strict=True):
                stride.add_(1e-6 * direction)
        assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)


@every_network
@every_kind
def test_the_same_weights_load_into_every_kind(name: str, kind: Downsampling) -> None:
    source, network = small(name), small(name, kind)
    result = network.load_state_dict(source.state_dict(), strict=False)
    assert not result.missing_keys
    assert all(map(is_stride, result.unexpected_keys))
    assert bool(result.unexpected_keys) == (kind != "diffstride")


@every_network
def test_strides_set_the_sizes_of_feature_maps(name: str) -> None:
    network = small(name, window=Window(1.0, "inside"))
    strides = [(1.0, 1.5), (2.0, 1.0), (1.25, 1.2), *[(1.1, 1.05)] * 5][: stride_pairs(name)]
    values = iter(value for pair in strides for value in pair)
    for key, parameter in network.named_parameters():
        if is_stride(key):
            parameter.data = torch.tensor([next(values) for _ in parameter])
    time, mel = 100, 60
    expected = [(time, mel)]
    for by_time, by_mel in strides:
        time, mel = int(time / by_time), int(mel / by_mel)
        expected.append((time, mel))
    assert network.strides.tolist() == [pytest.approx(pair) for pair in strides]
    assert network.sizes(100, 60) == expected


@every_network
def test_a_shared_stride_is_one_parameter_for_both_axes(name: str) -> None:
    count = stride_pairs(name)
    network = small(name, shared=True, strides=[(1.5, 1.5)] * count)
    strides = [parameter for key, parameter in network.named_parameters() if is_stride(key)]
    assert len(strides) == count
    for number, parameter in enumerate(strides):
        assert parameter.shape == (1,)
        parameter.data.fill_(1.2 + 0.1 * number)
    expected = [[pytest.approx(1.2 + 0.1 * number)] * 2 for number in range(count)]
    assert network.strides.tolist() == expected


@every_network
def test_unequal_strides_cannot_be_shared(name: str) -> None:
    strides = [(1.5, 1.5), (1.5, 2.5), *[(1.5, 1.5)] * 6][: stride_pairs(name)]
    with pytest.raises(ValueError, match="a shared stride needs equal strides"):
        small(name, shared=True, strides=strides)


@every_network
@every_kind
def test_a_recording_has_the_same_embedding_alone_and_in_a_batch(name: str, kind: Downsampling) -> None:
    network, x = fractional(name, kind).double(), noise(4, 1, 40, 32).double()
    torch.testing.assert_close(network(x[2:3]), network(x)[2:3], rtol=1e-9, atol=1e-9)


@every_network
def test_training_reaches_every_weight_and_every_stride(name: str) -> None:
    network = small(name).train()
    y = network(noise(8, 1, 60, 40))
    (y * noise(*y.shape, seed=1)).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert (parameter.grad != 0).any(), key
        if is_stride(key):
            assert (parameter.grad != 0).all(), key


@every_network
def test_projection_brings_every_stride_back_into_its_range(name: str) -> None:
    network = small(name)
    for key, parameter in network.named_parameters():
        if is_stride(key):
            parameter.data.fill_(-1.0)
    network.project_()
    assert (network.strides == 1).all()


@every_network
def test_smoothness_of_the_network_is_that_of_its_layers(name: str) -> None:
    network = small(name, window=Window(1.0))
    network.set_smoothness_(4.0)
    assert network.window == Window(4.0)
    assert network.sizes(100, 64) == small(name, window=Window(4.0)).sizes(100, 64)


@every_network
def test_double_precision_gives_the_same_embeddings(name: str) -> None:
    network, x = small(name), noise(2, 1, 40, 32)
    expected = network(x)
    y = network.double()(x.double())
    assert y.dtype == torch.float64
    torch.testing.assert_close(y.float(), expected, rtol=1e-3, atol=1e-4)


@every_network
def test_half_precision_gives_similar_embeddings(name: str) -> None:
    network, x = small(name), noise(2, 1, 40, 32)
    expected = network(x)
    y = network.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).norm() < 0.05 * expected.norm()


@every_network
@pytest.mark.parametrize("kind", ["blur", "diffstride"])
def test_copies_have_the_same_embeddings(name: str, kind: Downsampling) -> None:
    network, x = fractional(name, kind), noise(2, 1, 40, 32)
    expected = network(x)
    loaded = fractional(name, kind)
    for parameter in loaded.parameters():
        parameter.data.add_(1)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network)), loaded):
        torch.testing.assert_close(other(x), expected, rtol=0, atol=0)


@every_network
def test_a_copy_has_its_own_strides(name: str) -> None:
    network = small(name)
    other = copy.deepcopy(network)
    for parameter in other.parameters():
        parameter.data.fill_(3.0)
    assert (other.strides == 3).all()
    assert not (network.strides == 3).any()


@every_network
def test_networks_take_several_spectrograms_of_the_same_sound(name: str) -> None:
    network = small(name, in_channels=3)
    assert network(noise(2, 3, 40, 32)).shape == (2, network.embedding_size)
    with pytest.raises(ValueError, match=r"expected spectrograms \(batch, 3, time, mel\), but got shape"):
        network(noise(2, 1, 40, 32))


@every_network
def test_weights_without_memory_have_the_same_names_and_shapes(name: str) -> None:
    """As recipes are completed with a network's defaults: without computing its initial weights."""
    with torch.device("meta"):
        network = network_class(name)(**SMALL[name])
    shapes = {key: value.shape for key, value in small(name).state_dict().items()}
    assert {key: value.shape for key, value in network.state_dict().items()} == shapes


@every_network
def test_weights_are_in_the_memory_format_that_makes_convolutions_faster(name: str) -> None:
    for parameter in small(name).parameters():
        assert parameter.ndim != 4 or parameter.is_contiguous(memory_format=torch.channels_last)


@every_network
@pytest.mark.parametrize("argument", ["channels", "strides"])
def test_a_wrong_number_of_entries_reports_a_clear_error(name: str, argument: str) -> None:
    entries = {"channels": (8,), "strides": ((2, 2),)}[argument]
    with pytest.raises(ValueError, match=r"entr(y|ies)") as error:
        build_network(name, {}, **{argument: entries})
    assert argument in str(error.value)
    assert str(error.value).count(".") == 0


@every_network
def test_strides_that_are_not_whole_report_a_clear_error_where_they_must_be(name: str) -> None:
    strides = [(1.5, 1.5)] * stride_pairs(name)
    with pytest.raises(ValueError, match=r"max downsampling takes whole strides, but got 1\.5"):
        small(name, "max", strides=strides)


@every_network
def test_options_out_of_range_report_a_clear_error(name: str) -> None:
    arguments = set(signature(network_class(name)).parameters)
    common = {"channels", "strides", "downsampling", "window", "shared", "in_channels"}
    for option in arguments - common:
        for value in (-1, "many", [0] * 4, None):
            with pytest.raises(ValueError, match=f"model.options.{option} of the network {name} cannot be"):
                build_network(name, {option: value})


@every_network
def test_an_unknown_option_reports_those_that_there_are(name: str) -> None:
    known = "it has none" if name == "separable" else "its options are [a-z_, ]*"
    with pytest.raises(ValueError, match=f"the network {name} has no such option, {known}$"):
        build_network(name, {"widening": 2})


def test_an_unknown_network_reports_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"there is no network alexnet: give one of bc_resnet, .*separable"):
        build_network("alexnet", {})


@pytest.mark.parametrize(
    ("name", "option", "entries"), [("bc_resnet", 3, 4), ("efficientnet_b0", 4, 7), ("resnet18", 3, 4)]
)
def test_a_wrong_number_of_layers_reports_a_clear_error(name: str, option: int, entries: int) -> None:
    sentence = f"layers needs {entries} entries, for .* stages, but has {option}"
    with pytest.raises(ValueError, match=sentence):
        build_network(name, {"layers": [1] * option})


@pytest.mark.parametrize("name", ["densenet_bc", "resnet18"])
def test_a_first_kernel_that_is_even_reports_a_clear_error(name: str) -> None:
    with pytest.raises(ValueError, match="first_kernel must be odd, but is 4"):
        build_network(name, {"first_kernel": 4})


@pytest.mark.parametrize("name", ["densenet_bc", "resnet18"])
def test_a_larger_first_kernel_keeps_all_sizes(name: str) -> None:
    assert small(name, first_kernel=7).sizes(100, 64) == small(name).sizes(100, 64)
    assert small(name, first_kernel=7)(noise(2, 1, 40, 32)).isfinite().all()
