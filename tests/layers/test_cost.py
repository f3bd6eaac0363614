"""Cost, activations and complexity of networks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from audiostride import DiffStride1d, DiffStride2d, SeparableCNN, Window, activations, complexity, cost


def network(stride: float = 2.0, smoothness: float = 1.0) -> Any:
    layer = DiffStride2d(stride, smoothness=smoothness).double()
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), layer, nn.Conv2d(4, 2, 3, padding=1)
    )


def test_cost_at_whole_lengths_is_half_the_operations_of_a_second_pass() -> None:
    net, x = network().float().eval(), torch.zeros(1, 1, 24, 20)
    with torch.no_grad():
        net(x)
        with FlopCounterMode(display=False) as counter:
            net(x)
    assert cost(net, (1, 24, 20)).item() == counter.get_total_flops() / 2


def test_activations_are_the_outputs_of_convolutions_and_resampling() -> None:
    assert activations(network(), (1, 24, 20)).item() == 4 * 24 * 20 + 4 * 14 * 12 + 2 * 14 * 12


@pytest.mark.parametrize("measure", [cost, activations])
def test_gradient_of_the_strides_is_that_of_central_differences(measure: Callable[..., Tensor]) -> None:
    net = network(2.3)
    (gradient,) = torch.autograd.grad(measure(net, (1, 24, 20)), net[2].stride)
    for axis in range(2):
        values = []
        for change in (-1e-4, 1e-4):
            moved = network(2.3)
            with torch.no_grad():
                moved[2].stride[axis] += change
                values.append(measure(moved, (1, 24, 20)).item())
        assert gradient[axis].item() == pytest.approx((values[1] - values[0]) / 2e-4, rel=1e-6)
        assert gradient[axis] < 0


def test_cost_computes_nothing_and_leaves_the_network_as_it_was() -> None:
    net = network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        assert not cost(net, (1, 10**6, 10**6)).requires_grad
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_cost_on_the_meta_device_is_the_same() -> None:
    assert cost(network().to("meta"), (1, 24, 20)) == cost(network(), (1, 24, 20))


class Operations(nn.Module):
    """A learned stride before operations that take an axis away, add one or take a size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.conv = DiffStride2d(2.0, window=Window(1.0, "inside")), nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        rows = torch.stack([y.mean(3), y.amax(-1)], dim=1).sum(1, keepdim=False)
        return self.conv(rows) + self.conv(functional.interpolate(rows, size=rows.shape[-1]))


def test_axes_are_known_after_reductions_and_stacking_but_not_after_a_size_that_is_given() -> None:
    """Of the two convolutions, only the first has a length that changes with the stride."""
    net: Any = Operations()
    stride = net.layer.stride
    total = activations(net, (1, 24, 20))
    assert total.item() == 12 * 10 + 12 + 12
    (gradient,) = torch.autograd.grad(total, stride)
    assert gradient.tolist() == pytest.approx([-(12 * 10 + 12) / 2, -12 * 10 / 2])


def test_trunk_counts_as_any_other_network() -> None:
    trunk = SeparableCNN((4, 6), ((2, 2), (2, 2)))
    assert trunk.cost(40, 30) == cost(trunk, (1, 40, 30))
    assert trunk.activations(40, 30) == activations(trunk, (1, 40, 30))


def test_complexity_of_a_network_is_that_of_its_layers_each_counted_once() -> None:
    shared = DiffStride2d((2.0, 3.0))
    net = nn.Sequential(shared, nn.Sequential(DiffStride1d(4.0)), shared)
    assert complexity(net).item() == pytest.approx(1 / 6 + 1 / 24)
    assert complexity(shared).item() == pytest.approx(1 / 6)


def test_complexity_of_a_trunk_is_that_of_its_strides() -> None:
    trunk = SeparableCNN((4, 6), ((2, 3), (1.5, 2)))
    assert complexity(trunk) == complexity(trunk.strides)
    assert complexity(trunk).item() == pytest.approx(1 / 6 + 1 / 18)


def test_complexity_takes_a_list_of_parameters() -> None:
    strides = nn.ParameterList([torch.tensor([2.0, 2.0]), torch.tensor([2.0])])
    assert complexity(strides).item() == pytest.approx(1 / 4 + 1 / 8)


def test_complexity_without_strides_reports_a_clear_error() -> None:
    with pytest.raises(ValueError, match="there are no strides"):
        complexity(nn.Linear(2, 2))
