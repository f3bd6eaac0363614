"""Compilation with sizes that change."""

import copy

import pytest
import torch
from torch import nn

from audiostride import DiffStride2d, SeparableCNN, Window


@pytest.mark.parametrize("dynamic", [True, None])
@pytest.mark.parametrize("number", range(2))
def test_compiling_for_all_sizes_at_once_agrees_with_the_eager_network(
    number: int, dynamic: bool | None
) -> None:
    """One network resamples alone, the other fuses its first convolution."""
    torch.compiler.reset()
    torch.manual_seed(0)
    network: nn.Module = (
        DiffStride2d((2.3, 1.7)),
        SeparableCNN((4, 6), ((2, 2.5), (1.5, 2)), window=Window(1.0)),
    )[number].double()
    eager = copy.deepcopy(network)
    compiled = torch.compile(network, backend="aot_eager", dynamic=dynamic)
    for frames in (40, 33, 27):
        x = torch.randn(2, 1, frames, 30, dtype=torch.float64)
        y, expected = compiled(x), eager(x)
        torch.testing.assert_close(y, expected)
        y.square().sum().backward()
        expected.square().sum().backward()
        for ours, parameter in zip(network.parameters(), eager.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, parameter.grad)
