"""What a classifier needs of a frontend."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from audiostride.frontends.waveform import as_float


class FeatureAxis(NamedTuple):
    """What an axis of a frontend's features means.

    Attributes:
        name: its name, such as "time" or "height".
        unit: unit of its frequencies, such as "Hz" or "cycles/mel".
        long_unit: the unit in words.
        rate: samples of the features per unit of length, such as frames per second.
    """

    name: str
    unit: str
    long_unit: str
    rate: float


class Frontend(nn.Module, ABC):
    """From waveforms or images to what a network takes.

    A classifier normalises each channel of `features`, and then calls `downsample`. Frontends that learn
    their resolution make dense features, and downsample them by strides that are learned.

    Features are computed in float32, also under autocast and in a network of another type: 16 bits cannot
    hold the range of a power spectrum.

    Methods that take the length of a window in seconds are the same for all windows if the input has a fixed
    size.

    Attributes:
        images: number of spectrograms of the same sound or of colours, the input channels of the network.
        channels: number of channels of the features.
        smallest_deviation: standard deviation of a channel below which it counts as quiet, in the unit of the
            features. Normalisation does not amplify such a channel further.
        input_name: what the frontend takes, in a word; the name of the input of an exported model.
        makes: what the network takes, in a word.
    """

    input_name: str
    makes: str
    images: int = 1
    channels: int
    smallest_deviation: float

    @property
    @abstractmethod
    def axes(self) -> tuple[FeatureAxis, FeatureAxis]:
        """What the two axes of the features mean, in the order of strides."""

    @property
    @abstractmethod
    def takes(self) -> str:
        """What the frontend takes, in words: "sound at 16000 Hz"."""

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Raise `ValueError` unless a batch has the shape that the frontend takes."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Return the features (batch, images, frames, channels) of a batch of waveforms or images."""

    @property
    def strides(self) -> Tensor | None:
        """Learned strides over both axes, (2,), relative to the dense grid; None without."""
        return None

    def downsample(self, features: Tensor) -> Tensor:
        """Return what the network takes, (batch, images, time, mel), from normalised features."""
        return features

    def exceeds(self, x: Tensor, seconds: float) -> bool:
        """Return whether a batch holds waveforms of more than so many seconds."""
        return False

    @abstractmethod
    def example_shape(self, window_s: float) -> tuple[int, ...]:
        """Return the shape of one example, without the batch, for windows of so many seconds."""

    @abstractmethod
    def feature_size(self, window_s: float) -> tuple[int, int]:
        """Return the lengths of both axes of the features, before learned strides."""

    @abstractmethod
    def network_size(self, window_s: float) -> tuple[int, int]:
        """Return the lengths of both axes of what the network takes."""

    @abstractmethod
    def example_macs(self, window_s: float) -> int:
        """Return the multiply-accumulates for one example."""

    @abstractmethod
    def configuration(self) -> dict[str, Any]:
        """Return the settings that build this frontend again, by their names in `FrontendSettings`."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move to another device with the network, but keep the types of parameters and tables.

        Tables keep their values too, under `to_empty` as well: checkpoints do not hold them.
        """

        def moved(tensor: Tensor) -> Tensor:
            device = fn(tensor).device
            return torch.empty_like(tensor, device=device) if tensor.is_meta else tensor.to(device)

        return super()._apply(moved, recurse)


class SoundFrontend(Frontend):
    """Base class of frontends from waveforms to spectrograms.

    Attributes:
        sample_rate: sample rate of the waveforms in Hz.
        f_min: lower edge of the lowest channel in Hz.
        f_max: upper edge of the highest channel in Hz.
        hop: distance in samples between the frames of the features. A waveform needs at least as many.
        channel_name: what a channel is, in units, and in words.
    """

    input_name = "waveform"
    makes = "spectrogram"
    sample_rate: int
    f_min: float
    f_max: float
    hop: int
    channel_name: tuple[str, str] = ("mel", "mel channel")

    @property
    def axes(self) -> tuple[FeatureAxis, FeatureAxis]:
        short, long = self.channel_name
        return (
            FeatureAxis("time", "Hz", "Hz of modulation", self.sample_rate / self.hop),
            FeatureAxis("frequency", f"cycles/{short}", f"cycles per {long}", 1.0),
        )

    @property
    def takes(self) -> str:
        return f"sound at {self.sample_rate} Hz"

    def check(self, x: Tensor) -> None:
        if x.ndim != 2:
            raise ValueError(f"expected waveforms (batch, samples), but got shape {tuple(x.shape)}")

    def checked(self, waveform: Tensor) -> Tensor:
        """Return waveforms (…, samples) in float32.

        Raises:
            ValueError: if they have another shape or type, or fewer samples than one hop.
        """
        waveform = as_float(waveform).float()
        if waveform.ndim == 0:
            raise ValueError("expected waveforms (…, samples), but got a single number")
        if waveform.shape[-1] < self.hop:
            raise ValueError(f"a waveform needs at least {self.hop} samples, but has {waveform.shape[-1]}")
        return waveform

    def exceeds(self, x: Tensor, seconds: float) -> bool:
        return x.ndim == 2 and x.shape[1] > self.samples(seconds)

    def samples(self, seconds: float) -> int:
        """Return the number of samples of so many seconds."""
        return round(seconds * self.sample_rate)

    def example_shape(self, window_s: float) -> tuple[int, ...]:
        return (self.samples(window_s),)

    def feature_size(self, window_s: float) -> tuple[int, int]:
        return self.frames(self.samples(window_s)), self.channels

    def network_size(self, window_s: float) -> tuple[int, int]:
        return self.size(self.samples(window_s))

    def example_macs(self, window_s: float) -> int:
        return self.macs(self.samples(window_s))

    @abstractmethod
    def size(self, samples: int) -> tuple[int, int]:
        """Return (time, mel) of what the network takes, for waveforms of so many samples."""

    def frames(self, samples: int) -> int:
        """Return the number of frames of the features, for waveforms of so many samples."""
        return samples // self.hop

    @abstractmethod
    def macs(self, samples: int) -> int:
        """Return the multiply-accumulates for a waveform of so many samples.

        A Fourier transform of n real samples counts n · log2(n).
        """


def initial_stride(ratio: float) -> float:
    """Return the stride ≥ 1 with which training begins, for the ratio of a wanted distance to a dense one.

    It is rounded down to a number that float32 holds: rounding up would lose a point of the wanted grid.

    >>> 128 // initial_stride(128 / 96)
    96.0
    """
    exact = torch.tensor(max(1.0, ratio), dtype=torch.float64, device="cpu")
    rounded = exact.float()
    return (rounded if rounded <= exact else rounded.nextafter(torch.zeros_like(rounded))).item()


def limited(values: Tensor, least: float, most: float) -> Tensor:
    """Clamp values, but pass their gradient straight through, so that a value beyond a limit can come back.

    >>> limited(torch.tensor([-3.0, 0.5]), 0.0, 1.0)
    tensor([0.0000, 0.5000])
    """
    return values.detach().clamp(least, most) + (values - values.detach())
