"""Frontends of plain operations, for exporters that see lengths as symbols.

Each has the methods `features` and `downsample` of the frontend that it copies.
"""

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiostride.export.plain_layers import Resampling, first_frames
from audiostride.frontends.frontend import Frontend, SoundFrontend
from audiostride.frontends.leaf import FLOOR, Leaf
from audiostride.frontends.learned_resolution import LearnedResolution
from audiostride.frontends.log_mel import LogMel
from audiostride.frontends.mel_power import MelPower
from audiostride.frontends.pcen import Pcen, PcenMel, enough_doublings
from audiostride.frontends.waveform import as_float

# Most numbers in the basis of a Fourier transform that is computed as a convolution. For longer windows the
# fast transform takes less time, and the basis would take more than 4 MB of the file.
_LARGEST_BASIS = 1_000_000


class PlainFrontend(nn.Module):
    """Base class of plain frontends. They stay in float32, as frontends do, if a network becomes half."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return self

    def check(self, waveform: Tensor) -> None:
        """Take any waveforms: an exported model has its own checks."""

    def features(self, waveform: Tensor) -> Tensor:
        """Return (batch, images, frames, channels) of waveforms (batch, samples)."""
        raise NotImplementedError

    def downsample(self, features: Tensor) -> Tensor:
        """Return what the network takes from normalised features."""
        return features


class PlainPower(PlainFrontend):
    """`MelPower.power` whose Fourier transform of short windows is a convolution with a windowed basis.

    Only the bins in mel channels are computed. For 25 ms at 16 kHz, ONNX Runtime takes 0.3 ms per second of
    sound for it, and 0.8 ms for its own operator STFT. It is as accurate as torch's transform.

    Args:
        frontend: the frontend to copy.

    Shape:
        (batch, samples), floating point in [−1, 1] or int16, to (batch, samples // hop, mel_channels).
    """

    def __init__(self, frontend: MelPower) -> None:
        super().__init__()
        mel = frontend.mel
        self.hop, self.n_fft = frontend.hop, mel.n_fft
        filters, window = mel.mel_scale.fb, mel.spectrogram.window
        bins = filters.sum(1).nonzero()[:, 0]
        self.is_convolution = 2 * len(bins) * len(window) <= _LARGEST_BASIS
        left, right = frontend.padding
        if self.is_convolution:
            unused = (mel.n_fft - len(window)) // 2  # zeros around the window in each frame
            left, right = left - unused, right - (mel.n_fft - len(window) - unused)
            filters, window = filters[bins], _fourier_basis(bins, window, mel.n_fft)
        self.padding = (left, right)
        self.window, self.filters = nn.Buffer(window.clone()), nn.Buffer(filters.clone())

    def forward(self, waveform: Tensor) -> Tensor:
        padded = functional.pad(as_float(waveform).float(), self.padding)
        if self.is_convolution:
            spectrum = functional.conv1d(padded.unsqueeze(1), self.window, stride=self.hop)
            real, imaginary = spectrum.chunk(2, 1)
        else:
            spectrum = torch.stft(
                padded, self.n_fft, self.hop, len(self.window), self.window, center=False, return_complex=True
            )
            real, imaginary = torch.view_as_real(spectrum).unbind(-1)
        power = real * real + imaginary * imaginary
        return first_frames(power, waveform.shape[-1] // self.hop).mT @ self.filters


def _fourier_basis(bins: Tensor, window: Tensor, n_fft: int) -> Tensor:
    """Return (2 · bins, 1, samples): windowed cosines of all bins, then their sines."""
    turns = torch.outer(bins.double(), torch.arange(len(window), dtype=torch.float64)) / n_fft
    phase = 2 * math.pi * turns
    return (window.double() * torch.cat([phase.cos(), phase.sin()])).float().unsqueeze(1)


class PlainLogMel(PlainFrontend):
    """`LogMel`, see `PlainPower`."""

    def __init__(self, frontend: LogMel) -> None:
        super().__init__()
        self.power, self.compress = PlainPower(frontend), frontend.compress

    def forward(self, waveform: Tensor) -> Tensor:
        return self.compress(self.power(waveform))

    def features(self, waveform: Tensor) -> Tensor:
        return self(waveform).unsqueeze(1)


class PlainPcenMel(PlainFrontend):
    """`PcenMel` with a fixed number of doublings.

    Args:
        frontend: the frontend to copy.
        most_frames: largest number of frames.
    """

    def __init__(self, frontend: PcenMel, most_frames: int) -> None:
        super().__init__()
        self.power, self.pcen = PlainPower(frontend), plain_pcen(frontend.pcen, most_frames)

    def features(self, waveform: Tensor) -> Tensor:
        return self.pcen(self.power(waveform)).unsqueeze(1)


def plain_pcen(pcen: Pcen, most_frames: int) -> Pcen:
    """Let an energy normalisation do the same operations for any number of frames up to the largest one."""
    pcen.doublings = enough_doublings(pcen.smoothing, most_frames)
    return pcen


class PlainLearnedResolution(nn.Module):
    """`LearnedResolution` with constant strides. Its spectrograms stay in float32.

    Args:
        frontend: the frontend to copy.
        frames: number of dense frames, or None if it may be any.
    """

    def __init__(self, frontend: LearnedResolution, frames: int | None) -> None:
        super().__init__()
        self.spectrograms = nn.ModuleList(
            PlainLogMel(one) for one in frontend.spectrograms if isinstance(one, LogMel)
        )
        window, (time, mel) = frontend.resampling.window, frontend.strides.tolist()
        self.resampling = nn.Sequential(
            Resampling(time, window, -2, frames, factored=True),
            Resampling(mel, window, -1, frontend.channels),
        )

    def check(self, waveform: Tensor) -> None:
        """Take any waveforms, see `PlainFrontend.check`."""

    def features(self, waveform: Tensor) -> Tensor:
        return torch.stack([spectrogram(waveform) for spectrogram in self.spectrograms], 1)

    def downsample(self, features: Tensor) -> Tensor:
        return self.resampling(features)


class PlainLeaf(PlainFrontend):
    """`Leaf` with constant filters and a constant stride.

    Args:
        frontend: the frontend to copy.
        frames: number of dense frames, or None if it may be any.
        most_frames: largest number of dense frames.
    """

    def __init__(self, frontend: Leaf, frames: int | None, most_frames: int) -> None:
        super().__init__()
        self.hop, self.step, self.reach = frontend.hop, frontend.step, frontend.reach
        self.filters = nn.Buffer(frontend.filters().unsqueeze(1))
        self.low_pass = nn.Buffer(frontend.low_pass_filters())
        self.resampling = Resampling(
            frontend.resampling.stride.item(), frontend.resampling.window, -2, frames, factored=True
        )
        self.pcen = plain_pcen(frontend.pcen, most_frames)

    def energy(self, waveform: Tensor) -> Tensor:
        """Return `Leaf.energy`."""
        # Zeros for one more frame, so that their number does not depend on the length.
        padding = (self.reach - self.hop // 2, self.reach + self.hop)
        padded = functional.pad(as_float(waveform).float().unsqueeze(1), padding)
        real, imaginary = functional.conv1d(padded, self.filters, stride=self.step).chunk(2, 1)
        power = real * real + imaginary * imaginary
        energy = functional.conv1d(
            power, self.low_pass, stride=self.hop // self.step, groups=len(self.low_pass)
        )
        return first_frames(energy, waveform.shape[-1] // self.hop).mT

    def features(self, waveform: Tensor) -> Tensor:
        return self.pcen(self.resampling(self.energy(waveform)).clamp(min=FLOOR)).unsqueeze(1)


def plain_frontend(frontend: Frontend, samples: int | None, most_samples: int) -> nn.Module:
    """Return the plain form of a frontend.

    Args:
        frontend: the frontend. It or parts of it may become parts of the result.
        samples: length of the waveforms in samples, or None if it may be any.
        most_samples: largest length of the waveforms in samples.
    """
    if not isinstance(frontend, SoundFrontend):
        return frontend  # images have a fixed size
    frames = None if samples is None else frontend.frames(samples)
    most_frames = frontend.frames(most_samples)
    match frontend:
        case LogMel():
            return PlainLogMel(frontend)
        case PcenMel():
            return PlainPcenMel(frontend, most_frames)
        case LearnedResolution():
            return PlainLearnedResolution(frontend, frames)
        case Leaf():
            return PlainLeaf(frontend, frames, most_frames)
    raise ValueError(f"{type(frontend).__name__} has no plain form")
