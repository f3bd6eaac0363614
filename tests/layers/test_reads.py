"""How often the host reads strides: each reading waits for a GPU."""

import copy
import warnings
from collections.abc import Iterator

import pytest
import torch
from helpers.reads import Reads, counting_reads
from torch import Tensor, nn

from audiostride import DiffStride1d, DiffStride2d, SeparableCNN, Window, freeze_, project_
from audiostride.layers import read_strides
from audiostride.layers.diffstride import DiffStrideNd
from audiostride.layers.learned_strides import diffstride_layers


@pytest.fixture
def reads() -> Iterator[Reads]:
    with counting_reads() as counted:
        yield counted


def network(shared: bool = False) -> SeparableCNN:
    torch.manual_seed(0)
    return SeparableCNN((4, 64), ((2, 2), (1.5, 1.5)), window=Window(1.0), shared=shared)


def noise() -> Tensor:
    return torch.randn(2, 1, 40, 30, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shared", [False, True])
def test_a_training_step_reads_the_strides_once(reads: Reads, shared: bool) -> None:
    model, x = network(shared=shared), noise()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for expected in (1, 2):
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
        project_(model)
        assert reads.count == expected


def test_frozen_strides_are_not_read(reads: Reads) -> None:
    model, x = network(), noise()
    freeze_(model)
    reads.count = 0
    model(x).sum().backward()
    project_(model)
    assert reads.count == 0


def test_reading_at_once_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network(), noise()
    at_once = model(x)
    monkeypatch.setattr("audiostride.models.trunk.read_strides", lambda network: None)
    torch.testing.assert_close(model(x), at_once, rtol=0, atol=0)


def test_numbers_read_at_once_are_never_used_after_a_change() -> None:
    x = noise()
    layers: list[DiffStrideNd] = [DiffStride1d(2.0), DiffStride2d((1.5, 3.0))]
    network = nn.Sequential(*layers)

    def fresh(layer: DiffStrideNd, stride: float) -> Tensor:
        other = copy.deepcopy(layer)
        nn.init.constant_(other.stride, stride)
        return other(x)

    read_strides(network)
    for layer in layers:
        with torch.no_grad():
            layer.stride.fill_(2.5)
        torch.testing.assert_close(layer(x), fresh(layer, 2.5), rtol=0, atol=0)
    read_strides(network)
    for layer in layers:
        layer(x)
        layer.stride.data.fill_(3.5)  # not counted as a change, but the numbers have been used
        torch.testing.assert_close(layer(x), fresh(layer, 3.5), rtol=0, atol=0)
    read_strides(network)
    for layer in layers:
        layer.stride = nn.Parameter(torch.full_like(layer.stride, 1.7))
        torch.testing.assert_close(layer(x), fresh(layer, 1.7), rtol=0, atol=0)


def test_strides_are_read_in_inference_mode_and_on_the_meta_device() -> None:
    with torch.inference_mode():
        model = network()
        assert model(noise()).shape == (2, 64)
    assert network().to("meta")(noise().to("meta")).shape == (2, 64)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_training_step_waits_for_the_gpu_once() -> None:
    model, x = network().cuda(), noise().cuda()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
        project_(model)

    step()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sum("synchroniz" in str(w.message) for w in caught) == 1
    assert len(list(diffstride_layers(model))) == 4
