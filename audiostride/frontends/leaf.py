"""LEAF: a frontend of learned filters, with a hop that is learned too."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from audiostride.frontends.frontend import SoundFrontend, initial_stride, limited
from audiostride.frontends.pcen import Pcen
from audiostride.layers import DiffStride1d, Window
from audiostride.layers.functional import autocast_device
from audiostride.layers.kernels.costs import resampling_macs
from audiostride.mel_scale import mel_edges

_FWHM = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum of a Gaussian, in deviations
# The power of the filters' outputs is sampled this many times as fast as the widest filter is wide: the
# Gaussian low-pass that follows then hears few aliases.
_OVERSAMPLING = 6
# How many times as wide as the widest initial filter a filter may become.
_WIDEST = 2.0
# Deviation of the Gaussian low-pass, in halves of its window: initial value, and range.
_LOW_PASS, _NARROWEST_LOW_PASS, _WIDEST_LOW_PASS = 0.4, 0.05, 0.5
FLOOR = 1e-7  # power below which all is silence, 64 dB below that of a sine of full scale


class Leaf(SoundFrontend):
    """Learned Gabor filters on the waveform, a Gaussian low-pass and per-channel energy normalisation.

    After Zeghidour et al., "LEAF: a learnable frontend for audio classification", ICLR 2021, with two
    differences. Its fixed decimation is a `DiffStride1d` layer, whose stride begins at `hop_ms` and is
    learned. And the power of the filters is computed only every few samples, in a fraction of the time; after
    the Gaussian low-pass this changes it by less than 1 %.

    The power of filter n is |x ∗ g_n|² with g_n(t) = exp(i η_n t) exp(−t² / (2 σ_n²)) / (σ_n √(2π)), t in
    samples. Centres η_n and widths σ_n begin with those of mel channels. Their logarithms are learned, so
    that a step of an optimiser changes low and high filters by the same ratio.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        window_ms: length of the filters and of the low-pass in milliseconds.
        hop_ms: distance between frames where training begins, ≥ `dense_hop_ms`.
        mel_channels: number of filters.
        f_min: lower edge of the lowest mel channel, where training begins, in Hz.
        f_max: upper edge of the highest mel channel in Hz.
        dense_hop_ms: distance in milliseconds between the frames after the low-pass, from which DiffStride
            makes its own. It is rounded to a multiple of `step` samples.
        smoothness: width in DFT bins of the ramp of DiffStride's window, which lies inside the cut-off.
        pcen_learned: whether the parameters of the energy normalisation are learned.

    Attributes:
        step: distance in samples between the values of the power before the low-pass.

    Shape:
        (…, samples), floating point in [−1, 1] or int16, to (…, time, filters).

    Raises:
        ValueError: in the forward pass, if there are fewer samples than one dense hop.

    >>> Leaf()(torch.zeros(2, 16000)).shape
    torch.Size([2, 100, 64])
    """

    smallest_deviation = 0.02
    channel_name = ("filter", "filter")

    def __init__(
        self,
        sample_rate: int = 16000,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        mel_channels: int = 64,
        f_min: float = 60.0,
        f_max: float = 7800.0,
        dense_hop_ms: float = 2.5,
        smoothness: float = 4.0,
        pcen_learned: bool = True,
    ) -> None:
        super().__init__()
        self.sample_rate, self.window_ms, self.hop_ms = sample_rate, window_ms, hop_ms
        self.mel_channels, self.channels, self.f_min, self.f_max = mel_channels, mel_channels, f_min, f_max
        self.dense_hop_ms, self.pcen_learned = dense_hop_ms, pcen_learned
        edges = mel_edges(mel_channels, f_min, f_max)
        # The square root of a triangle, LEAF's amplitude of a mel filter, is above 1/2 on 3/4 of its base.
        bandwidths = [0.75 * (high - low) for low, high in zip(edges, edges[2:], strict=False)]
        self.step, self.hop = _step_and_hop(
            sample_rate * dense_hop_ms / 1000, sample_rate / (_OVERSAMPLING * max(bandwidths))
        )
        self.taps = 2 * round(sample_rate * window_ms / 2000) + 1
        self.low_pass_taps = 2 * (self.taps // 2 // self.step) + 1
        turns = 2 * math.pi / sample_rate
        self.log_centres = _parameter([math.log(turns * centre) for centre in edges[1:-1]])
        self.log_widths = _parameter([math.log(_deviation(turns * width)) for width in bandwidths])
        # The window would cut off a filter whose band is narrower than a bin of the window's spectrum.
        self.shortest = _deviation(turns * _WIDEST * max(bandwidths))
        self.longest = _deviation(2 * math.pi / self.taps)
        self.low_pass = _parameter([_LOW_PASS] * mel_channels)
        stride = initial_stride(sample_rate * hop_ms / 1000 / self.hop)
        self.resampling = DiffStride1d(stride, dim=-2, window=Window(smoothness, "inside"))
        self.pcen = Pcen(
            mel_channels, 1000 / hop_ms, gain=0.96, time_s=0.25, floor=1e-12, learned=pcen_learned
        )

    @property
    def reach(self) -> int:
        """Number of samples that a frame hears on each side of its centre."""
        return self.low_pass_taps // 2 * self.step + self.taps // 2

    @property
    def centres(self) -> Tensor:
        """Centre frequencies η of the filters in radians per sample, (filters,)."""
        return limited(self.log_centres, -math.inf, math.log(math.pi)).exp()

    @property
    def widths(self) -> Tensor:
        """Standard deviations σ of the filters' envelopes in samples, (filters,)."""
        return limited(self.log_widths, math.log(self.shortest), math.log(self.longest)).exp()

    def bands(self) -> tuple[Tensor, Tensor]:
        """Return centre frequency and bandwidth of each filter in Hz, each (filters,).

        The bandwidth is the full width of the magnitude response at half of its maximum.
        """
        hertz = self.sample_rate / (2 * math.pi)
        return self.centres * hertz, _FWHM * hertz / self.widths

    def filters(self) -> Tensor:
        """Return the Gabor filters: (2 · filters, taps), all real parts, then all imaginary parts."""
        centres, widths = self.centres[:, None], self.widths[:, None]
        times = torch.arange(self.taps, device=centres.device) - self.taps // 2
        envelope = (-(times**2) / (2 * widths**2)).exp() / (math.sqrt(2 * math.pi) * widths)
        return torch.cat([(centres * times).cos() * envelope, (centres * times).sin() * envelope])

    def low_pass_filters(self) -> Tensor:
        """Return the Gaussian low-pass of each filter's power: (filters, 1, low_pass_taps), each of sum 1."""
        deviations = limited(self.low_pass, _NARROWEST_LOW_PASS, _WIDEST_LOW_PASS)[:, None]
        half = self.low_pass_taps // 2
        times = self.step * torch.arange(-half, half + 1, dtype=deviations.dtype, device=deviations.device)
        in_halves = times / max(1, self.taps // 2)
        window = (-0.5 * (in_halves / deviations) ** 2).exp()
        return (window / window.sum(1, keepdim=True)).unsqueeze(1)

    def energy(self, waveform: Tensor) -> Tensor:
        """Return the low-passed power of each filter (…, dense frames, filters)."""
        waveform = self.checked(waveform)
        frames = waveform.shape[-1] // self.hop
        # Frame i is centred on the middle of hop i.
        left = self.reach - self.hop // 2
        right = (frames - 1) * self.hop + self.hop // 2 + self.reach + 1 - waveform.shape[-1]
        padded = pad(waveform.reshape(-1, 1, waveform.shape[-1]), (left, right))
        real, imaginary = conv1d(padded, self.filters().unsqueeze(1), stride=self.step).chunk(2, 1)
        power = real.square() + imaginary.square()
        stride = self.hop // self.step
        energy = conv1d(power, self.low_pass_filters(), stride=stride, groups=self.channels).mT
        return energy.reshape(*waveform.shape[:-1], frames, self.channels)

    @property
    def strides(self) -> Tensor:
        return torch.cat([self.resampling.strides, self.resampling.stride.new_ones(1)])

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(autocast_device(waveform.device), enabled=False):
            energy = self.resampling(self.energy(waveform))
            return self.pcen(energy.clamp(min=FLOOR))

    def features(self, waveform: Tensor) -> Tensor:
        return self(waveform).unsqueeze(-3)

    def size(self, samples: int) -> tuple[int, int]:
        stride = self.resampling.stride.item()
        return self.resampling.window.output_length(samples // self.hop, stride), self.channels

    def macs(self, samples: int) -> int:
        frames, (time, _) = samples // self.hop, self.size(samples)
        filters = 2 * self.taps * (samples // self.step)
        low_pass = self.low_pass_taps * frames
        return round(self.channels * (filters + low_pass + resampling_macs(frames, time) + 10 * time))

    def configuration(self) -> dict[str, Any]:
        names = (
            "sample_rate", "window_ms", "hop_ms", "mel_channels", "f_min", "f_max", "dense_hop_ms",
            "pcen_learned",
        )  # fmt: skip
        own = {name: getattr(self, name) for name in names}
        return {"kind": "leaf", **own, "smoothness": self.resampling.smoothness}


def _parameter(values: list[float]) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float32))


def _step_and_hop(hop: float, limit: float) -> tuple[int, int]:
    """Return a step and the multiple of it that is close to a hop, in samples.

    The step is at most the limit. It may be down to half of that, if this gives a hop that is closer.
    """
    largest = max(1, int(min(hop, limit)))
    pairs = [(step, step * max(1, round(hop / step))) for step in range(largest, largest // 2, -1)]
    return min(pairs, key=lambda pair: abs(pair[1] - hop))


def _deviation(bandwidth: float) -> float:
    """Return the deviation in samples of a Gaussian whose spectrum has this width, in radians per sample.

    The width is that at half of the spectrum's maximum.
    """
    return _FWHM / bandwidth
