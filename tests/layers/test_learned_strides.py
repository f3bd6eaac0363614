"""What a training loop does with all strides of a network."""

import torch
from torch import nn
from torch.nn.functional import mse_loss

from audiostride import DiffStride1d, DiffStride2d, SeparableCNN, parameter_groups, project_


def train(network: nn.Module, groups: object, decay: float) -> None:
    """Three hundred steps on a loss that does not depend on the strides."""
    optimizer = torch.optim.AdamW(groups, lr=0.05, weight_decay=decay)  # type: ignore[arg-type]
    x = torch.ones(1, 1, 40, 40)  # a constant passes whatever the strides are
    for _ in range(300):
        optimizer.zero_grad()
        mse_loss(network(x).mean(), torch.tensor(0.5)).backward()
        optimizer.step()
        project_(network)


def test_plain_adamw_pulls_strides_to_1_and_parameter_groups_do_not() -> None:
    strides = [DiffStride2d(3.0), DiffStride2d(3.0)]
    plain, grouped = (nn.Sequential(nn.Conv2d(1, 2, 1), layer) for layer in strides)
    train(plain, plain.parameters(), decay=0.5)
    train(grouped, parameter_groups(grouped, weight_decay=0.5), decay=0.5)
    assert strides[0].strides.max() < 1.2
    assert strides[1].strides.min() > 2.5


def test_parameter_groups_hold_every_parameter_once() -> None:
    network = SeparableCNN((4, 6), ((2, 2), (2, 2)), shared=True)
    groups = parameter_groups(network, stride_lr=0.1, weight_decay=0.01)
    assert [(group.get("lr"), group["weight_decay"]) for group in groups] == [(None, 0.01), (0.1, 0.0)]
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in network.parameters()}
    assert len(grouped) == len(list(network.parameters()))
    assert len(groups[1]["params"]) == 2  # one shared stride per block


def test_a_network_without_strides_has_one_group() -> None:
    assert len(parameter_groups(nn.Linear(2, 2))) == 1
    assert len(parameter_groups(DiffStride1d())) == 1


def steps(layer: DiffStride1d, optimizer: torch.optim.Optimizer, lengths: list[int]) -> None:
    """Steps that push the stride to its bound."""
    for length in lengths:
        optimizer.zero_grad()
        (layer(torch.ones(1, length)).sum() - 5 * layer.stride.sum()).backward()
        optimizer.step()
        project_(layer)
        with torch.no_grad():
            layer(torch.ones(1, 1000))  # evaluation does not widen the range


def test_a_stride_at_its_bound_is_the_same_after_loading_in_the_middle() -> None:
    """The bound is that of the step's own input, so nothing has to be saved for it."""
    lengths = [40, 17, 3, 3, 5]
    whole, begun, resumed = DiffStride1d(2.0), DiffStride1d(2.0), DiffStride1d(2.0)
    optimizers = [
        torch.optim.SGD(layer.parameters(), lr=10.0, momentum=0.9) for layer in (whole, begun, resumed)
    ]
    steps(whole, optimizers[0], lengths)
    steps(begun, optimizers[1], lengths[:2])
    resumed.load_state_dict(begun.state_dict())
    optimizers[2].load_state_dict(optimizers[1].state_dict())
    steps(resumed, optimizers[2], lengths[2:])
    assert torch.equal(whole.stride, resumed.stride)
    assert 4.9 < whole.stride.item() < 5


def test_the_bound_is_the_largest_size_since_the_last_projection() -> None:
    layer = DiffStride1d(2.0)
    for lengths, expected in (([100], 100), ([30, 20], 30), ([10], 10)):
        for length in lengths:
            layer(torch.ones(1, length)).sum().backward()
        layer.stride.data.fill_(1e6)
        project_(layer)
        assert 0.999 * expected < layer.stride.item() < expected
    layer.stride.data.fill_(1e6)
    project_(layer)
    assert layer.stride == 1e6  # no input, no upper limit
