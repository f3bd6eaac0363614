"""Log-mel spectrograms of waveforms."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from audiostride.errors import UserError
from audiostride.frontends.waveform import as_float

try:
    from torchaudio.transforms import MelSpectrogram
except OSError as error:  # its compiled library was built for another torch
    raise UserError(
        f"torchaudio {version('torchaudio')} does not load beside torch {torch.__version__}: "
        "pip install 'torch==2.11.*' torchaudio==2.11.0"
    ) from error


class LogMel(nn.Module):
    """Logarithm of the power in mel channels, one frame per hop.

    Frame i is centred on the middle of hop i, samples i · hop to (i + 1) · hop, and the signal is continued
    by zeros. So one second gives exactly 100 frames with the default settings. The spectrum uses a periodic
    Hann window, the mel scale is HTK's, and its triangles have height 1. Everything is computed in float32,
    also under autocast and in a network of half precision: 16 bits cannot hold the range of a power spectrum.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        window_ms: length of the analysis window in milliseconds.
        hop_ms: distance between frames in milliseconds; it is rounded to a whole number of samples.
        mel_channels: number of mel channels.
        f_min: lower edge of the lowest channel in Hz.
        f_max: upper edge of the highest channel in Hz. The range from 60 to 7800 Hz is that of Tagliasacchi
            et al. 2019 ("Pre-training audio representations with self-supervision"), the source of the
            network.
        offset: number added to the power before the logarithm. A sine of full scale reaches about 1e4.

    Shape:
        (…, samples), floating point in [−1, 1] or int16, to (…, samples // hop, mel_channels).

    Raises:
        ValueError: in the forward pass, if there are fewer samples than one hop or if they are of another
            type.

    >>> LogMel()(torch.zeros(2, 16000)).shape
    torch.Size([2, 100, 64])
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        mel_channels: int = 64,
        f_min: float = 60.0,
        f_max: float = 7800.0,
        offset: float = 1e-6,
    ) -> None:
        super().__init__()
        self.sample_rate, self.mel_channels, self.offset = sample_rate, mel_channels, offset
        self.window_ms, self.hop_ms, self.f_min, self.f_max = window_ms, hop_ms, f_min, f_max
        self.hop = round(sample_rate * hop_ms / 1000)
        window = round(sample_rate * window_ms / 1000)
        # A power of two is fast. Its bins are closer together than the lowest channels, so no channel is
        # empty.
        n_fft = 1 << (window - 1).bit_length()
        with torch.device("cpu"):  # torchaudio cannot compute its tables on the meta device
            self.mel = MelSpectrogram(
                sample_rate,
                n_fft,
                win_length=window,
                hop_length=self.hop,
                f_min=f_min,
                f_max=f_max,
                n_mels=mel_channels,
                center=False,
            )
        # The tables follow from the arguments, so checkpoints need not store them.
        for module in (self.mel.spectrogram, self.mel.mel_scale):
            module._non_persistent_buffers_set.update(module._buffers)
        self.padding = ((n_fft - self.hop) // 2, n_fft - self.hop - (n_fft - self.hop) // 2)

    def configuration(self) -> dict[str, float]:
        """Return the arguments that build this frontend again."""
        names = ("sample_rate", "window_ms", "hop_ms", "mel_channels", "f_min", "f_max", "offset")
        return {name: getattr(self, name) for name in names}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move to another device with the network, but stay in float32 if it becomes half precision."""
        device = fn(torch.zeros(0)).device
        return super()._apply(lambda table: table.to(device), recurse)

    def forward(self, waveform: Tensor) -> Tensor:
        waveform = as_float(waveform)
        if waveform.ndim == 0:
            raise ValueError("expected waveforms (…, samples), but got a single number")
        if waveform.shape[-1] < self.hop:
            raise ValueError(f"a waveform needs at least {self.hop} samples, but has {waveform.shape[-1]}")
        if waveform.numel() == 0:  # the Fourier transform refuses an empty batch
            shape = (*waveform.shape[:-1], waveform.shape[-1] // self.hop, self.mel_channels)
            return waveform.new_zeros(shape, dtype=torch.float32)
        with torch.autocast("cpu" if waveform.is_meta else waveform.device.type, enabled=False):
            padded = functional.pad(waveform.float(), self.padding)
            return (self.mel(padded) + self.offset).log().mT
