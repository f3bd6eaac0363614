"""LEAF: a frontend of learned filters, with a hop that is learned too."""

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from audiostride.frontends.frontend import Frontend
from audiostride.frontends.mel_power import mel_edges
from audiostride.frontends.pcen import Pcen
from audiostride.frontends.waveform import as_float
from audiostride.layers import DiffStride1d, Window

_FWHM = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum of a Gaussian, in deviations
# The power of the filters' outputs is sampled this many times as fast as the widest filter is wide: the
# Gaussian low-pass that follows then hears no aliases.
_OVERSAMPLING = 8
# How many times as wide as the widest initial filter a filter may become.
_WIDEST = 2.0
# Deviation of the Gaussian low-pass, in halves of its window: initial value, and range.
_LOW_PASS, _NARROWEST_LOW_PASS, _WIDEST_LOW_PASS = 0.4, 0.05, 0.5
FLOOR = 1e-7  # power below which all is silence, 70 dB below full scale


class Leaf(Frontend):
    """Learned Gabor filters on the waveform, a Gaussian low-pass and per-channel energy normalisation.

    After Zeghidour et al., "LEAF: a learnable frontend for audio classification", ICLR 2021, with two
    differences. Its fixed decimation is a `DiffStride1d` layer, whose stride begins at `hop_ms` and is
    learned. And the power of the filters is computed only every few samples, which the Gaussian low-pass does
    not notice, in a fraction of the time.

    The power of filter n is |x ∗ g_n|² with g_n(t) = exp(i η_n t) exp(−t² / (2 σ_n²)) / (σ_n √(2π)), t in
    samples. Centres η_n and widths σ_n begin with those of mel channels.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        window_ms: length of the filters and of the low-pass in milliseconds.
        hop_ms: distance between frames where training begins, ≥ `dense_hop_ms`.
        mel_channels: number of filters.
        f_min: lower edge of the lowest mel channel, where training begins, in Hz.
        f_max: upper edge of the highest mel channel in Hz.
        dense_hop_ms: distance between the frames after the low-pass, from which DiffStride makes its own.
        smoothness: width in DFT bins of the ramp of DiffStride's window, which lies inside the cut-off.
        pcen_learned: whether the parameters of the energy normalisation are learned.

    Shape:
        (batch, samples), floating point in [−1, 1] or int16, to (batch, time, filters). Everything is
        computed in float32.

    Raises:
        ValueError: in the forward pass, if there are fewer samples than one dense hop.

    >>> Leaf()(torch.zeros(2, 16000)).shape
    torch.Size([2, 100, 64])
    """

    smallest_deviation = 0.02

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
        self.hop = max(1, round(sample_rate * dense_hop_ms / 1000))
        edges = mel_edges(mel_channels, f_min, f_max)
        # The square root of a triangle, LEAF's amplitude of a mel filter, is above 1/2 on 3/4 of its base.
        widths = [0.75 * (high - low) for low, high in zip(edges, edges[2:], strict=False)]
        self.step = _largest_step(self.hop, sample_rate / (_OVERSAMPLING * max(widths)))
        self.taps = 2 * round(sample_rate * window_ms / 2000) + 1
        self.low_pass_taps = 2 * (self.taps // 2 // self.step) + 1
        # A frame hears so many samples on each side of its centre.
        self.reach = self.low_pass_taps // 2 * self.step + self.taps // 2
        turns = 2 * math.pi / sample_rate
        self.centres = nn.Parameter(torch.tensor([turns * centre for centre in edges[1:-1]]))
        # In the spectrum, the deviation of the filter is 1 / σ.
        self.widths = nn.Parameter(torch.tensor([_FWHM / (turns * width) for width in widths]))
        self.narrowest = _FWHM / (turns * _WIDEST * max(widths))
        self.low_pass = nn.Parameter(torch.full((mel_channels,), _LOW_PASS))
        stride = max(1.0, sample_rate * hop_ms / 1000 / self.hop)
        self.resampling = DiffStride1d(stride, dim=-2, window=Window(smoothness, "inside"))
        self.pcen = Pcen(
            mel_channels, 1000 / hop_ms, gain=0.96, time_s=0.25, floor=1e-12, learned=pcen_learned
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move to another device with the network, but stay in float32 if it becomes half precision."""
        device = fn(torch.zeros(0)).device
        return super()._apply(lambda table: table.to(device), recurse)

    def filters(self) -> Tensor:
        """Return the Gabor filters: (2 · filters, taps), all real parts, then all imaginary parts."""
        times = torch.arange(self.taps, device=self.centres.device) - self.taps // 2
        centres = self.centres.clamp(0, math.pi)[:, None]
        # A filter that is wider in time than its window would be cut off.
        widths = self.widths.clamp(self.narrowest, self.taps * _FWHM / (2 * math.pi))[:, None]
        envelope = (-(times**2) / (2 * widths**2)).exp() / (math.sqrt(2 * math.pi) * widths)
        return torch.cat([(centres * times).cos() * envelope, (centres * times).sin() * envelope])

    def centre_frequencies(self) -> Tensor:
        """Return the centre frequency of each filter in Hz, (filters,)."""
        return self.centres.detach().clamp(0, math.pi) * self.sample_rate / (2 * math.pi)

    def low_pass_filters(self) -> Tensor:
        """Return the Gaussian low-pass of each filter's power: (filters, 1, low_pass_taps), each of sum 1."""
        times = torch.linspace(-1, 1, self.low_pass_taps, device=self.low_pass.device)
        deviations = self.low_pass.clamp(_NARROWEST_LOW_PASS, _WIDEST_LOW_PASS)[:, None]
        window = (-0.5 * (times / deviations) ** 2).exp()
        return (window / window.sum(1, keepdim=True)).unsqueeze(1)

    def energy(self, waveform: Tensor) -> Tensor:
        """Return the low-passed power of each filter (batch, dense frames, filters)."""
        waveform = as_float(waveform).float()
        if waveform.shape[-1] < self.hop:
            raise ValueError(f"a waveform needs at least {self.hop} samples, but has {waveform.shape[-1]}")
        frames = waveform.shape[-1] // self.hop
        # Frame i is centred on the middle of hop i.
        left = self.reach - self.hop // 2
        right = (frames - 1) * self.hop + self.hop // 2 + self.reach + 1 - waveform.shape[-1]
        padded = nn.functional.pad(waveform.unsqueeze(1), (left, right))
        real, imaginary = conv1d(padded, self.filters().unsqueeze(1), stride=self.step).chunk(2, 1)
        power = real.square() + imaginary.square()
        stride = self.hop // self.step
        return conv1d(power, self.low_pass_filters(), stride=stride, groups=self.channels).mT

    @property
    def strides(self) -> Tensor:
        return torch.cat([self.resampling.strides, self.resampling.stride.new_ones(1)])

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast("cpu" if waveform.is_meta else waveform.device.type, enabled=False):
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
        return self.channels * (filters + low_pass + time * frames + 10 * time)

    def configuration(self) -> dict[str, Any]:
        names = (
            "sample_rate", "window_ms", "hop_ms", "mel_channels", "f_min", "f_max", "dense_hop_ms",
            "pcen_learned",
        )  # fmt: skip
        own = {name: getattr(self, name) for name in names}
        return {"kind": "leaf", **own, "smoothness": self.resampling.smoothness}


def _largest_step(hop: int, limit: float) -> int:
    """Return the largest divisor of a hop up to a limit, at least 1."""
    return max(step for step in range(1, hop + 1) if hop % step == 0 and (step <= limit or step == 1))
