"""The settings of a frontend. This module does not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from audiostride.config.ranges import Between, check_ranges
from audiostride.mel_scale import fft_length, samples_of

# Heart sounds are recorded at 1,000 Hz, bats at up to 384,000.
SampleRate = Annotated[int, Between(1000, 384_000)]
Milliseconds = Annotated[float, Between(0.01, 10_000)]
HopMilliseconds = Annotated[float, Between(0.001, 100)]  # the shortest window of training is 100 ms long
MelChannels = Annotated[int, Between(1, 2048)]
Hertz = Annotated[float, Between(0, 192_000)]
Pixels = Annotated[int, Between(2, 8192)]

# The highest frequency by default, as a fraction of the sample rate: the 7800 Hz of Tagliasacchi et al. 2019.
_HIGHEST = 7800 / 16_000
# No frontend comes near these limits. Without them a stranger's model could exhaust the memory. They count
# the numbers in the tables of a frontend, and those that it computes from one second of sound or an image.
_LARGEST_TABLE, _MOST_PER_SECOND, _LARGEST_IMAGE = 20_000_000, 100_000_000, 50_000_000


@dataclass
class FrontendSettings:
    """From waveforms to spectrograms, or from images to what a network takes."""

    kind: Literal["log_mel", "pcen", "learned_resolution", "leaf", "pixels"] = "log_mel"
    """log_mel: log-mel spectrograms, as in the paper. pcen: per-channel energy normalisation instead of the
    logarithm. learned_resolution: dense log-mel spectrograms with several windows, whose hop and mel channels
    are learned by DiffStride. leaf: learned Gabor filters, with a learned hop. pixels: images, see
    data.images."""
    sample_rate: SampleRate = 16_000
    """Sample rate of the waveforms in Hz; that of the corpora (see audiostride prepare --sample_rate)."""
    window_ms: Milliseconds = 25.0
    """Length of the analysis window in milliseconds; of leaf, that of its filters."""
    hop_ms: HopMilliseconds = 10.0
    """Distance between frames in milliseconds. Where it is learned, it begins here."""
    mel_channels: MelChannels = 64
    """Number of mel channels; of leaf, number of filters. Where it is learned, it begins here."""
    f_min: Hertz = 60.0
    """Lower edge of the lowest channel in Hz."""
    f_max: Hertz | None = None
    """Upper edge of the highest channel in Hz. (default: 0.4875 times the sample rate, 7800 Hz at 16 kHz)"""
    compression: Literal["log", "root"] = "log"
    """Compression of the power: its logarithm, or its cube root. Not for pcen and leaf."""
    offset: Annotated[float, Between(1e-12, 1)] = 1e-6
    """Number added to the power before it is compressed. A sine of full scale reaches about 1e4."""
    floor: Annotated[float, Between(0, 1000)] | None = None
    """Standard deviation of a channel below which it counts as quiet: normalisation does not amplify it
    further. (default: 1 for the logarithm of the power, where channels with sound have 2 to 5; 0.05 for the
    cube root; 0.02 for pcen and leaf)"""
    pcen_learned: bool = True
    """Learn the parameters of per-channel energy normalisation (pcen, leaf) for each channel, instead of
    keeping their initial values."""
    windows_ms: Sequence[Milliseconds] = (25.0, 50.0, 100.0)
    """Of learned_resolution: lengths of its analysis windows in milliseconds. Their spectrograms are input
    channels of the network, which learns what to use. It replaces window_ms."""
    dense_hop_ms: HopMilliseconds = 2.5
    """Of learned_resolution and leaf: distance in milliseconds between the frames from which the learned hop
    is made."""
    dense_channels: MelChannels = 128
    """Of learned_resolution: number of mel channels from which the learned ones are made."""
    smoothness: Annotated[float, Between(0, 10_000)] = 4.0
    """Of learned_resolution and leaf: width in DFT bins of the ramp of their DiffStride layer. It lies inside
    the cut-off."""
    image_size: tuple[Pixels, Pixels] = (32, 32)
    """Of pixels: height and width of the images."""
    colours: Annotated[int, Between(1, 64)] = 3
    """Of pixels: number of colours, 1 for grey images."""

    def __post_init__(self) -> None:
        self.windows_ms = tuple(self.windows_ms)
        height, width = self.image_size
        self.image_size = (height, width)
        check_ranges(self, "frontend.")
        if self.kind == "pixels":
            self._check_image()
            return
        if not self.windows_ms:
            raise ValueError("frontend.windows_ms names no window")
        self._check_frequencies()
        self._check_hops()
        self._check_windows()
        self._check_memory()

    @property
    def learns_hop(self) -> bool:
        """Whether the hop is learned, from a dense grid."""
        return self.kind in ("learned_resolution", "leaf")

    @property
    def windows(self) -> tuple[float, ...]:
        """Lengths in milliseconds of the windows of this kind."""
        return tuple(self.windows_ms) if self.kind == "learned_resolution" else (self.window_ms,)

    @property
    def images(self) -> int:
        """Number of spectrograms of the same sound or of colours, the input channels of the network."""
        return self.colours if self.kind == "pixels" else len(self.windows)

    @property
    def channels(self) -> int:
        """Number of channels of the features, before a learned resolution makes its own of them."""
        return self.dense_channels if self.kind == "learned_resolution" else self.mel_channels

    @property
    def grid_hop_ms(self) -> float:
        """Distance in milliseconds between the frames of the features, in whole samples."""
        hop = self.dense_hop_ms if self.learns_hop else self.hop_ms
        return samples_of(hop, self.sample_rate) * 1000 / self.sample_rate

    @property
    def highest_hz(self) -> float:
        """Upper edge of the highest channel in Hz."""
        return _HIGHEST * self.sample_rate if self.f_max is None else self.f_max

    @property
    def _analysis(self) -> tuple[str, str, str]:
        """Names of the settings that describe the analysis: its windows, its hop and its channels."""
        names = {
            "learned_resolution": ("windows_ms", "dense_hop_ms", "dense_channels"),
            "leaf": ("window_ms", "dense_hop_ms", "mel_channels"),
        }
        return names.get(self.kind, ("window_ms", "hop_ms", "mel_channels"))

    def _check_image(self) -> None:
        height, width = self.image_size
        if height * width * self.colours > _LARGEST_IMAGE:
            raise ValueError(
                f"frontend.image_size {height} × {width} with {self.colours} colours makes more than "
                f"{_LARGEST_IMAGE:,} numbers: lower it"
            )

    def _check_frequencies(self) -> None:
        if self.highest_hz > self.sample_rate / 2:
            raise ValueError(
                f"frontend.f_max is {self.highest_hz:g} Hz, above half the sample rate of "
                f"{self.sample_rate} Hz: lower it to at most {self.sample_rate / 2:g}, or leave it out"
            )
        if self.f_min >= self.highest_hz:
            raise ValueError(
                f"frontend.f_min is {self.f_min:g} Hz, but the highest frequency is {self.highest_hz:g} Hz: "
                "lower frontend.f_min"
            )

    def _check_hops(self) -> None:
        for name in dict.fromkeys(("hop_ms", self._analysis[1])):
            hop = getattr(self, name)
            if self.sample_rate * hop < 1000:
                raise ValueError(
                    f"frontend.{name} is {hop:g}, less than a sample at {self.sample_rate} Hz: raise it"
                )
        if self.learns_hop and self.dense_hop_ms > self.hop_ms:
            raise ValueError(
                f"frontend.dense_hop_ms is {self.dense_hop_ms:g}, but frontend.hop_ms, where the learned hop "
                f"begins, is {self.hop_ms:g}: lower frontend.dense_hop_ms"
            )
        if self.channels < self.mel_channels:
            raise ValueError(
                f"frontend.dense_channels is {self.dense_channels}, but frontend.mel_channels, where the "
                f"learned ones begin, is {self.mel_channels}: raise frontend.dense_channels"
            )

    def _check_windows(self) -> None:
        of_windows, of_hop, of_channels = self._analysis
        hop, channels, windows = getattr(self, of_hop), self.channels, self.windows
        if min(windows) < hop:
            raise ValueError(
                f"frontend.{of_windows}: a window of {min(windows):g} ms leaves out sound between frames "
                f"that are {hop:g} ms apart: lengthen it, or lower frontend.{of_hop}"
            )
        if self.sample_rate * sum(windows) / 1000 * channels > _LARGEST_TABLE:
            raise ValueError(
                f"frontend.{of_windows}: windows of together {sum(windows):g} ms at {self.sample_rate} Hz "
                f"with {channels} channels make tables of more than {_LARGEST_TABLE:,} numbers: shorten "
                f"them, or lower frontend.{of_channels}"
            )
        if self.kind == "leaf":  # its filters need no bins of a spectrum
            return
        for window in windows:
            try:
                fft_length(self.sample_rate, window, hop, channels, self.f_min, self.highest_hz)
            except ValueError as error:
                raise ValueError(f"frontend.{of_channels}: {error}") from error

    def _check_memory(self) -> None:
        of_windows, of_hop, of_channels = self._analysis
        frames = 1000 / self.grid_hop_ms
        features = frames * self.channels * self.images
        samples = [samples_of(window, self.sample_rate) for window in self.windows]
        spectrum = frames * sum(1 << (window - 1).bit_length() for window in samples)
        if self.kind == "leaf":
            spectrum = 2.0 * self.sample_rate * self.channels  # the outputs of the filters
        if max(features, spectrum) > _MOST_PER_SECOND:
            raise ValueError(
                f"frontend.{of_hop}: {self.channels} channels every {self.grid_hop_ms:g} ms at "
                f"{self.sample_rate} Hz make more than {_MOST_PER_SECOND:,} numbers of each second of sound: "
                f"lengthen it, shorten frontend.{of_windows}, or lower frontend.{of_channels}"
            )
