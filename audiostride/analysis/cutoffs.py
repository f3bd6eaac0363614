"""Cut-off frequencies of strides: Hz of modulation over time, cycles per mel channel over frequency."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import librosa
import torch
from torch import Tensor

from audiostride.frontends.log_mel import LogMel
from audiostride.layers.functional import cutoff_mask
from audiostride.layers.window import Window, as_window
from audiostride.models.classifier import Classifier

# In the order of strides and of the axes of feature maps.
AXES = ("time", "frequency")
UNITS = ("Hz", "cycles/mel")
LONG_UNITS = ("Hz of modulation", "cycles per mel channel")


@dataclass(frozen=True)
class Cutoffs:
    """The edges of a low-pass window, in the unit of the sample rate (per second or per mel channel).

    An edge above the Nyquist frequency of the axis does not exist and is None.

    Attributes:
        pass_band: highest frequency at which the window is 1; rate / (2 S) for the paper's window.
        pass_band_on_grid: frequency of the highest DFT bin in the pass band, floor(N / (2 S)) · rate / N for
            the paper's window. Table 2 of Riad et al. 2022 lists it.
        half_amplitude: frequency at which the window is 1/2.
        stop_band: lowest frequency at which the window is 0.
    """

    pass_band: float
    pass_band_on_grid: float
    half_amplitude: float | None
    stop_band: float | None


def cutoffs(n: int, stride: float, smoothness: float | Window, rate: float) -> Cutoffs:
    """Return the edges of the low-pass window that a stride places on an axis.

    Args:
        n: length of the axis at the layer's input, in samples.
        stride: stride of the axis, ≥ 1.
        smoothness: width of the ramp in DFT bins for the paper's window, or a `Window`.
        rate: samples per unit at the layer's input. For the first layer this is 100 frames per second over
            time, and 1 per mel channel over frequency.

    >>> cutoffs(100, stride=2.0, smoothness=4.0, rate=100.0)  # one second of a spectrogram
    Cutoffs(pass_band=25.0, pass_band_on_grid=25.0, half_amplitude=27.0, stop_band=29.0)
    """
    window = as_window(smoothness)
    pass_band, width = _edges(n, stride, window) if window.smoothness else (n / (2 * stride), 0.0)

    def edge(bins: float) -> float | None:
        return bins * rate / n if bins <= n / 2 else None

    return Cutoffs(
        pass_band * rate / n,
        # The small number keeps floating-point errors from rounding a whole bin down.
        math.floor(pass_band + 1e-6) * rate / n,
        edge(pass_band + width / 2),
        edge(pass_band + width),
    )


def gains(n: int, stride: float, smoothness: float | Window) -> Tensor:
    """Return the gain of a layer's low-pass at each DFT bin of an axis.

    Args:
        n: length of the axis at the layer's input, in samples.
        stride: stride of the axis, ≥ 1.
        smoothness: width of the ramp in DFT bins for the paper's window, or a `Window`.

    Returns:
        (n // 2 + 1,) in float64, from 0 to 1. Bins that do not exist at the layer's output are 0.

    >>> gains(16, stride=2.0, smoothness=4.0)
    tensor([1.0000, 1.0000, 1.0000, 1.0000, 1.0000, 0.7500, 0.5000, 0.2500, 0.0000],
           dtype=torch.float64)
    """
    window = as_window(smoothness)
    bins = torch.arange(n // 2 + 1, dtype=torch.float64)
    mask = torch.ones_like(bins)
    if window.smoothness:
        begin, width = _edges(n, stride, window)
        mask = cutoff_mask(bins, torch.tensor(begin, dtype=torch.float64), width)
    return torch.where(bins <= window.output_length(n, stride) // 2, mask, 0.0)


def _edges(n: int, stride: float, window: Window) -> tuple[float, float]:
    """Return where the ramp begins and how wide it is, in DFT bins."""
    return window.edges(n, window.usable_stride(n, stride), window.output_length(n, stride))


def has_low_pass(classifier: Classifier) -> bool:
    """Return whether the classifier's layers have a low-pass window in the Fourier domain."""
    return classifier.trunk.downsampling in ("spectral", "diffstride")


def octaves_per_channel(frontend: LogMel, around_hz: float) -> float:
    """Return the distance in octaves between neighbouring mel channels around a frequency.

    Raises:
        ValueError: if the frequency is outside the range of the mel channels.
    """
    low, high = frontend.configuration()["f_min"], frontend.configuration()["f_max"]
    if not low <= around_hz <= high:
        raise ValueError(f"mel channels reach from {low:g} to {high:g} Hz, not to {around_hz:g} Hz")
    low_mel, mel, high_mel = librosa.hz_to_mel([low, around_hz, high], htk=True)
    half = (high_mel - low_mel) / (frontend.mel_channels + 1) / 2
    below, above = librosa.mel_to_hz([mel - half, mel + half], htk=True)
    return math.log2(above / below)


def stride_table(
    classifier: Classifier, frames: int = 100, around_hz: float = 1000.0
) -> list[dict[str, Any]]:
    """Return the strides and cut-offs of a classifier, one row per layer and axis.

    Strided convolution and pooling have strides but no low-pass window, so their edges are None.

    Args:
        classifier: a classifier, trained or not.
        frames: length of the input spectrogram, 100 frames per second.
        around_hz: frequency at which cycles per mel channel are converted to cycles per octave. Mel channels
            are closer together, in octaves, at high frequencies.

    Returns:
        Rows with layer, axis, stride, effective_stride (input length / output length), input_length,
        output_length, rate (samples per unit at the layer's input), unit, the edges of `Cutoffs`,
        cumulated_pass_band (the lowest pass_band up to this layer: all of these layers pass lower frequencies
        unchanged), and for the frequency axis cycles_per_octave (the pass band around `around_hz`).

    Raises:
        ValueError: if `around_hz` is outside the range of the mel channels.

    >>> row = stride_table(Classifier({"word": ["yes", "no"]}))[0]
    >>> row["layer"], row["axis"], row["stride"], row["pass_band"], row["unit"]
    (1, 'time', 2.0, 25.0, 'Hz')
    """
    trunk, frontend = classifier.trunk, classifier.frontend
    octaves = (None, octaves_per_channel(frontend, around_hz))
    input_rates = (frontend.sample_rate / frontend.hop, 1.0)
    cumulated = [math.inf, math.inf]
    sizes = trunk.sizes(frames, frontend.mel_channels)
    rows = []
    for layer, strides in enumerate(trunk.strides.tolist(), 1):
        for axis, stride in enumerate(strides):
            before, after = sizes[layer - 1][axis], sizes[layer][axis]
            rate = input_rates[axis] * before / sizes[0][axis]
            row = {
                "layer": layer,
                "axis": AXES[axis],
                "stride": stride,
                "effective_stride": before / after,
                "input_length": before,
                "output_length": after,
                "rate": rate,
                "unit": UNITS[axis],
                **dict.fromkeys(Cutoffs.__dataclass_fields__),
                "cumulated_pass_band": None,
                "cycles_per_octave": None,
            }
            if has_low_pass(classifier):
                edges = cutoffs(before, stride, trunk.window, rate)
                row |= asdict(edges)
                row["cumulated_pass_band"] = cumulated[axis] = min(cumulated[axis], edges.pass_band)
                channel = octaves[axis]
                row["cycles_per_octave"] = edges.pass_band / channel if channel else None
            rows.append(row)
    return rows
