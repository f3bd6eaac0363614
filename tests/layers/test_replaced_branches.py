"""Strides of branches that meet: they are replaced by one that they share."""

from typing import Any

import pytest
import torch
from helpers.strided_networks import INSIDE, Calls, Residual, conv, image
from torch import Tensor, nn
from torch.nn import functional

from audiostride import Window, replace_strides
from audiostride.layers.learned_strides import diffstride_layers


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
