"""What layers that resample do to a tensor without values."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from audiostride.layers.conv_downsample import ConvDownsample, LowPass
from audiostride.layers.diffstride import DiffStrideNd
from audiostride.layers.dry_run.record import Axis, Map, Record, whole_number
from audiostride.layers.dry_run.sized_tensor import SizedTensor
from audiostride.layers.kernels.costs import fourier_macs, fourier_pays
from audiostride.layers.spectral_pool import SpectralPoolNd
from audiostride.layers.window import Window


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
        return fourier_macs(n, m) if fourier_pays(self.n, self.length) else n * m

    def after(self, step: int) -> Axis:
        ratio = self.n / self.length
        return Axis(self.real, self.before.field, self.before.jump * ratio, (*self.before.steps, step))


def _resampled(x: Map, dim: int, window: Window, stride: Tensor | float, run: Record) -> _Resampled | None:
    """Return what a stride does to an axis, or None if it stays as it is."""
    n, axis = x.shape[dim], x.axes[dim]
    if n < 2:
        return None
    axis = axis or Axis(whole_number(n))
    length = window.output_length(n, _value(stride))
    if window.smoothness == 0 and length == n:
        return None
    real = whole_number(length) if run.whole else _real_length(window, n, axis.length, stride)
    return _Resampled(dim, n, length, axis, real)


def _real_length(window: Window, n: int, real: Tensor, stride: Tensor | float) -> Tensor:
    """Return `Window.real_length`, plus what the multiple of the window adds to a whole length."""
    length = window.real_length(real, torch.as_tensor(stride).double().cpu())
    if window.multiple == 1:
        return length
    number = _value(stride)
    exact = Window(window.smoothness, window.ramp).output_length(n, number)
    return length + (window.output_length(n, number) - exact)


def _value(stride: Tensor | float) -> float:
    return stride.item() if isinstance(stride, Tensor) else stride


def _replaced(x: Map, dim: int, length: int, axis: Axis) -> Map:
    shape, axes = list(x.shape), list(x.axes)
    shape[dim], axes[dim] = length, axis
    return Map(tuple(shape), tuple(axes))


def _values(x: Map) -> Tensor:
    return math.prod(x.shape) * x.ratio()


def _resample(
    layer: nn.Module, x: SizedTensor, window: Window, strides: Sequence[Tensor | float]
) -> SizedTensor:
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


def _empty(x: SizedTensor, found: Map) -> SizedTensor:
    with torch._C.DisableTorchFunctionSubclass():
        return SizedTensor.of(torch.empty(found.shape, dtype=x.dtype, device="meta"), found.axes, x.run)


def _strides_of(layer: DiffStrideNd) -> Sequence[Tensor | float]:
    """Return the strides of a layer, as numbers if they have no values on their device."""
    return layer.host_strides if layer.stride.is_meta else list(layer.strides)


def _diffstride(layer: DiffStrideNd, x: SizedTensor) -> SizedTensor:
    with x.run.learning():  # outside of it, the strides would lose their gradient without an error
        strides = _strides_of(layer)
    return _resample(layer, x, layer.window, strides)


def _spectral_pool(layer: SpectralPoolNd, x: SizedTensor) -> SizedTensor:
    return _resample(layer, x, layer.window, layer.stride)


def _conv_downsample(layer: ConvDownsample, x: SizedTensor) -> SizedTensor:
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


_SIZED_FORWARD: dict[type, Callable[..., SizedTensor]] = {
    DiffStrideNd: _diffstride,
    SpectralPoolNd: _spectral_pool,
    ConvDownsample: _conv_downsample,
}


def sized_forward(module: nn.Module) -> Callable[[SizedTensor], SizedTensor] | None:
    """Return what takes the place of a module's `forward` in a dry run, or None if nothing does."""
    for kind, sized in _SIZED_FORWARD.items():
        if isinstance(module, kind):
            return partial(sized, module)
    return None
