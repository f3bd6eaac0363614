"""Strides as cut-off frequencies: Hz of modulation over time, cycles per mel channel over frequency."""

import math
from dataclasses import dataclass
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
    """The edges of one axis's low-pass window, in the unit of `rate` (per second, per mel channel).

    An edge that lies above the Nyquist frequency of the axis does not exist there and is None.

    Attributes:
        pass_band: up to which the window is 1; rate / (2 S) for the paper's.
        pass_band_on_grid: the highest DFT bin in the pass band, for the paper's window
            floor(N / (2 S)) · rate / N. This is what its table 2 prints.
        half_amplitude: where the window is 1/2.
        stop_band: from which on it is 0.
    """

    pass_band: float
    pass_band_on_grid: float
    half_amplitude: float | None
    stop_band: float | None


def cutoffs(n: int, stride: float, smoothness: float | Window, rate: float) -> Cutoffs:
    """Edges of the window that a stride puts over an axis.

    Args:
        n: samples of the axis at the layer's input.
        stride: ≥ 1.
        smoothness: width of the ramp in DFT bins, or a `Window`.
        rate: samples per unit at the layer's input: 100 frames per second, or 1 per mel channel, at the
            first layer.
    """
    window = as_window(smoothness)
    used = window.usable_stride(n, stride)
    stop, width = (
        window.edges(n, used, window.output_length(n, stride)) if window.smoothness else (n / (2 * used), 0.0)
    )
    cutoff = stop - width

    def edge(bins: float) -> float | None:
        return bins * rate / n if bins <= n / 2 else None

    return Cutoffs(
        cutoff * rate / n,
        # A quotient that is whole but for rounding is that whole number.
        math.floor(cutoff + 1e-6) * rate / n,
        edge(stop - width / 2),
        edge(stop),
    )


def has_low_pass(classifier: Classifier) -> bool:
    """Whether it downsamples by a low-pass in the Fourier domain."""
    return classifier.trunk.downsampling in ("spectral", "diffstride")


def gains(n: int, stride: float, smoothness: float | Window) -> Tensor:
    """What the low-pass of a stride leaves of each DFT bin of an axis.

    Args:
        n: samples of the axis at the layer's input.
        stride: ≥ 1.
        smoothness: width of the ramp in DFT bins, or a `Window`.

    Returns:
        (n // 2 + 1,) from 0 to 1, float64; bins that the output is too short for are 0.
    """
    window = as_window(smoothness)
    length = window.output_length(n, stride)
    bins = torch.arange(n // 2 + 1, dtype=torch.float64)
    mask = torch.ones_like(bins)
    if window.smoothness:
        stop, width = window.edges(n, window.usable_stride(n, stride), length)
        mask = cutoff_mask(bins, torch.tensor(stop - width, dtype=torch.float64), width)
    return torch.where(bins <= length // 2, mask, 0.0)


def octaves_per_channel(frontend: LogMel, around_hz: float) -> float:
    """Distance in octaves between neighbouring mel channels around a frequency.

    Raises:
        ValueError: for a frequency outside the channels' range.
    """
    low, high = frontend.f_min, frontend.f_max
    if not low <= around_hz <= high:
        raise ValueError(f"mel channels reach from {low:g} to {high:g} Hz, not to {around_hz:g} Hz")
    low_mel, mel, high_mel = librosa.hz_to_mel([low, around_hz, high], htk=True)
    half = (high_mel - low_mel) / (frontend.mel_channels + 1) / 2
    below, above = librosa.mel_to_hz([mel - half, mel + half], htk=True)
    return math.log2(above / below)


def stride_table(
    classifier: Classifier, frames: int = 100, around_hz: float = 1000.0
) -> list[dict[str, Any]]:
    """One row per block and axis of a classifier's network.

    Strided convolution and pooling in space have strides but no low-pass window: their edges are None.

    Args:
        classifier: trained or not.
        frames: length of the spectrogram that goes in, 100 to the second.
        around_hz: where on the mel axis cycles per octave are told.

    Returns:
        Rows with layer, axis, stride, effective_stride (input over output length), input_length,
        output_length, rate (samples per unit at the layer's input), unit, the edges of `Cutoffs`,
        cumulated_pass_band (the lowest one up to this layer: what has passed all of them whole), and over
        frequency cycles_per_octave (the pass band around `around_hz`; mel channels lie closer to one another
        at high frequencies).

    Raises:
        ValueError: see `octaves_per_channel`.
    """
    trunk = classifier.trunk
    frontend = classifier.frontend
    octaves = {"time": None, "frequency": octaves_per_channel(frontend, around_hz)}
    lowest = {"time": math.inf, "frequency": math.inf}
    input_rates = {"time": (frontend.sample_rate / frontend.hop, "Hz"), "frequency": (1.0, "cycles/mel")}
    sizes = trunk.sizes(frames, frontend.mel_channels)
    rows = []
    for layer, pair in enumerate(trunk.strides, 1):
        for axis, (name, (input_rate, unit)) in enumerate(input_rates.items()):
            before, after = sizes[layer - 1][axis], sizes[layer][axis]
            rate, stride = input_rate * before / sizes[0][axis], pair[axis].item()
            row = {
                "layer": layer,
                "axis": name,
                "stride": stride,
                "effective_stride": before / after,
                "input_length": before,
                "output_length": after,
                "rate": rate,
                "unit": unit,
            }
            if has_low_pass(classifier):
                edges = vars(cutoffs(before, stride, trunk.window, rate))
                lowest[name] = min(lowest[name], edges["pass_band"])
                channel = octaves[name]
                more = {
                    "cumulated_pass_band": lowest[name],
                    "cycles_per_octave": edges["pass_band"] / channel if channel else None,
                }
            else:
                edges = dict.fromkeys(Cutoffs.__dataclass_fields__)
                more = {"cumulated_pass_band": None, "cycles_per_octave": None}
            rows.append(row | edges | more)
    return rows
