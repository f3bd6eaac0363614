"""Cut-off frequencies of strides: Hz of modulation over time, cycles per mel channel over frequency.

Those of images are cycles per pixel over height and width.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import librosa
import torch
from torch import Tensor

from audiostride.analysis.strided_layers import strided_layers
from audiostride.frontends.frontend import Frontend, SoundFrontend
from audiostride.frontends.leaf import Leaf
from audiostride.layers.functional import cutoff_mask
from audiostride.layers.window import Window, as_window
from audiostride.models.classifier import Classifier

_AROUND_HZ = 1000.0  # where channels are converted to octaves


@dataclass(frozen=True)
class Cutoffs:
    """The edges of a low-pass window, in the unit of the rate (per second, per mel channel or per pixel).

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
        rate: samples per unit at the layer's input. At the features of the frontend this is the number of
            frames per second (100 at a hop of 10 ms) over time, and 1 per channel over frequency. Of images
            it is 1 per pixel.

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


def units(frontend: Frontend, long: bool = False) -> tuple[str, str]:
    """Return the units of cut-offs over both axes.

    The channels are those of the frontend's features: of a frontend that learns its resolution, the dense
    ones. LEAF's are its filters, in their order, whatever frequencies they have learned.
    """
    first, second = frontend.axes
    return (first.long_unit, second.long_unit) if long else (first.unit, second.unit)


def axis_names(frontend: Frontend) -> tuple[str, str]:
    """Return the names of both axes of a frontend's features, in the order of strides."""
    first, second = frontend.axes
    return first.name, second.name


def octaves_per_channel(frontend: SoundFrontend, around_hz: float) -> float:
    """Return the distance in octaves between neighbouring mel channels around a frequency.

    Args:
        frontend: a frontend whose channels are equally far apart on the mel scale. Of one that learns its
            resolution, the dense channels count.
        around_hz: the frequency in Hz.

    Raises:
        ValueError: if the frequency is outside the range of the mel channels.
    """
    low, high = frequency_range(frontend)
    if not low <= around_hz <= high:
        raise ValueError(f"mel channels reach from {low:g} to {high:g} Hz, not to {around_hz:g} Hz")
    low_mel, mel, high_mel = librosa.hz_to_mel([low, around_hz, high], htk=True)
    half = (high_mel - low_mel) / (frontend.channels + 1) / 2
    below, above = librosa.mel_to_hz([mel - half, mel + half], htk=True)
    if below <= 0:
        raise ValueError(f"a mel channel around {around_hz:g} Hz reaches below 0 Hz and spans no octaves")
    return math.log2(above / below)


def frequency_range(frontend: SoundFrontend) -> tuple[float, float]:
    """Return the lower edge of the lowest channel and the upper edge of the highest one, in Hz."""
    settings = frontend.configuration()
    return settings["f_min"], settings["f_max"]


def channels_per_octave(frontend: SoundFrontend, around_hz: float) -> float:
    """Return how many channels of a frontend's features an octave has around a frequency.

    Of LEAF, these are the filters whose learned centre is at most half an octave away.

    Args:
        frontend: the frontend. Of one that learns its resolution, the dense channels count.
        around_hz: the frequency in Hz.

    Raises:
        ValueError: if the frequency is outside the range of the channels.
    """
    octaves = octaves_per_channel(frontend, around_hz)
    if isinstance(frontend, Leaf):
        centres, _ = frontend.bands()
        return float(((centres / around_hz).log2().abs() <= 0.5).sum())
    return 1 / octaves


def stride_table(
    classifier: Classifier, frames: int | None = None, around_hz: float | None = None
) -> list[dict[str, Any]]:
    """Return the strides and cut-offs of a classifier, one row per layer and axis.

    If the frontend learns its resolution, the table begins with its own layer, whose number is 0. All rates
    and cut-offs then follow from the dense grid that it starts from. Strided convolution and pooling have
    strides but no low-pass window, so their edges are None.

    Args:
        classifier: a classifier, trained or not.
        frames: number of frames of the frontend's features; if its resolution is learned, on the dense grid.
            By default that of the classifier's windows. Images have none.
        around_hz: frequency at which channels are converted to octaves; by default 1 kHz, or the nearest
            frequency that has channels. Mel channels are closer together, in octaves, at high frequencies.
            Images have none.

    Returns:
        Rows with layer, axis, stride, effective_stride (input length / output length), input_length,
        output_length, rate (samples per unit at the layer's input), unit (see `units`), the edges of
        `Cutoffs`, and cumulated_pass_band (the lowest pass_band up to this layer: all of these layers pass
        lower frequencies unchanged). Rows of the time axis have hop_ms (distance in milliseconds between
        samples of the output); those of the frequency axis have cycles_per_octave (the pass band around
        `around_hz`) and channels_per_octave (samples of the output around `around_hz`). Of images the axes
        are height and width, and the last three are missing.

    Raises:
        ValueError: if `around_hz` is outside the range of the channels; if it or `frames` is given, but the
            classifier takes images.

    >>> row = stride_table(Classifier({"word": ["yes", "no"]}))[0]
    >>> row["layer"], row["axis"], row["stride"], row["pass_band"], row["unit"]
    (1, 'time', 2.0, 25.0, 'Hz')
    """
    per_octave = _channels_per_octave(classifier, around_hz)
    layers = strided_layers(classifier, frames)
    cumulated = [math.inf, math.inf]
    rows = []
    for layer in layers:
        for axis, (stride, of_features) in enumerate(
            zip(layer.strides, classifier.frontend.axes, strict=True)
        ):
            if stride is None:
                continue
            before, after = layer.input_size[axis], layer.output_size[axis]
            input_length = layers[0].input_size[axis]
            rate = of_features.rate * before / input_length
            output_rate = of_features.rate * after / input_length
            row = {
                "layer": layer.number,
                "axis": of_features.name,
                "stride": stride,
                "effective_stride": before / after,
                "input_length": before,
                "output_length": after,
                "rate": rate,
                "unit": of_features.unit,
                **dict.fromkeys(Cutoffs.__dataclass_fields__),
                "cumulated_pass_band": None,
            }
            if per_octave is not None:
                row |= {
                    "cycles_per_octave": None,
                    "hop_ms": 1000 / output_rate if axis == 0 else None,
                    "channels_per_octave": per_octave * output_rate if axis == 1 else None,
                }
            if layer.window is not None:
                edges = cutoffs(before, stride, layer.window, rate)
                row |= asdict(edges)
                row["cumulated_pass_band"] = cumulated[axis] = min(cumulated[axis], edges.pass_band)
                if per_octave is not None and axis == 1:
                    row["cycles_per_octave"] = edges.pass_band * per_octave
            rows.append(row)
    return rows


def _channels_per_octave(classifier: Classifier, around_hz: float | None) -> float | None:
    """Return the channels per octave around a frequency, by default 1 kHz; None for images."""
    frontend = classifier.frontend
    if around_hz is None:
        if not isinstance(frontend, SoundFrontend):
            return None
        low, high = frequency_range(frontend)
        around_hz = min(max(_AROUND_HZ, low), high)
    return channels_per_octave(classifier.sound_frontend, around_hz)
