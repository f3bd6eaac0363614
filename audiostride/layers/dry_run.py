"""Sizes and cost of any network, and their derivatives by its learned strides, without computing it.

A dry run sends a tensor without values through a network. Each of its axes carries a real-valued length: what
the axis would have if lengths were not rounded to whole samples. So costs become smooth functions of strides.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from audiostride.layers.conv_downsample import ConvDownsample, LowPass
from audiostride.layers.diffstride import DiffStrideNd
from audiostride.layers.kernels.costs import fourier_pays
from audiostride.layers.spectral_pool import SpectralPoolNd
from audiostride.layers.window import Window

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


class DryRun:
    """What happens when a network gets an input of some shape, at its present strides.

    Args:
        network: any network of torch that takes one tensor and returns tensors. It is run in evaluation mode,
            and left as it was.
        shape: shape of the input without the batch, for example (1, 100, 64). All axes but the first count as
            axes of the input.
        whole: round all lengths to whole samples, as the network does.

    Attributes:
        operations: what costs multiply-accumulates, in order.
        inputs: the first tensor that each module got in its first call.
        outputs: the first tensor that each module returned in its first call.
        steps: what downsamples an axis.
        merges: pairs of `Axis.steps` of axes that were combined, by addition or concatenation.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int], whole: bool = False) -> None:
        self.whole = whole
        self.operations: list[Operation] = []
        self.inputs: dict[nn.Module, Map] = {}
        self.outputs: dict[nn.Module, Map] = {}
        self.steps: list[Step] = []
        self.merges: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self._running: list[nn.Module] = []
        self._learning = torch.is_grad_enabled()
        axes = (None, None, *(Axis(_number(n)) for n in shape[1:]))
        dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
        x = _Sized.of(torch.empty(1, *shape, dtype=dtype, device="meta"), axes, self)
        self.inputs[network] = x.map
        with torch.no_grad(), _in_evaluation(network), self._watching(network):
            output = network.forward(x)  # not as a call, which could be compiled: hooks of it do not run
        if (found := _first(output)) is not None:
            self.outputs[network] = found.map

    def macs(self) -> Tensor:
        """Return all multiply-accumulates for one example, a scalar tensor in float64."""
        return _total([operation.macs for operation in self.operations])

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

    @contextmanager
    def _watching(self, network: nn.Module) -> Iterator[None]:
        """Note what goes into and comes out of each module, and put sizes in place of resampling."""

        def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._running.append(module)
            if module not in self.inputs and (found := _first(inputs)) is not None:
                self.inputs[module] = found.map

        def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self._running.pop()
            if module not in self.outputs and (found := _first(output)) is not None:
                self.outputs[module] = found.map

        handles: list[Any] = []
        replaced: list[nn.Module] = []
        try:
            for module in network.modules():
                handles.append(module.register_forward_pre_hook(before, prepend=True))
                handles.append(module.register_forward_hook(after))
                if (sized := _SIZED_FORWARD.get(_kind(module))) is not None:
                    module.forward = _bound(sized, module)
                    replaced.append(module)
            self._running.append(network)
            yield
        finally:
            for handle in handles:
                handle.remove()
            for module in replaced:
                del module.forward


class _Sized(Tensor):
    """A tensor without values, whose axes carry what `Axis` holds."""

    axes: tuple[Axis | None, ...]
    run: DryRun

    @classmethod
    def of(cls, x: Tensor, axes: Sequence[Axis | None], run: DryRun) -> Self:
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
        sources = [x for x in tree_leaves((args, kwargs)) if isinstance(x, _Sized)]
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

            def sized(x: Tensor) -> _Sized:
                with run.learning():
                    axes = _axes_of(x, name, origins, run, kernel, dilation)
                return cls.of(x, axes, run)

            result = tree_map_only(Tensor, sized, output)
            with run.learning():
                _count(name, operands, _first(result), run)
            return result


def _without_values(x: Tensor) -> Tensor:
    x = x.as_subclass(Tensor) if isinstance(x, _Sized) else x
    return x if x.is_meta else x.detach().to("meta")


def _first(values: Any) -> _Sized | None:
    return next((x for x in tree_leaves(values) if isinstance(x, _Sized)), None)


def _total(numbers: list[Tensor]) -> Tensor:
    return torch.stack(numbers).sum() if numbers else torch.zeros((), dtype=torch.float64)


def _dilation(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the dilation of a call of conv1d, conv2d or conv3d."""
    return kwargs.get("dilation", args[5] if len(args) > 5 else 1)


def _origins(
    name: str, sources: list[_Sized], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[_Sized]:
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


def _with_axis(x: _Sized, dim: int) -> _Sized:
    """Return a tensor with one axis more, of a single sample, in front of the axis `dim`."""
    dim = dim % (x.ndim + 1)
    return _Sized.of(x.as_subclass(Tensor).unsqueeze(dim), (*x.axes[:dim], None, *x.axes[dim:]), x.run)


def _without_axes(x: _Sized, dims: Sequence[int]) -> _Sized:
    """Return a tensor without some axes."""
    removed = {dim % x.ndim for dim in dims}
    kept = [axis for dim, axis in enumerate(x.axes) if dim not in removed]
    index = tuple(0 if dim in removed else slice(None) for dim in range(x.ndim))
    return _Sized.of(x.as_subclass(Tensor)[index], kept, x.run)


def _axes_of(
    x: Tensor, name: str, sources: Sequence[_Sized], run: DryRun, kernel: Sequence[int], dilation: Any
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


def _axis(x: Tensor, dim: int, name: str, known: list[tuple[int, Axis]], run: DryRun) -> Axis | None:
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


def _axes_of_view(x: Tensor, source: _Sized) -> list[Axis | None]:
    """Return the axes of a view: those that are as long and as far apart in memory as before."""
    before = source.as_subclass(Tensor)
    places = {
        (n, stride): axis
        for n, stride, axis in zip(before.shape, before.stride(), source.axes, strict=True)
        if n > 1
    }
    return [places.get(place) for place in zip(x.shape, x.stride(), strict=True)]


def _count(name: str, operands: Sequence[Tensor], output: _Sized | None, run: DryRun) -> None:
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


# What follows puts sizes in place of the layers that resample.


def real_length(window: Window, n: int, real: Tensor, stride: Tensor | float) -> Tensor:
    """Return `Window.output_length` without rounding, for an axis of n samples whose real length is `real`.

    Both agree where the real length is whole, up to the multiple that the window rounds up to, which is added
    as a constant. Its derivative is zero where the length is at a limit: all of n samples, or 2.
    """
    number = _value(stride)
    stride = torch.as_tensor(stride).double().cpu()
    if window.smoothness > 0 and window.ramp != "inside":
        stride = torch.maximum(stride, real / (real - 1))
    length = real / stride
    if window.ramp == "outside":
        length = length + 2 * window.smoothness
    elif window.ramp == "relative":
        length = length * (1 + 2 * window.smoothness)
    length = torch.minimum(real, length).clamp(min=2)
    if window.multiple == 1:
        return length
    exact = Window(window.smoothness, window.ramp).output_length(n, number)
    return length + (window.output_length(n, number) - exact)


class _Resampled(NamedTuple):
    """An axis before and after resampling."""

    dim: int
    n: int
    length: int
    before: Axis
    real: Tensor  # real length after

    def macs(self) -> Tensor:
        """Return the multiply-accumulates per line, by the form that the layer takes."""
        n, m = self.before.length, self.real
        if fourier_pays(self.n, self.length):
            return 1.25 * (n * n.log2() + m * m.log2())
        return n * m

    def after(self, step: int) -> Axis:
        ratio = self.n / self.length
        return Axis(self.real, self.before.field, self.before.jump * ratio, (*self.before.steps, step))


def _resampled(x: Map, dim: int, window: Window, stride: Tensor | float, run: DryRun) -> _Resampled | None:
    """Return what a stride does to an axis, or None if it stays as it is."""
    n, axis = x.shape[dim], x.axes[dim]
    if n < 2:
        return None
    axis = axis or Axis(_number(n))
    length = window.output_length(n, _value(stride))
    if window.smoothness == 0 and length == n:
        return None
    real = _number(length) if run.whole else real_length(window, n, axis.length, stride)
    return _Resampled(dim, n, length, axis, real)


def _number(value: float) -> Tensor:
    return torch.tensor(float(value), dtype=torch.float64)


def _value(stride: Tensor | float) -> float:
    return stride.item() if isinstance(stride, Tensor) else stride


def _replaced(x: Map, dim: int, length: int, axis: Axis) -> Map:
    shape, axes = list(x.shape), list(x.axes)
    shape[dim], axes[dim] = length, axis
    return Map(tuple(shape), tuple(axes))


def _values(x: Map) -> Tensor:
    return math.prod(x.shape) * x.ratio()


def _resample(layer: nn.Module, x: _Sized, window: Window, strides: Sequence[Tensor | float]) -> _Sized:
    """Return the sizes after a layer that resamples some axes, and add its cost."""
    run = x.run
    dims: Sequence[int] = layer.dims  # type: ignore[assignment]
    with run.learning():
        found = x.map
        changes = [
            change
            for dim, stride in zip(dims, strides, strict=True)
            if (change := _resampled(found, dim, window, stride, run)) is not None
        ]
        macs = torch.zeros((), dtype=torch.float64)
        for change in sorted(changes, key=lambda change: change.length / change.n):  # as in `pool_axes`
            macs = macs + change.macs() * _values(found) / change.before.length
            step = run.step("resample", change.dim, change.n / change.length)
            found = _replaced(found, change.dim, change.length, change.after(step))
        if changes:
            run.add(macs, _values(found))
    return _empty(x, found)


def _empty(x: _Sized, found: Map) -> _Sized:
    with torch._C.DisableTorchFunctionSubclass():
        return _Sized.of(torch.empty(found.shape, dtype=x.dtype, device="meta"), found.axes, x.run)


def _strides_of(layer: DiffStrideNd) -> Sequence[Tensor | float]:
    """Return the strides of a layer, as numbers if they have no values on their device."""
    return layer.host_strides if layer.stride.is_meta else list(layer.strides)


def _diffstride(layer: DiffStrideNd, x: _Sized) -> _Sized:
    with x.run.learning():  # outside of it, the strides would lose their gradient without an error
        strides = _strides_of(layer)
    return _resample(layer, x, layer.window, strides)


def _spectral_pool(layer: SpectralPoolNd, x: _Sized) -> _Sized:
    return _resample(layer, x, layer.window, layer.stride)


def _conv_downsample(layer: ConvDownsample, x: _Sized) -> _Sized:
    n = x.shape[layer.dim]
    if not isinstance(layer.pool, LowPass) or not layer.is_fused(n):
        return layer.pool(layer.conv(x))
    run = x.run
    with run.learning():
        found = x.map
        (stride,) = _strides_of(layer.pool) if isinstance(layer.pool, DiffStrideNd) else layer.pool.stride
        change = _resampled(found, layer.dim, layer.pool.window, stride, run)
        assert change is not None
        taps, channels = layer.kernel_size, layer.conv.out_channels
        lines = _values(found) / change.before.length  # of all input channels
        macs = taps * lines * (change.macs() + channels * change.real)
        after = change.after(run.step("resample", layer.dim, change.n / change.length))
        after = after._replace(field=after.field + (taps - 1) * change.before.jump)
        shape, axes = list(found.shape), list(found.axes)
        shape[1] = channels
        found = _replaced(Map(tuple(shape), tuple(axes)), layer.dim, change.length, after)
        run.add(macs, _values(found))
    return _empty(x, found)


_SIZED_FORWARD: dict[type | None, Callable[..., _Sized]] = {
    DiffStrideNd: _diffstride,
    SpectralPoolNd: _spectral_pool,
    ConvDownsample: _conv_downsample,
}


def _kind(module: nn.Module) -> type | None:
    return next((kind for kind in _SIZED_FORWARD if kind and isinstance(module, kind)), None)


def _bound(sized: Callable[..., _Sized], module: nn.Module) -> Callable[[_Sized], _Sized]:
    return lambda x: sized(module, x)


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
