"""What was replaced in a network, and what was kept and why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from audiostride.layers.diffstride import DiffStrideNd
from audiostride.layers.dry_run import DryRun, Step
from audiostride.layers.replacing.strided_layers import StridedLayer

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Replaced(NamedTuple):
    """A layer whose stride is learned now.

    Attributes:
        name: its name in the network.
        layer: what it was, such as "Conv2d 3×3".
        strides: its strides along all its axes, which are the initial ones now. Those of 1 stay 1.
        shared_with: names of the layers that have the same DiffStride layer.
    """

    name: str
    layer: str
    strides: tuple[int, ...]
    shared_with: tuple[str, ...]


class Kept(NamedTuple):
    """What downsamples or upsamples as before.

    Attributes:
        name: name of the layer in the network, or a function and where it is called.
        reason: why it was not replaced.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Replacements:
    """What `replace_strides` has done to a network. Printed, it is a list.

    Attributes:
        replaced: the layers whose strides are learned now, in the order of the network.
        kept: what downsamples or upsamples as before, and why.
    """

    replaced: tuple[Replaced, ...]
    kept: tuple[Kept, ...]

    def __str__(self) -> str:
        numbers = {entry.name: number for number, entry in enumerate(self.replaced)}
        rows = []
        for name, layer, strides, shared_with in self.replaced:
            first = min(shared_with, key=numbers.__getitem__, default=name)
            shares = numbers[first] < numbers[name]
            stride = f"stride {' × '.join(map(str, strides))}"
            rows.append((name, layer, stride, f"shared with {first}" if shares else ""))
        lines = [f"learned strides: {len(rows)} layers", *_aligned(rows)]
        if self.kept:
            lines += [f"kept: {len(self.kept)}", *_aligned(self.kept)]
        return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


def replacements(
    network: nn.Module,
    layers: Mapping[nn.Module, StridedLayer],
    diffstrides: Mapping[nn.Module, DiffStrideNd],
    reasons: Mapping[nn.Module, str],
    run: DryRun,
) -> Replacements:
    """Return what was replaced and kept in a network.

    Args:
        network: the network, after its strides were replaced.
        layers: the layers that had strides before, by module.
        diffstrides: what was put in place of some of them, by the same modules.
        reasons: why the others are kept.
        run: a dry run before the strides were replaced.
    """
    replaced = [
        _replaced(layers, diffstrides, diffstride, layer)
        for module, layer in layers.items()
        if (diffstride := diffstrides.get(module)) is not None
    ]
    kept = [Kept(layer.name, reasons[module]) for module, layer in layers.items() if module in reasons]
    return Replacements(tuple(replaced), (*kept, *dict.fromkeys(_others(network, layers, run))))


def _replaced(
    layers: Mapping[nn.Module, StridedLayer],
    diffstrides: Mapping[nn.Module, DiffStrideNd],
    diffstride: DiffStrideNd,
    layer: StridedLayer,
) -> Replaced:
    names = [layers[module].name for module, other in diffstrides.items() if other is diffstride]
    others = tuple(name for name in names if name != layer.name)
    return Replaced(layer.name, layer.description, layer.all_strides, others)


def _others(network: nn.Module, layers: Mapping[nn.Module, StridedLayer], run: DryRun) -> Iterator[Kept]:
    """Yield what downsamples or upsamples apart from strided layers."""
    names = {module: name for name, module in network.named_modules()}
    for step in run.steps:
        module = step.modules[-1]
        if layers.keys().isdisjoint(step.modules) and not _has_stride_1(module):
            yield _kept_step(step, names.get(module, ""))
    for module, name in names.items():
        if isinstance(module, _TRANSPOSED) and not _has_stride_1(module):
            yield Kept(name, "it upsamples")


def _has_stride_1(module: nn.Module) -> bool:
    """Return whether a layer has a stride, but only of 1; it may lose samples at the edges."""
    stride: Any = getattr(module, "stride", None)
    return isinstance(stride, int | tuple) and stride in (1, (1,), (1, 1), (1, 1, 1))


def _kept_step(step: Step, name: str) -> Kept:
    module = step.modules[-1]
    kind = type(module).__name__
    if isinstance(module, DiffStrideNd):
        return Kept(name, "it is a DiffStride layer already")
    if not name and getattr(module, "stride", None) is not None:
        return Kept(kind, "it is the network itself: put it into torch.nn.Sequential")
    if any(module.children()) or not name:
        return Kept(f"{step.operation} in {name or kind}", "the forward pass calls this function itself")
    if kind.startswith("Adaptive"):
        return Kept(name, "its output has a fixed size")
    return Kept(name, f"{kind} is not a kind of layer that is replaced")
