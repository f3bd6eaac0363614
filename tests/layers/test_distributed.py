"""Two processes of DistributedDataParallel: strides at their bound, and frozen ones."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from audiostride import ConvDownsample, DiffStride1d, Window, freeze_, parameter_groups, project_
from audiostride.layers.learned_strides import diffstride_layers

Replica = Callable[[int], object]


def in_two_processes(folder: Path, replica: Replica) -> list:
    """Run a function of the rank in two processes that form a group; return both results."""
    multiprocessing.spawn(_in_group, (folder, replica), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def _in_group(rank: int, folder: Path, replica: Replica) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    torch.save(replica(rank), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        ConvDownsample(1, 4, dim=-1, window=Window(1.0)),
        nn.ReLU(),
        DiffStride1d(2.0, window=Window(1.0), dim=-2),
        ConvDownsample(4, 1, dim=-1, window=Window(1.0)),
    )


def strides(model: nn.Module) -> Tensor:
    return torch.cat([layer.stride.detach() for layer in diffstride_layers(model)])


def train_at_the_bound(rank: int) -> list[Tensor]:
    """Large steps towards larger strides; the inputs of the two processes differ in length."""
    model = network()
    replica = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(parameter_groups(model, stride_lr=100.0), lr=1e-3)
    after_each_step = []
    for step in range(4):
        loss = replica(torch.randn(2, 1, 9, 20 + 12 * rank - step)).square().mean()
        loss = loss - strides_with_gradient(model).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        project_(model)
        after_each_step.append(strides(model))
    return after_each_step


def strides_with_gradient(model: nn.Module) -> Tensor:
    return torch.cat([layer.stride for layer in diffstride_layers(model)])


def test_strides_at_their_bound_stay_equal_if_the_inputs_of_two_processes_differ_in_length(
    tmp_path: Path,
) -> None:
    first, second = in_two_processes(tmp_path, train_at_the_bound)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert 31.9 < first[0].max() < 32  # the longer input is that of the second process


def train_frozen(rank: int, freeze_at: int | None) -> dict[str, Tensor]:
    model = network()
    if freeze_at is None:
        freeze_(model)
    replica = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(parameter_groups(model, stride_lr=0.1), lr=1e-2)
    kept = None
    for step in range(5):
        if step == freeze_at:
            freeze_(model)
        if step == (freeze_at or 0):
            kept = strides(model)
        loss = replica(torch.randn(2, 1, 9, 20)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        project_(model)
    assert kept is not None
    assert torch.equal(strides(model), kept)
    return model.state_dict()


@pytest.mark.parametrize("freeze_at", [None, 2])
def test_frozen_strides_do_not_stall_distributed_training(tmp_path: Path, freeze_at: int | None) -> None:
    """Frozen before DistributedDataParallel is built, or in the middle of training."""
    first, second = in_two_processes(tmp_path, partial(train_frozen, freeze_at=freeze_at))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
