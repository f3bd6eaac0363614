"""What a classifier needs of a frontend."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class Frontend(nn.Module, ABC):
    """From waveforms to the spectrograms that a network takes.

    A classifier normalises each channel of `features`, and then calls `downsample`. Frontends that learn
    their resolution make dense features, and downsample them by strides that are learned.

    Features are computed in float32, also under autocast and in a network of another type: 16 bits cannot
    hold the range of a power spectrum.

    Attributes:
        sample_rate: sample rate of the waveforms in Hz.
        images: number of spectrograms of the same sound, which are input channels of the network.
        channels: number of channels of the features.
        hop: distance in samples between the frames of the features. A waveform needs at least as many.
        smallest_deviation: standard deviation of a channel below which it counts as quiet, in the unit of the
            features. Normalisation does not amplify such a channel further.
    """

    sample_rate: int
    images: int = 1
    channels: int
    hop: int
    smallest_deviation: float

    @abstractmethod
    def features(self, waveform: Tensor) -> Tensor:
        """Return the spectrograms (batch, images, frames, channels) of waveforms (batch, samples)."""

    @property
    def strides(self) -> Tensor | None:
        """Learned strides over time and frequency, (2,), relative to the dense grid; None without."""
        return None

    def downsample(self, features: Tensor) -> Tensor:
        """Return what the network takes: (batch, images, time, mel) from normalised features."""
        return features

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
