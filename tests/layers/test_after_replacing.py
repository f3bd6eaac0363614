"""What networks whose strides were replaced can do: save, copy, train, compile, print."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.reads import counting_reads
from helpers.strided_networks import INSIDE, conv, image, small_residual, state_of
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from audiostride import Window, freeze_, parameter_groups, project_, replace_strides
from audiostride.layers.learned_strides import diffstride_layers


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
