"""Layers of plain operations with constant strides, for exporters that see lengths as symbols."""

import math
from functools import reduce
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiostride.layers import ConvDownsample, Window
from audiostride.layers.conv_downsample import LowPass
from audiostride.layers.diffstride import DiffStrideNd
from audiostride.layers.kernels.fused_convolution import along
from audiostride.layers.kernels.operators import per_tap_matrix
from audiostride.layers.spectral_pool import SpectralPoolNd
from audiostride.models.trunk import Trunk, size_of

# Two numbers in float32 whose sum is 2π to 1e-11.
_TURN = (6.28125, 2 * math.pi - 6.28125)


class Resampling(nn.Module):
    """Low-pass and downsample one axis of a feature map by a constant stride, see `resampling_matrix`.

    Args:
        stride: stride ≥ 1.
        window: window of the axis.
        dim: −2 or −1.
        n: number of samples of the axis, or None to compute the matrix from each input, of 2 samples or more.
        taps: number of taps of a convolution, to apply the matrix as each tap sees the input, or None.
        keeps_length: low-pass alone, evaluated at all n samples.
        factored: for −2 and any length, transform the axis to its DFT bins and back, instead of building the
            matrix from both: fewer multiplications, unless the axis is shorter than there are lines.
    """

    def __init__(
        self,
        stride: float,
        window: Window,
        dim: int,
        n: int | None,
        *,
        taps: int | None = None,
        keeps_length: bool = False,
        factored: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.window, self.dim = stride, window, dim
        self.taps, self.keeps_length, self.factored = taps, keeps_length, factored
        self.fixed = nn.Buffer(self._matrix(n).contiguous()) if n is not None else None

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4 and x.shape[1] == 1:  # a single channel makes torch.export guess about the length
            return self(x.squeeze(1)).unsqueeze(1)
        if self.fixed is None and self.factored:
            synthesis, analysis = self._factors(x.shape[self.dim])
            return (synthesis @ (analysis @ x.float())).to(x.dtype)
        matrix = self.fixed if self.fixed is not None else self._matrix(x.shape[self.dim])
        torch._check(matrix.shape[0] * x.shape[0] != 0)
        matrix = matrix.to(x.dtype)
        return matrix @ x if self.dim == -2 else x @ matrix.mT

    def _matrix(self, n: int) -> Tensor:
        if isinstance(n, int) and n < 2:  # such an axis stays as it is
            return per_tap_matrix(torch.ones(n, n), self.taps)
        synthesis, analysis = self._factors(n)
        return per_tap_matrix(synthesis @ analysis, self.taps)

    def _factors(self, n: int) -> tuple[Tensor, Tensor]:
        """Return (points, 2 · bins) and (2 · bins, n), whose product is the matrix."""
        n_exact = torch.scalar_tensor(n, dtype=torch.float64)
        stride = self.window.real_stride(n_exact, torch.full_like(n_exact, self.stride))
        length_exact = self._output_length(n_exact, stride)
        length = as_symbol(length_exact, 2, n)
        bins = torch.arange(length // 2 + 1)
        # The Nyquist bin of an even axis that is kept whole stands for itself alone, as DC does.
        once = (bins == 0) | (2 * bins == n_exact.long())
        weights = torch.where(once, 1.0, 2.0)
        if self.window.smoothness > 0:
            begin, width = self._edges(n_exact, stride, length_exact)
            weights = weights * ((begin + width - bins) / width).clamp(0, 1).float()
        points = as_symbol(n_exact, 2, n) if self.keeps_length else length
        synthesis = fourier_table(points, bins) * (weights / n_exact.float()).repeat(2)
        return synthesis, fourier_table(n, bins).mT

    # What follows are the methods of `Window`, for a length that is a tensor in float64.

    def _output_length(self, n: Tensor, stride: Tensor) -> Tensor:
        length = self.window.real_length(n, stride).floor()
        if self.window.multiple > 1:
            length = (length / self.window.multiple).ceil() * self.window.multiple
        return torch.minimum(n, length)

    def _edges(self, n: Tensor, stride: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        cutoff = n / (2 * stride)
        width = torch.full_like(n, self.window.smoothness)
        if self.window.ramp == "inside":
            width = torch.minimum(width, length / 4)
            if self.window.multiple > 1:
                width = torch.minimum(width, cutoff + 0.5)
            return cutoff + 0.5 - width, width
        return cutoff, width * n / stride if self.window.ramp == "relative" else width


def as_symbol(length: Tensor, at_least: int, at_most: int) -> int:
    """Return a length as a number. In an export it is a new symbol, so that nothing is assumed about it.

    torch.export refuses a model if any of its branches depends on a length that is made of other symbols.

    Args:
        length: scalar tensor that holds a whole number.
        at_least: lower limit.
        at_most: upper limit.
    """
    symbol: int = length.long().item()  # type: ignore[assignment]
    torch._check(symbol >= at_least)
    torch._check(symbol <= at_most)
    return symbol


def first_frames(x: Tensor, frames: int) -> Tensor:
    """Return the first frames of (batch, channels, time). In an export of any length, their number is a new
    symbol, see `as_symbol`."""
    if isinstance(frames, torch.SymInt):
        frames = as_symbol(torch.scalar_tensor(frames, dtype=torch.int64), 2, x.shape[2])
    return x.narrow(2, 0, frames)


def fourier_table(points: int, bins: Tensor) -> Tensor:
    """Return `functional.fourier_table` in float32, for a number of points that may be a symbol."""
    count = torch.scalar_tensor(points, dtype=torch.int64)
    turns = torch.outer(torch.arange(points), bins) % count
    # torch's exporter to ONNX rounds every number to float32.
    turn = torch.full_like(count, _TURN[0], dtype=torch.float64) + _TURN[1]
    phase = (turns.double() * (turn / count)).float()
    return torch.cat([phase.cos(), phase.sin()], 1)


class StridedPool(nn.Module):
    """The maximum or average over windows of `ConvDownsample`, from slices: one for each place in a window.

    torch.export cannot tell the output length of torch's own pooling from a symbol.

    Args:
        kind: "max" or "average".
        stride: whole stride ≥ 2.
        dim: −2 or −1.
    """

    def __init__(self, kind: str, stride: int, dim: int) -> None:
        super().__init__()
        self.kind, self.stride, self.dim = kind, stride, dim
        self.size = max(3, stride + 1 - stride % 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "max":
            return reduce(torch.maximum, self._slices(x, -math.inf))
        ones = torch.ones_like(x[:1, :1])
        return reduce(torch.add, self._slices(x, 0.0)) / reduce(torch.add, self._slices(ones, 0.0))

    def _slices(self, x: Tensor, beyond: float) -> list[Tensor]:
        edge, n = self.size // 2, x.shape[self.dim]
        padding = (0, 0, edge, edge) if self.dim == -2 else (edge, edge)
        padded = functional.pad(x, padding, value=beyond)
        if self.dim == -2:
            return [padded[:, :, place : place + n : self.stride] for place in range(self.size)]
        return [padded[..., place : place + n : self.stride] for place in range(self.size)]


class PlainDownsample(nn.Module):
    """`ConvDownsample` with a constant stride.

    Args:
        layer: the layer to copy; its convolution is shared.
        n: number of samples of the axis, or None if it may be any.
        usual: number of samples for which the cheaper of two equal forms is chosen, see `fusing_pays`.
    """

    def __init__(self, layer: ConvDownsample, n: int | None, usual: int) -> None:
        super().__init__()
        self.conv, self.dim = layer.conv, layer.dim
        stride = layer.strides.item()
        self.fused = layer.is_fused(usual)
        self.pool = layer.pool
        if layer.kind in ("max", "average") and stride > 1:
            self.pool = StridedPool(layer.kind, int(stride), layer.dim)
        elif isinstance(layer.pool, LowPass):
            window = layer.pool.window
            taps = layer.kernel_size if self.fused else None
            self.pool = Resampling(stride, window, layer.dim, n, taps=taps)

    def forward(self, x: Tensor) -> Tensor:
        if not self.fused:
            return self.pool(self.conv(x))
        taps = self.conv.weight.shape[self.dim]
        return functional.conv2d(
            self.pool(x), self.conv.weight, self.conv.bias, stride=along(self.dim, taps, 1)
        )


def make_plain_(trunk: Trunk, size: tuple[int, int], fixed: bool) -> None:
    """Replace the layers of a network that choose their operations by the length of their input.

    Args:
        trunk: the network.
        size: (time, mel) of its input. If its length may be any, this is the size for which the cheaper of
            two equal forms is chosen.
        fixed: whether the input has always this many frames.
    """
    run = trunk.dry_run(*size, whole=True)
    done = ""
    for name, module in list(trunk.named_modules()):
        if (done and name.startswith(done)) or module not in run.inputs:
            continue
        time, mel = size_of(run.inputs[module].shape)
        plain = _plain_layer(module, time, mel, fixed)
        if plain is not None:
            trunk.set_submodule(name, plain)
            done = f"{name}."


def _plain_layer(module: nn.Module, time: int, mel: int, fixed: bool) -> nn.Module | None:
    """Return the plain form of a layer that needs one, for an input of this size."""
    if isinstance(module, ConvDownsample):
        usual = time if module.dim == -2 else mel
        return PlainDownsample(module, usual if fixed or module.dim == -1 else None, usual)
    if isinstance(module, DiffStrideNd | SpectralPoolNd):
        window = module.window
        lengths = {-2: time if fixed else None, -1: mel}
        return nn.Sequential(
            *(
                Resampling(stride, window, dim, lengths[dim])
                for dim, stride in zip(module.dims, module.strides.tolist(), strict=True)
                if stride > 1 or window.smoothness > 0
            )
        )
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        kind = "max" if isinstance(module, nn.MaxPool2d) else "average"
        strides = zip((-2, -1), cast(tuple[int, int], module.stride), strict=True)
        return nn.Sequential(*(StridedPool(kind, stride, dim) for dim, stride in strides if stride > 1))
    return None
