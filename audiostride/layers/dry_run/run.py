"""A tensor without values, sent through a network."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from audiostride.layers.dry_run.record import Axis, Map, Record, whole_number
from audiostride.layers.dry_run.sized_layers import sized_forward
from audiostride.layers.dry_run.sized_tensor import SizedTensor, first_sized


class DryRun(Record):
    """What happens when a network gets an input of some shape, at its present strides.

    Args:
        network: any network of torch that takes one tensor and returns tensors. It is run in evaluation mode,
            and left as it was.
        shape: shape of the input without the batch, for example (1, 100, 64). All axes but the first count as
            axes of the input.
        whole: round all lengths to whole samples, as the network does.

    Attributes:
        inputs: the first tensor that each module got in its first call.
        outputs: the first tensor that each module returned in its first call.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int], whole: bool = False) -> None:
        super().__init__(whole)
        self.inputs: dict[nn.Module, Map] = {}
        self.outputs: dict[nn.Module, Map] = {}
        axes = (None, None, *(Axis(whole_number(n)) for n in shape[1:]))
        dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
        x = SizedTensor.of(torch.empty(1, *shape, dtype=dtype, device="meta"), axes, self)
        self.inputs[network] = x.map
        with torch.no_grad(), _in_evaluation(network), self._watching(network):
            output = network.forward(x)  # not as a call, which could be compiled: hooks of it do not run
        if (found := first_sized(output)) is not None:
            self.outputs[network] = found.map

    @contextmanager
    def _watching(self, network: nn.Module) -> Iterator[None]:
        """Note what goes into and comes out of each module, and put sizes in place of resampling."""

        def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._running.append(module)
            if module not in self.inputs and (found := first_sized(inputs)) is not None:
                self.inputs[module] = found.map

        def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self._running.pop()
            if module not in self.outputs and (found := first_sized(output)) is not None:
                self.outputs[module] = found.map

        handles: list[Any] = []
        replaced: list[nn.Module] = []
        try:
            for module in network.modules():
                handles.append(module.register_forward_pre_hook(before, prepend=True))
                handles.append(module.register_forward_hook(after))
                if (forward := sized_forward(module)) is not None:
                    module.forward = forward
                    replaced.append(module)
            self._running.append(network)
            yield
        finally:
            for handle in handles:
                handle.remove()
            for module in replaced:
                del module.forward


@contextmanager
def _in_evaluation(network: nn.Module) -> Iterator[None]:
    """Put all modules into evaluation mode for a while, without calling their `eval`."""
    training = {module: module.training for module in network.modules()}
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module, was in training.items():
            module.training = was
