"""A tensor without values whose axes carry real-valued lengths, through the operations of torch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from audiostride.layers.dry_run.record import Axis, Map, Record

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_PRODUCTS = ("linear", "matmul", "bmm", "mm", "__matmul__")
# Operations that arrange the same numbers in another way.
_VIEWS = ("permute", "transpose", "movedim", "swapaxes", "squeeze", "unsqueeze", "flatten", "reshape", "view")
# Operations that change values alone. torch takes longer to find that out than for all other operations.
_ELEMENTWISE = ("batch_norm", "relu", "silu", "sigmoid", "gelu", "hardswish", "dropout", "dropout2d")
# Operations that may cut a piece out of an axis, and operations that put pieces together.
_CUTS = ("split", "tensor_split", "chunk", "narrow", "__getitem__")
_JOINS = ("cat", "concat", "concatenate")
# Operations that take an axis away, unless they are told to keep it with a single sample.
_REDUCTIONS = ("sum", "mean", "amax", "amin", "max", "min", "logsumexp", "prod")
# An operation that leaves less than this of an axis downsamples it. Others only lose samples at its edges.
_DOWNSAMPLED = 0.7


class SizedTensor(Tensor):
    """A tensor without values, whose axes carry what `Axis` holds."""

    axes: tuple[Axis | None, ...]
    run: Record

    @classmethod
    def of(cls, x: Tensor, axes: Sequence[Axis | None], run: Record) -> Self:
        sized = x.as_subclass(cls)
        sized.axes, sized.run = tuple(axes), run
        return sized

    @property
    def map(self) -> Map:
        with torch._C.DisableTorchFunctionSubclass():
            return Map(tuple(self.shape), self.axes)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        sources = [x for x in tree_leaves((args, kwargs)) if isinstance(x, SizedTensor)]
        name = getattr(func, "__name__", "")
        if name in _ELEMENTWISE and args and isinstance(args[0], cls):
            return args[0]
        with torch._C.DisableTorchFunctionSubclass():
            plain_args, plain_kwargs = tree_map_only(Tensor, _without_values, (args, kwargs or {}))
            output = func(*plain_args, **plain_kwargs)
            if not sources or not any(isinstance(x, Tensor) for x in tree_leaves(output)):
                return output
            run = sources[0].run
            operands = [x for x in tree_leaves((plain_args, plain_kwargs)) if isinstance(x, Tensor)]
            kernel = operands[1].shape[2:] if name in _CONVOLUTIONS else ()
            dilation = _dilation(args, kwargs or {}) if kernel else 1

            origins = _origins(name, sources, args, kwargs or {})

            def sized(x: Tensor) -> SizedTensor:
                with run.learning():
                    axes = _axes_of(x, name, origins, run, kernel, dilation)
                return cls.of(x, axes, run)

            result = tree_map_only(Tensor, sized, output)
            with run.learning():
                _count(name, operands, first_sized(result), run)
            return result


def _without_values(x: Tensor) -> Tensor:
    x = x.as_subclass(Tensor) if isinstance(x, SizedTensor) else x
    return x if x.is_meta else x.detach().to("meta")


def first_sized(values: Any) -> SizedTensor | None:
    """Return the first `SizedTensor` in any structure of values, or None if there is none."""
    return next((x for x in tree_leaves(values) if isinstance(x, SizedTensor)), None)


def _dilation(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the dilation of a call of conv1d, conv2d or conv3d."""
    return kwargs.get("dilation", args[5] if len(args) > 5 else 1)


def _origins(
    name: str, sources: list[SizedTensor], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[SizedTensor]:
    """Return the operands from which the axes of an operation's output come, with as many axes as it has."""
    second = args[1] if len(args) > 1 else None
    if name == "interpolate" and kwargs.get("size", second) is not None:
        return []  # the size is that of another feature map, or a constant
    dims = kwargs.get("dim", second)
    if name == "stack":
        return [_with_axis(source, dims or 0) for source in sources]
    keeps = kwargs.get("keepdim", args[2] if len(args) > 2 else False)
    if name not in _REDUCTIONS or isinstance(dims, Tensor) or dims is None or keeps:
        return sources
    return [_without_axes(sources[0], (dims,) if isinstance(dims, int) else dims)]


def _with_axis(x: SizedTensor, dim: int) -> SizedTensor:
    """Return a tensor with one axis more, of a single sample, in front of the axis `dim`."""
    dim = dim % (x.ndim + 1)
    return SizedTensor.of(x.as_subclass(Tensor).unsqueeze(dim), (*x.axes[:dim], None, *x.axes[dim:]), x.run)


def _without_axes(x: SizedTensor, dims: Sequence[int]) -> SizedTensor:
    """Return a tensor without some axes."""
    removed = {dim % x.ndim for dim in dims}
    kept = [axis for dim, axis in enumerate(x.axes) if dim not in removed]
    index = tuple(0 if dim in removed else slice(None) for dim in range(x.ndim))
    return SizedTensor.of(x.as_subclass(Tensor)[index], kept, x.run)


def _axes_of(
    x: Tensor, name: str, sources: Sequence[SizedTensor], run: Record, kernel: Sequence[int], dilation: Any
) -> list[Axis | None]:
    """Return the axes of an operation's output."""
    if name in _VIEWS:
        return _axes_of_view(x, sources[0])
    operands = [source for source in sources if source.ndim == x.ndim]
    axes: list[Axis | None] = []
    for dim in range(x.ndim):
        known = [(source.shape[dim], axis) for source in operands if (axis := source.axes[dim]) is not None]
        if name in _CUTS and known and x.stride(dim) == operands[0].stride(dim):
            axes.append(_piece(x.shape[dim], *known[0]))
        elif name in _JOINS and all(n < x.shape[dim] for n, _ in known):
            axes.append(_joined(x.shape[dim], known))
        else:
            axes.append(_axis(x, dim, name, known, run))
    for number, taps in enumerate(kernel):
        axis, dim = axes[2 + number], 2 + number
        if axis is not None:
            (before,) = [source.axes[dim] for source in operands[:1]]
            spread = dilation if isinstance(dilation, int) else dilation[number]
            jump = before.jump if before is not None else axis.jump
            axes[dim] = axis._replace(field=axis.field + (taps - 1) * spread * jump)
    return axes


def _axis(x: Tensor, dim: int, name: str, known: list[tuple[int, Axis]], run: Record) -> Axis | None:
    """Return an axis of the output x of an operation, from what is known about its operands there."""
    n = x.shape[dim]
    same = [axis for before, axis in known if before == n]
    if same:
        first = same[0]
        run.merges += [(first.steps, other.steps) for other in same[1:] if other.steps != first.steps]
        return first._replace(field=max(axis.field for axis in same))
    longer = [(before, axis) for before, axis in known if before > 1]
    if n < 2 or not longer:
        return None
    before, axis = longer[0]
    # The whole numbers around which a real-valued length moves, and by what part of it.
    length = n + (axis.length - before) * (n / before)
    if n > _DOWNSAMPLED * before:
        return axis._replace(length=length)
    step = run.step(name, dim - x.ndim, before / n)
    return Axis(length, axis.field, axis.jump * before / n, (*axis.steps, step))


def _piece(n: int, before: int, axis: Axis) -> Axis:
    """Return a piece of n samples of an axis, whose samples are as far apart as before."""
    return axis._replace(length=axis.length * (n / before))


def _joined(n: int, known: list[tuple[int, Axis]]) -> Axis | None:
    """Return an axis of n samples that consists of pieces, of which some are known."""
    if not known:
        return None
    beyond_whole = torch.stack([axis.length - before for before, axis in known]).sum()
    return known[0][1]._replace(length=n + beyond_whole, field=max(axis.field for _, axis in known))


def _axes_of_view(x: Tensor, source: SizedTensor) -> list[Axis | None]:
    """Return the axes of a view: those that are as long and as far apart in memory as before."""
    before = source.as_subclass(Tensor)
    places = {
        (n, stride): axis
        for n, stride, axis in zip(before.shape, before.stride(), source.axes, strict=True)
        if n > 1
    }
    return [places.get(place) for place in zip(x.shape, x.stride(), strict=True)]


def _count(name: str, operands: Sequence[Tensor], output: SizedTensor | None, run: Record) -> None:
    """Add the cost of an operation."""
    if output is None:
        return
    found, numel = output.map, output.as_subclass(Tensor).numel()
    per_value: float
    if name in _CONVOLUTIONS:
        per_value = operands[1][0].numel()
    elif name in _TRANSPOSED:
        numel_in, weight = operands[0].numel(), operands[1]
        per_value = numel_in * weight[0].numel() / numel
    elif name in _PRODUCTS:
        per_value = operands[0].shape[-1]
    elif name == "scaled_dot_product_attention":
        query, key, value = operands[:3]
        per_value = key.shape[-2] * (query.shape[-1] + value.shape[-1]) / value.shape[-1]
    else:
        return
    values = numel * found.ratio()
    run.add(values * per_value, values)
