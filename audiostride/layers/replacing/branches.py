"""Which strided layers must share one stride, because their branches meet again."""

from collections.abc import Hashable, Iterable, Mapping, Sequence

from torch import nn

from audiostride.layers.dry_run import DryRun
from audiostride.layers.replacing.strided_layers import StridedLayer


class Branches:
    """Groups of layers with one stride, and reasons for which layers cannot be replaced.

    Two chains of steps meet where feature maps are added or concatenated. Their common beginning has made
    both equally long. Of the rest, the first step of one chain belongs to the first of the other, and so on:
    each such pair needs one stride.

    Args:
        layers: the strided layers of a network, by module.
        together: further groups of layers that need one stride.
        reasons: why some layers are kept in any case, by module.
        run: a dry run of the network.
        names: names of modules, for reasons.

    Attributes:
        reasons: why layers are kept, by module: those given, and those found.
    """

    def __init__(
        self,
        layers: Mapping[nn.Module, StridedLayer],
        together: Iterable[Sequence[StridedLayer]],
        reasons: Mapping[nn.Module, str],
        run: DryRun,
        names: Mapping[nn.Module, str],
    ) -> None:
        self.reasons = dict(reasons)
        self._layers, self._run, self._names = layers, run, names
        self._leaders: dict[Hashable, Hashable] = {}
        for first, *others in together:
            for other in others:
                self._unite(first.module, other.module)
        for chains in dict.fromkeys(run.merges):
            self._meet(*self._rest(*chains))
        for group in self._groups():
            self._keep_together(group)

    def replaceable(self) -> list[list[StridedLayer]]:
        """Return the groups of layers that can be replaced, each in the order of the network."""
        groups = [
            [self._layers[member] for member in group if isinstance(member, nn.Module)]
            for group in self._groups()
        ]
        return [
            group for group in groups if group and not any(layer.module in self.reasons for layer in group)
        ]

    def _meet(self, first: Sequence[int], second: Sequence[int]) -> None:
        """Note what follows from two chains of steps that lead to equal lengths."""
        steps = self._run.steps
        if len(first) != len(second):
            self._keep(first, f"its branch meets one that {self._downsampled_by(second)}")
            self._keep(second, f"its branch meets one that {self._downsampled_by(first)}")
            return
        for a, b in zip(first, second, strict=True):
            self._unite(self._owner(a), self._owner(b))
            strides = {self._stride(a), self._stride(b)} - {None}
            if len(strides) > 1 or steps[a].axis != steps[b].axis:
                self._keep([a], f"its branch meets one that {self._downsampled_by([b])}")
                self._keep([b], f"its branch meets one that {self._downsampled_by([a])}")

    def _rest(self, first: Sequence[int], second: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """Return two chains of steps without their common beginning."""
        common = 0
        for a, b in zip(first, second, strict=False):
            if self._place(a) != self._place(b):
                break
            common += 1
        return first[common:], second[common:]

    def _place(self, step: int) -> tuple[Hashable, int]:
        """Return what is equal for steps of one stride: their group and their axis."""
        return self._leader(self._owner(step)), self._run.steps[step].axis

    def _owner(self, step: int) -> Hashable:
        """Return the strided layer that a step is part of, or the number of the step."""
        modules = reversed(self._run.steps[step].modules)
        return next((module for module in modules if module in self._layers), step)

    def _stride(self, step: int) -> int | None:
        """Return the stride of a layer's step, None for a step of something else."""
        owner, axis = self._owner(step), self._run.steps[step].axis
        return self._layers[owner].stride_of(axis) if isinstance(owner, nn.Module) else None

    def _downsampled_by(self, chain: Sequence[int]) -> str:
        """Say what downsamples a branch."""
        names = list(dict.fromkeys(self._describe(step) for step in chain))
        return f"is downsampled by {' and '.join(names)}" if names else "is not downsampled"

    def _describe(self, step: int) -> str:
        owner = self._owner(step)
        if isinstance(owner, nn.Module):
            return f"{self._layers[owner].name} (stride {self._stride(step)})"
        found = self._run.steps[step]
        module = found.modules[-1]
        return f"{found.operation} in {self._names.get(module) or type(module).__name__}"

    def _keep(self, chain: Sequence[int], reason: str) -> None:
        for step in chain:
            owner = self._owner(step)
            if isinstance(owner, nn.Module):
                self.reasons.setdefault(owner, reason)

    def _keep_together(self, group: Sequence[Hashable]) -> None:
        """Keep all layers of a group if one of them is kept, or if it has a step that is not of a layer."""
        modules = [member for member in group if isinstance(member, nn.Module)]
        kept = [f"{self._layers[module].name}, which is kept" for module in modules if module in self.reasons]
        kept += [f"{self._describe(step)}, which is kept" for step in group if isinstance(step, int)]
        layers = [self._layers[module] for module in modules]
        if len({(layer.dims, layer.strides) for layer in layers}) > 1:
            kept += [f"{layers[0].name}, but they downsample different axes"]
        for module in modules:
            if kept:
                self.reasons.setdefault(module, f"its branch meets that of {kept[0]}")

    def _groups(self) -> list[list[Hashable]]:
        """Return all groups, also those of a single layer, in the order of the network."""
        groups: dict[Hashable, list[Hashable]] = {}
        for member in dict.fromkeys([*self._layers, *self._leaders]):
            groups.setdefault(self._leader(member), []).append(member)
        return list(groups.values())

    def _leader(self, member: Hashable) -> Hashable:
        while (leader := self._leaders.get(member, member)) != member:
            member = leader
        return member

    def _unite(self, a: Hashable, b: Hashable) -> None:
        first, second = self._leader(a), self._leader(b)
        self._leaders.setdefault(first, first)
        self._leaders[second] = first
