"""Matrices of fixed strides are kept within bounds, and go with their layer."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import Tensor, nn

from audiostride import ConvDownsample, DiffStride1d, SpectralPool1d, Window
from audiostride.layers.kernels.operators import FixedOperator, OperatorCache


def layers() -> list[nn.Module]:
    return [
        DiffStride1d(2.0).eval(),
        SpectralPool1d(2.0),
        ConvDownsample(1, 8, 2.0, window=Window(1.0)),
        DiffStride1d(3.0).freeze_(),
    ]


def caches(layer: nn.Module) -> list[OperatorCache]:
    return [
        value
        for module in layer.modules()
        for value in vars(module).values()
        if isinstance(value, OperatorCache)
    ]


def kept(layer: nn.Module) -> list[Tensor]:
    return [matrix for cache in caches(layer) for matrix in cache.matrices.values()]


@pytest.mark.parametrize("number", range(4))
def test_operators_take_a_bounded_number_of_bytes_and_go_with_their_layer(number: int) -> None:
    layer = layers()[number]
    with torch.no_grad():
        for n in range(300, 700, 20):
            layer(torch.ones(1, 1, 1, n))
    matrices = kept(layer)
    assert len(matrices) > 1
    assert sum(matrix.nbytes for matrix in matrices) <= 8 * 2**20
    references = [weakref.ref(matrix) for matrix in matrices]
    del layer, matrices
    gc.collect()
    assert all(reference() is None for reference in references)


def test_an_operator_above_the_bound_is_built_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """For this many lines its matrix is cheaper than the FFT all the same."""
    built, build = [], FixedOperator.build

    def noted(operator: FixedOperator) -> Tensor:
        built.append(operator)
        return build(operator)

    monkeypatch.setattr(FixedOperator, "build", noted)
    layer = SpectralPool1d(80_000 / 32)
    for _ in range(2):
        layer(torch.ones(100, 80_000))
    assert len(built) == 2
    assert not kept(layer)


def test_operators_of_one_device_are_kept() -> None:
    layer = SpectralPool1d(2.0)
    layer(torch.ones(1, 50))
    layer(torch.ones(1, 50, device="meta"))
    assert [matrix.device.type for matrix in kept(layer)] == ["meta"]


def test_copies_of_a_layer_begin_without_operators() -> None:
    layer = SpectralPool1d(2.0)
    expected = layer(torch.ones(1, 50))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert not kept(other)
        assert torch.equal(other(torch.ones(1, 50)), expected)
    assert len(kept(layer)) == 1
