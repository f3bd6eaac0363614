"""Power of waveforms in mel channels."""

import math
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from audiostride.errors import UserError
from audiostride.frontends.frontend import SoundFrontend
from audiostride.layers.functional import autocast_device
from audiostride.mel_scale import fft_length, samples_of

try:
    from torchaudio.transforms import MelSpectrogram
except OSError as error:  # its compiled library was built for another torch
    raise UserError(
        f"torchaudio {version('torchaudio')} does not load beside torch {torch.__version__}: "
        "pip install 'torch==2.11.*' torchaudio==2.11.0"
    ) from error


class MelPower(SoundFrontend):
    """Base class of frontends that compress the power in mel channels, one frame per hop.

    Frame i is centred on the middle of hop i, samples i · hop to (i + 1) · hop, and the signal is continued
    by zeros. The spectrum uses a periodic Hann window, the mel scale is HTK's, and its triangles have height
    1.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        window_ms: length of the analysis window in milliseconds.
        hop_ms: distance between frames in milliseconds; it is rounded to a whole number of samples.
        mel_channels: number of mel channels.
        f_min: lower edge of the lowest channel in Hz.
        f_max: upper edge of the highest channel in Hz.

    Raises:
        ValueError: if channels are so narrow that no bin of the spectrum lies in them.
    """

    def __init__(
        self,
        sample_rate: int,
        window_ms: float,
        hop_ms: float,
        mel_channels: int,
        f_min: float,
        f_max: float,
    ) -> None:
        super().__init__()
        self.sample_rate, self.mel_channels, self.channels = sample_rate, mel_channels, mel_channels
        self.window_ms, self.hop_ms, self.f_min, self.f_max = window_ms, hop_ms, f_min, f_max
        self.hop = samples_of(hop_ms, sample_rate)
        n_fft = fft_length(sample_rate, window_ms, hop_ms, mel_channels, f_min, f_max)
        with torch.device("cpu"):  # torchaudio cannot compute its tables on the meta device
            self.mel = MelSpectrogram(
                sample_rate,
                n_fft,
                win_length=samples_of(window_ms, sample_rate),
                hop_length=self.hop,
                f_min=f_min,
                f_max=f_max,
                n_mels=mel_channels,
                center=False,
            ).float()  # also if the default type of torch is another one
        # The tables follow from the arguments, so checkpoints need not store them.
        for module in (self.mel.spectrogram, self.mel.mel_scale):
            module._non_persistent_buffers_set.update(module._buffers)
        left = n_fft // 2 - self.hop // 2
        self.padding = (left, n_fft - self.hop - left)

    def configuration(self) -> dict[str, Any]:
        names = ("sample_rate", "window_ms", "hop_ms", "mel_channels", "f_min", "f_max")
        return {name: getattr(self, name) for name in names}

    def power(self, waveform: Tensor) -> Tensor:
        """Return the power (…, samples // hop, mel_channels) of waveforms (…, samples) in float32."""
        waveform = self.checked(waveform)
        if waveform.numel() == 0:  # the Fourier transform refuses an empty batch
            return waveform.new_zeros(*waveform.shape[:-1], *self.size(waveform.shape[-1]))
        with torch.autocast(autocast_device(waveform.device), enabled=False):
            return self.mel_power(functional.pad(waveform, self.padding))

    def mel_power(self, padded: Tensor) -> Tensor:
        """Return the power (…, frames, mel_channels) of waveforms in float32 with zeros at both ends."""
        return self.mel(padded).mT

    def features(self, waveform: Tensor) -> Tensor:
        return self(waveform).unsqueeze(-3)

    def size(self, samples: int) -> tuple[int, int]:
        return samples // self.hop, self.mel_channels

    def macs(self, samples: int) -> int:
        n_fft = self.mel.n_fft
        squares = 2 * (n_fft // 2 + 1)
        return round(self.frames(samples) * (n_fft * math.log2(n_fft) + squares + self.filter_macs()))

    def filter_macs(self) -> int:
        """Return the multiply-accumulates of the mel filters for one frame."""
        return self.mel.mel_scale.fb.numel()
