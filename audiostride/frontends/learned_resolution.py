"""Spectrograms whose hop and mel channels are learned."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from audiostride.frontends.dense_log_mel import DenseLogMel
from audiostride.frontends.frontend import SoundFrontend, initial_stride
from audiostride.frontends.log_mel import LogMel
from audiostride.layers import DiffStride2d, Window
from audiostride.layers.kernels.costs import resampling_macs


class LearnedResolution(SoundFrontend):
    """Dense log-mel spectrograms with several windows, downsampled over time and mel by learned strides.

    The hop and the number of mel channels that the network sees are results of training: they begin at
    `hop_ms` and `mel_channels`. The length of a window decides what can be resolved at all, so spectrograms
    with several windows stand side by side as input channels, and the first layer learns which to use.

    Args:
        windows_ms: lengths of the analysis windows in milliseconds.
        sample_rate: sample rate of the waveforms in Hz.
        dense_hop_ms: distance between the dense frames in milliseconds.
        dense_channels: number of dense mel channels.
        hop_ms: distance between frames where training begins, ≥ `dense_hop_ms`.
        mel_channels: number of mel channels where training begins, ≤ `dense_channels`.
        f_min: lower edge of the lowest channel in Hz.
        f_max: upper edge of the highest channel in Hz.
        offset: number added to the power before it is compressed.
        compression: "log", or "root" for the cube root.
        smoothness: width in DFT bins of the ramp of the low-pass, which lies inside the cut-off, so that
            training begins with exactly `mel_channels` channels.

    Shape:
        `features`: (batch, samples) to (batch, windows, samples // dense hop, dense_channels);
        `downsample`: (batch, windows, N, dense_channels) to (batch, windows, time, mel).

    Raises:
        ValueError: if there is no window, or if mel channels are too narrow for one.

    >>> frontend = LearnedResolution()
    >>> frontend.downsample(frontend.features(torch.zeros(2, 16000))).shape
    torch.Size([2, 3, 100, 64])
    """

    def __init__(
        self,
        windows_ms: Sequence[float] = (25.0, 50.0, 100.0),
        sample_rate: int = 16000,
        dense_hop_ms: float = 2.5,
        dense_channels: int = 128,
        hop_ms: float = 10.0,
        mel_channels: int = 64,
        f_min: float = 60.0,
        f_max: float = 7800.0,
        offset: float = 1e-6,
        compression: Literal["log", "root"] = "log",
        smoothness: float = 4.0,
    ) -> None:
        super().__init__()
        if not windows_ms:
            raise ValueError("windows_ms names no window")
        self.spectrograms = nn.ModuleList(
            DenseLogMel(sample_rate, window, dense_hop_ms, dense_channels, f_min, f_max, offset, compression)
            for window in windows_ms
        )
        first = self.first
        self.sample_rate, self.f_min, self.f_max = sample_rate, f_min, f_max
        self.windows_ms, self.hop_ms, self.mel_channels = tuple(windows_ms), hop_ms, mel_channels
        self.images, self.channels, self.hop = len(windows_ms), dense_channels, first.hop
        self.smallest_deviation = first.smallest_deviation
        ratios = (sample_rate * hop_ms / 1000 / first.hop, dense_channels / mel_channels)
        self.resampling = DiffStride2d(
            tuple(map(initial_stride, ratios)), window=Window(smoothness, "inside")
        )

    @property
    def first(self) -> LogMel:
        """The spectrogram with the first window, which has the dense hop and channels of all."""
        (first, *_) = self.spectrograms
        assert isinstance(first, LogMel)
        return first

    @property
    def strides(self) -> Tensor:
        return self.resampling.strides

    def features(self, waveform: Tensor) -> Tensor:
        return torch.stack([spectrogram(waveform) for spectrogram in self.spectrograms], -3)

    def downsample(self, features: Tensor) -> Tensor:
        return self.resampling(features)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return what `downsample` makes of features that are not normalised."""
        return self.downsample(self.features(waveform))

    def size(self, samples: int) -> tuple[int, int]:
        window, (time, mel) = self.resampling.window, self.resampling.strides.tolist()
        frames = samples // self.hop
        return window.output_length(frames, time), window.output_length(self.channels, mel)

    def macs(self, samples: int) -> int:
        frames, (time, mel) = samples // self.hop, self.size(samples)
        spectrograms = sum(one.macs(samples) for one in self.spectrograms)  # type: ignore[operator]
        over_time, over_mel = resampling_macs(frames, time), resampling_macs(self.channels, mel)
        resampling = min(over_time * self.channels + over_mel * time, over_mel * frames + over_time * mel)
        return round(spectrograms + self.images * resampling)

    def configuration(self) -> dict[str, Any]:
        first = self.first
        return {
            "kind": "learned_resolution",
            "sample_rate": self.sample_rate,
            "windows_ms": self.windows_ms,
            "dense_hop_ms": first.hop_ms,
            "dense_channels": self.channels,
            "hop_ms": self.hop_ms,
            "mel_channels": self.mel_channels,
            "f_min": self.f_min,
            "f_max": self.f_max,
            "offset": first.offset,
            "compression": first.compression,
            "smoothness": self.resampling.smoothness,
        }
