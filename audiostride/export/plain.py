"""A trained classifier as plain operations with constant strides, for exporters that see lengths as symbols.

`plain_classifier` copies a classifier and replaces the modules that choose their operations by the length of
their input: the frontend's Fourier transform and the layers that downsample. All other code is that of the
classifier. A test compares both, and so does every export.
"""

import copy
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import reduce
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiostride.frontends.log_mel import LogMel
from audiostride.frontends.waveform import as_float
from audiostride.layers import ConvDownsample, DiffStride1d, Window
from audiostride.layers.kernels.fused_convolution import along
from audiostride.layers.kernels.operators import per_tap_matrix
from audiostride.models.classifier import Classifier

# Name of the input, and the shortest and longest waveform in seconds.
WAVEFORM = "waveform"
SHORTEST_S, LONGEST_S = 0.1, 3600.0


def output_names(tasks: Sequence[str]) -> list[str]:
    """Return the name of each task's output: the task, with a suffix if the name is empty or taken.

    >>> output_names(["word", "waveform", ""])
    ['word', 'waveform_logits', 'logits']
    """
    names: list[str] = []
    for task in tasks:
        # Names of folders that are not UTF-8 have characters that a file cannot hold.
        name = task.encode(errors="replace").decode() or "logits"
        while name in names or name in (WAVEFORM, "spectrogram", "kept"):
            name += "_logits"
        names.append(name)
    return names


class PlainLogMel(nn.Module):
    """`LogMel` whose Fourier transform is a convolution with a windowed basis.

    Only the bins in mel channels are computed. ONNX Runtime takes 0.3 ms per second of sound for it, and
    0.8 ms for its own operator STFT. It is as accurate as torch's transform.

    Args:
        frontend: the frontend to copy.

    Shape:
        (batch, samples), floating point in [−1, 1] or int16, to (batch, samples // hop, mel_channels).
    """

    def __init__(self, frontend: LogMel) -> None:
        super().__init__()
        mel = frontend.mel
        self.hop, self.offset = frontend.hop, frontend.offset
        filters = mel.mel_scale.fb
        bins = filters.sum(1).nonzero()[:, 0]
        unused = (mel.n_fft - mel.win_length) // 2  # zeros around the window in each frame
        left, right = frontend.padding
        self.padding = (left - unused, right - (mel.n_fft - mel.win_length - unused))
        samples = torch.arange(mel.win_length, dtype=torch.float64)
        turns = torch.outer(bins.double(), samples) / mel.n_fft
        window = mel.spectrogram.window.double()
        basis = torch.cat([window * (2 * math.pi * turns).cos(), window * (2 * math.pi * turns).sin()])
        self.basis = nn.Buffer(basis.float().unsqueeze(1))
        self.filters = nn.Buffer(filters[bins].clone())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Stay in float32, as `LogMel` does, if the network becomes half precision."""
        return self

    def forward(self, waveform: Tensor) -> Tensor:
        padded = functional.pad(as_float(waveform).float(), self.padding).unsqueeze(1)
        real, imaginary = functional.conv1d(padded, self.basis, stride=self.hop).chunk(2, 1)
        power = real * real + imaginary * imaginary
        return (power.mT @ self.filters + self.offset).log()


class Resampling(nn.Module):
    """Low-pass and downsample one axis of a feature map by a constant stride, see `resampling_matrix`.

    Args:
        stride: stride ≥ 1.
        window: window of the axis.
        dim: −2 or −1.
        n: number of samples of the axis, ≥ 2, or None to compute the matrix from each input.
        taps: number of taps of a convolution, to apply the matrix as each tap sees the input, or None.
        keeps_length: low-pass alone, evaluated at all n samples.
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
    ) -> None:
        super().__init__()
        self.stride, self.window, self.dim = stride, window, dim
        self.taps, self.keeps_length = taps, keeps_length
        self.fixed = nn.Buffer(self._matrix(n).contiguous()) if n is not None else None

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4 and x.shape[1] == 1:  # a single channel makes torch.export guess about the length
            return self(x.squeeze(1)).unsqueeze(1)
        matrix = self.fixed if self.fixed is not None else self._matrix(x.shape[self.dim])
        torch._check(matrix.shape[0] * x.shape[0] != 0)
        matrix = matrix.to(x.dtype)
        return matrix @ x if self.dim == -2 else x @ matrix.mT

    def _matrix(self, n: int) -> Tensor:
        n_exact = torch.scalar_tensor(n, dtype=torch.float64)
        stride = self._usable_stride(n_exact)
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
        matrix = (fourier_table(points, bins) * weights.repeat(2)) @ fourier_table(n, bins).mT
        return per_tap_matrix(matrix / n_exact.float(), self.taps)

    # What follows are the methods of `Window`, for a length that is a tensor in float64.

    def _usable_stride(self, n: Tensor) -> Tensor:
        stride = torch.full_like(n, self.stride)
        if self.window.smoothness > 0 and self.window.ramp != "inside":
            return torch.maximum(stride, n / (n - 1))
        return stride

    def _output_length(self, n: Tensor, stride: Tensor) -> Tensor:
        length = n / stride
        if self.window.ramp == "outside":
            length = length + 2 * self.window.smoothness
        elif self.window.ramp == "relative":
            length = length + 2 * self.window.smoothness * n / stride
        length = torch.minimum(n, length).floor().clamp(min=2)
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


def fourier_table(points: int, bins: Tensor) -> Tensor:
    """Return `functional.fourier_table` in float32, for a number of points that may be a symbol."""
    count = torch.scalar_tensor(points, dtype=torch.int64)
    turns = torch.outer(torch.arange(points), bins) % count
    phase = turns.float() * (2 * math.pi / count.float())
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
        elif layer.kind in ("spectral", "diffstride"):
            window = layer.pool.window if isinstance(layer.pool, DiffStride1d) else Window(smoothness=0.0)
            taps = layer.kernel_size if self.fused else None
            keeps_all = stride == 1 and window.smoothness == 0
            self.pool = nn.Identity() if keeps_all else Resampling(stride, window, layer.dim, n, taps=taps)

    def forward(self, x: Tensor) -> Tensor:
        if not self.fused:
            return self.pool(self.conv(x))
        taps = self.conv.weight.shape[self.dim]
        return functional.conv2d(
            self.pool(x), self.conv.weight, self.conv.bias, stride=along(self.dim, taps, 1)
        )


class ShownSpectrograms(nn.Module):
    """Spectrograms for people to look at, from the normalised spectrogram that a classifier's network sees.

    "spectrogram" is the natural logarithm of the power plus the frontend's offset. "kept" is what the first
    layer's low-pass leaves of it, see `analysis.listen`; here each waveform is one window, however long.

    Args:
        classifier: the classifier; for "kept" it has spectral pooling or DiffStride.
        names: "spectrogram", "kept" or both.
        frames: number of frames of the spectrograms, or None if it may be any.

    Shape:
        (batch, time, mel) to a list of tensors of the same shape, one for each name.
    """

    def __init__(self, classifier: Classifier, names: Sequence[str], frames: int | None) -> None:
        super().__init__()
        window, (mean, deviation) = classifier.trunk.window, classifier.channel_statistics()
        self.mean, self.deviation = nn.Buffer(mean[0].clone()), nn.Buffer(deviation[0].clone())
        self.names = tuple(names)
        if "kept" in names:
            time, mel = classifier.trunk.strides[0].tolist()
            self.low_pass = nn.Sequential(
                Resampling(time, window, -2, frames, keeps_length=True),
                Resampling(mel, window, -1, classifier.frontend.mel_channels, keeps_length=True),
            )

    def forward(self, normalised: Tensor) -> list[Tensor]:
        shown = (self.low_pass(normalised) if name == "kept" else normalised for name in self.names)
        return [spectrogram * self.deviation + self.mean for spectrogram in shown]


class PlainClassifier(nn.Module):
    """A copy of a classifier in evaluation mode, for exporters; see the description of this module.

    Args:
        classifier: the classifier. It is not changed.
        samples: length of the waveforms in samples, or None if it may be any from 0.1 s.
        half: compute the network, but not the frontend, in half precision.
        also: names of `ShownSpectrograms` to return as well.

    Shape:
        (batch, samples), floating point in [−1, 1] or int16, to a dict: the logits (batch, classes) of each
        task in float32 under the name that `output_names` gives it, then the spectrograms of `also`.
    """

    def __init__(
        self,
        classifier: Classifier,
        samples: int | None = None,
        *,
        half: bool = False,
        also: Sequence[str] = (),
    ) -> None:
        super().__init__()
        plain = copy.deepcopy(classifier).eval().requires_grad_(False)
        frontend, frames = plain.frontend, None if samples is None else samples // plain.frontend.hop
        self.any_length = samples is None
        self.names = [*output_names(list(classifier.labels)), *also]
        self.shown = ShownSpectrograms(classifier, also, frames)
        usual = round(classifier.window_s * classifier.sample_rate) // frontend.hop
        usual_sizes = plain.trunk.sizes(frames or usual, frontend.mel_channels)
        plain.frontend = PlainLogMel(frontend)  # type: ignore[assignment]
        for block, (time, mel) in zip(plain.trunk.separable_blocks(), usual_sizes, strict=False):
            fixed = None if frames is None else time
            block.time = PlainDownsample(block.time, fixed, time)  # type: ignore[assignment]
            block.frequency = PlainDownsample(block.frequency, mel, mel)  # type: ignore[assignment]
        self.classifier = plain.half() if half else plain
        self.classifier.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        spectrogram = self.classifier.spectrogram(waveform)
        if self.any_length:
            frames = spectrogram.shape[2]
            length = torch.scalar_tensor(frames, dtype=torch.int64)
            spectrogram = spectrogram.narrow(2, 0, as_symbol(length, 10, frames))
        logits = [values.float() for values in self.classifier.classify(spectrogram).values()]
        return dict(zip(self.names, [*logits, *self.shown(spectrogram[:, 0].float())], strict=True))


def exported_program(
    plain: PlainClassifier, sample_rate: int, samples: int | None = None, int16: bool = False
) -> torch.export.ExportedProgram:
    """Return the operations of a plain classifier, for any batch.

    Args:
        plain: the plain classifier.
        sample_rate: sample rate in Hz.
        samples: length of the waveforms in samples, or None for any from 0.1 s to an hour.
        int16: take int16 samples instead of float32.
    """
    example = torch.zeros(2, samples or sample_rate, dtype=torch.int16 if int16 else torch.float32)
    shortest, longest = round(SHORTEST_S * sample_rate), round(LONGEST_S * sample_rate)
    dims = {0: torch.export.Dim("batch", min=1, max=65536)}
    if samples is None:
        dims[1] = torch.export.Dim("samples", min=shortest, max=longest)
    return torch.export.export(plain, (example,), dynamic_shapes=(dims,), strict=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what the exporters of torch and ONNX print and warn of: users can do nothing about it."""
    silent = logging.NullHandler()
    disabled = logging.root.manager.disable
    logging.root.addHandler(silent)  # without a handler, logging.warning would add one that stays
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        logging.root.removeHandler(silent)
