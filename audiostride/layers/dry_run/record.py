"""What a dry run finds out: axes with real-valued lengths, operations, and what downsamples."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Axis(NamedTuple):
    """An axis of a feature map that comes from an axis of the input.

    Attributes:
        length: real-valued number of samples, a scalar tensor in float64.
        field: number of samples of the input that a sample depends on through convolutions.
        jump: distance between neighbouring samples, in samples of the input.
        steps: what has downsampled it so far, in order: keys of `DryRun.steps`.
    """

    length: Tensor
    field: float = 1.0
    jump: float = 1.0
    steps: tuple[int, ...] = ()


class Map(NamedTuple):
    """A feature map without its values.

    Attributes:
        shape: its shape, with a batch of 1.
        axes: what is known about each axis; None for those that do not come from an axis of the input.
    """

    shape: tuple[int, ...]
    axes: tuple[Axis | None, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Numbers of samples along the axes that come from the input."""
        return tuple(n for n, axis in zip(self.shape, self.axes, strict=True) if axis is not None)

    def ratio(self) -> Tensor:
        """Return by what factor real-valued lengths differ from whole ones, for the area of the map."""
        factors = [axis.length / n for n, axis in zip(self.shape, self.axes, strict=True) if axis is not None]
        return torch.stack(factors).prod() if factors else torch.ones((), dtype=torch.float64)


class Operation(NamedTuple):
    """A convolution, a product with a matrix, or a resampling.

    Attributes:
        modules: the modules that it is part of, from the outermost to the innermost.
        macs: its multiply-accumulates for one example, a scalar tensor.
        values: the values of its output, a scalar tensor.
    """

    modules: tuple[nn.Module, ...]
    macs: Tensor
    values: Tensor


class Step(NamedTuple):
    """What downsamples one axis.

    Attributes:
        modules: the modules that it is part of, from the outermost to the innermost.
        operation: name of the operation.
        axis: number of the axis, from the end, negative.
        ratio: length before / length after.
    """

    modules: tuple[nn.Module, ...]
    operation: str
    axis: int
    ratio: float


class Record:
    """What happens to a tensor without values on its way through a network.

    Args:
        whole: round all lengths to whole samples.

    Attributes:
        operations: what costs multiply-accumulates, in order.
        steps: what downsamples an axis.
        merges: pairs of `Axis.steps` of axes that were combined, by addition or concatenation.
    """

    def __init__(self, whole: bool) -> None:
        self.whole = whole
        self.operations: list[Operation] = []
        self.steps: list[Step] = []
        self.merges: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self._running: list[nn.Module] = []
        self._learning = torch.is_grad_enabled()

    def macs(self, modules: Iterable[nn.Module] | None = None) -> Tensor:
        """Return the multiply-accumulates for one example, a scalar tensor in float64.

        Args:
            modules: count the operations inside of these modules; by default all.
        """
        own = None if modules is None else set(modules)
        return _total([one.macs for one in self.operations if own is None or not own.isdisjoint(one.modules)])

    def values(self) -> Tensor:
        """Return the number of values in the outputs of all operations, a scalar tensor in float64."""
        return _total([operation.values for operation in self.operations])

    def add(self, macs: Tensor, values: Tensor) -> None:
        """Add an operation of the module that is running."""
        self.operations.append(Operation(tuple(self._running), macs, values))

    def step(self, operation: str, axis: int, ratio: float) -> int:
        """Return the number of a step of the module that is running; one operation is one step."""
        self.steps.append(Step(tuple(self._running), operation, axis, ratio))
        return len(self.steps) - 1

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Compute with gradients, if they were enabled where the dry run began."""
        with torch._C.DisableTorchFunctionSubclass(), torch.set_grad_enabled(self._learning):
            yield


def _total(numbers: list[Tensor]) -> Tensor:
    return torch.stack(numbers).sum() if numbers else torch.zeros((), dtype=torch.float64)


def whole_number(value: float) -> Tensor:
    """Return a number as a length, a scalar tensor in float64."""
    return torch.tensor(float(value), dtype=torch.float64)
