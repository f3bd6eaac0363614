"""Layers of torch that downsample by a stride, and how a DiffStride layer takes the stride over."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from audiostride.layers.blur_pool import BlurPool1d
from audiostride.layers.diffstride import DiffStride1d, DiffStride2d, DiffStride3d, DiffStrideNd
from audiostride.layers.window import Window

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_DIFFSTRIDE = (DiffStride1d, DiffStride2d, DiffStride3d)


class StridedLayer(NamedTuple):
    """A layer with a stride that can be learned.

    Attributes:
        name: its name in the network.
        module: the layer: a convolution, the maximum of a window, or a low-pass (mean of a window, blur).
        dims: the axes with a stride above 1, from the end, negative.
        strides: their strides.
        extents: numbers of samples that a window spans along these axes.
        paddings: numbers of samples that are added at each end of these axes.
    """

    name: str
    module: nn.Module
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    extents: tuple[int, ...]
    paddings: tuple[int, ...]

    @property
    def is_pooling(self) -> bool:
        return not isinstance(self.module, _CONVOLUTIONS)

    @property
    def is_low_pass(self) -> bool:
        return not isinstance(self.module, (*_CONVOLUTIONS, *_MAXIMA))

    @property
    def is_pointwise(self) -> bool:
        """Whether it is a 1×1 convolution, which can change places with resampling."""
        if self.is_pooling:
            return False
        taps: Any = self.module.kernel_size
        return set(taps) == {1} and _paddings(self.module, len(taps)) == (0,) * len(taps)

    @property
    def pads_itself(self) -> bool:
        """Whether its class has a forward pass of its own, which may pad the input."""
        kinds = (*_CONVOLUTIONS, *_MAXIMA, *_AVERAGES)
        return type(self.module).forward not in [kind.forward for kind in kinds]

    @property
    def description(self) -> str:
        """Its type and its taps, such as "Conv2d 3×3"."""
        kind, taps = type(self.module).__name__, getattr(self.module, "kernel_size", None)
        if taps is None:
            return kind
        return f"{kind} {'×'.join(map(str, _per_axis(taps, _axes(self.module))))}"

    @property
    def all_strides(self) -> tuple[int, ...]:
        """Its strides along all its axes, also those of 1."""
        return tuple(self.stride_of(dim) for dim in range(min(-_axes(self.module), *self.dims), 0))

    def stride_of(self, dim: int) -> int:
        """Return the stride of an axis, 1 for one that it does not downsample."""
        return dict(zip(self.dims, self.strides, strict=True)).get(dim, 1)

    def spans(self, shape: Sequence[int]) -> bool:
        """Return whether a single window takes all samples of an axis of an input of this shape."""
        return not self.pads_itself and any(
            padding == 0 and extent >= shape[dim] > 1
            for dim, extent, padding in zip(self.dims, self.extents, self.paddings, strict=True)
        )


def strided_layers(network: nn.Module) -> Iterator[StridedLayer]:
    """Yield the layers of a network that have strides above 1, in the order of its modules.

    Classes that derive from those of torch count as well. So do layers that are called BlurPool1d, 2d or 3d,
    as they are in timm. The network itself is none of its layers.
    """
    for name, module in network.named_modules():
        axes = _axes(module)
        if name and axes and getattr(module, "stride", None) is not None:
            layer = _strided_layer(name, module, axes)
            if layer.dims:
                yield layer


def _axes(module: nn.Module) -> int:
    """Return along how many axes a layer can have strides, 0 if it is of no kind that is known."""
    for kinds in (_CONVOLUTIONS, _MAXIMA, _AVERAGES):
        for axes, kind in enumerate(kinds, 1):
            if isinstance(module, kind):
                return axes
    blur = re.fullmatch(r"BlurPool([123])d", type(module).__name__)
    return int(blur[1]) if blur else 0


def _strided_layer(name: str, module: nn.Module, axes: int) -> StridedLayer:
    all_dims = (module.dim,) if isinstance(module, BlurPool1d) else tuple(range(-axes, 0))
    taps = _per_axis(getattr(module, "kernel_size", 1), axes)
    dilation = _per_axis(getattr(module, "dilation", 1), axes)
    extents = [1 + (k - 1) * d for k, d in zip(taps, dilation, strict=True)]
    of_axes = zip(all_dims, _per_axis(module.stride, axes), extents, _paddings(module, axes), strict=True)
    of_strided = [values for values in of_axes if values[1] > 1]
    dims, strides, spans, paddings = zip(*of_strided, strict=True) if of_strided else ((), (), (), ())
    return StridedLayer(name, module, dims, strides, spans, paddings)


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values if len(values) == axes else values * axes


def _paddings(module: nn.Module, axes: int) -> tuple[int, ...]:
    padding: Any = module.padding if isinstance(module, (*_CONVOLUTIONS, *_MAXIMA, *_AVERAGES)) else 0
    return _per_axis(0 if isinstance(padding, str) else padding, axes)


def diffstride_like(layer: StridedLayer, window: Window, shared: bool) -> DiffStrideNd:
    """Return a DiffStride layer with the strides of a layer, for the axes that it downsamples."""
    new = _DIFFSTRIDE[len(layer.dims) - 1](layer.strides, window=window, shared=shared)
    new.dims = layer.dims
    return new


def take_stride_over(network: nn.Module, layer: StridedLayer, diffstride: DiffStrideNd) -> Callable[[], None]:
    """Let a DiffStride layer downsample in place of a layer of a network. Return a function that undoes this.

    A low-pass is replaced altogether. Other layers stay, with a stride of 1 and with the DiffStride layer as
    their part `diffstride`, which resamples their output. A 1×1 convolution gets its input resampled instead:
    this gives the same numbers with less work.

    Windows that do not overlap begin at every sample. For the last ones the input is continued, by zeros for
    a convolution and by −∞ for a maximum, so an axis of N samples keeps N of them until it is resampled.
    """
    if layer.is_low_pass:
        return _put_in_place(network, layer.module, diffstride)
    module: Any = layer.module
    stride = module.stride
    module.stride = (1,) * len(stride) if isinstance(stride, tuple) else 1
    module.diffstride = diffstride
    handles = []
    if layer.is_pointwise:
        handles.append(module.register_forward_pre_hook(_resample_input))
    else:
        if (missing := _missing_samples(layer)) is not None:
            value = 0.0 if isinstance(module, _CONVOLUTIONS) else -inf
            handles.append(module.register_forward_pre_hook(partial(_continue_input, missing, value)))
        handles.append(module.register_forward_hook(_resample_output))

    def undo() -> None:
        for handle in handles:
            handle.remove()
        del module.diffstride
        module.stride = stride

    return undo


def _put_in_place(network: nn.Module, old: nn.Module, new: nn.Module) -> Callable[[], None]:
    """Replace a module wherever it is in a network. Return a function that undoes this."""
    new.training = old.training
    places = [
        (parent, name)
        for parent in network.modules()
        for name, child in parent._modules.items()
        if child is old
    ]
    for parent, name in places:
        parent._modules[name] = new

    def undo() -> None:
        for parent, name in places:
            parent._modules[name] = old

    return undo


def _missing_samples(layer: StridedLayer) -> tuple[int, ...] | None:
    """Return what `torch.nn.functional.pad` adds so that a window begins at every sample, or None.

    It adds nothing to windows that overlap: their lengths at stride 1 fit their lengths before.
    """
    if layer.pads_itself or getattr(layer.module, "padding_mode", "zeros") != "zeros":
        return None
    missing = {
        dim: max(0, extent - 1 - 2 * padding) if extent <= stride else 0
        for dim, stride, extent, padding in zip(
            layer.dims, layer.strides, layer.extents, layer.paddings, strict=True
        )
    }
    amounts = [amount for dim in range(-1, min(layer.dims) - 1, -1) for amount in (0, missing.get(dim, 0))]
    return tuple(amounts) if any(amounts) else None


# The hooks are functions of this module, so that networks can be pickled and copied.


def _continue_input(
    amounts: tuple[int, ...], value: float, module: nn.Module, inputs: tuple[Any, ...]
) -> tuple[Any, ...]:
    return functional.pad(inputs[0], amounts, value=value), *inputs[1:]


def _resample_input(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    diffstride: Any = module.diffstride
    return diffstride(inputs[0]), *inputs[1:]


def _resample_output(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    diffstride: Any = module.diffstride
    resampled: Tensor = diffstride(output)
    return resampled
