"""Log-mel spectrograms of waveforms."""

from typing import Any, Literal

from torch import Tensor

from audiostride.frontends.mel_power import MelPower


class LogMel(MelPower):
    """Logarithm of the power in mel channels, one frame per hop.

    One second gives exactly 100 frames with the default settings. `MelPower` describes frames, windows and
    the mel scale.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        window_ms: length of the analysis window in milliseconds.
        hop_ms: distance between frames in milliseconds; it is rounded to a whole number of samples.
        mel_channels: number of mel channels.
        f_min: lower edge of the lowest channel in Hz.
        f_max: upper edge of the highest channel in Hz. The range from 60 to 7800 Hz is that of Tagliasacchi
            et al. 2019 ("Pre-training audio representations with self-supervision"), the source of the
            network.
        offset: number added to the power before it is compressed. A sine of full scale reaches about 1e4.
        compression: "log", or "root" for the cube root.

    Shape:
        (…, samples), floating point in [−1, 1] or int16, to (…, samples // hop, mel_channels).

    Raises:
        ValueError: if mel channels are too narrow for the window; in the forward pass, if there are fewer
            samples than one hop or if they are of another type.

    >>> import torch
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
        compression: Literal["log", "root"] = "log",
    ) -> None:
        super().__init__(sample_rate, window_ms, hop_ms, mel_channels, f_min, f_max)
        self.offset, self.compression = offset, compression
        # Channels with sound deviate by 2 to 5 in the logarithm of the power.
        self.smallest_deviation = 1.0 if compression == "log" else 0.05

    def forward(self, waveform: Tensor) -> Tensor:
        return self.compress(self.power(waveform))

    def compress(self, power: Tensor) -> Tensor:
        """Return the spectrogram of this power, ≥ 0."""
        shifted = power + self.offset
        return shifted.log() if self.compression == "log" else shifted ** (1 / 3)

    def log_power(self, spectrogram: Tensor) -> Tensor:
        """Return the natural logarithm of the power, plus the offset, of this spectrogram."""
        if self.compression == "log":
            return spectrogram
        return (self.power_of(spectrogram) + self.offset).log()

    def power_of(self, spectrogram: Tensor) -> Tensor:
        """Return the power that was compressed to this spectrogram, ≥ 0."""
        power = spectrogram.exp() if self.compression == "log" else spectrogram**3
        return (power - self.offset).clamp(min=0)

    def configuration(self) -> dict[str, Any]:
        mine = {"kind": "log_mel", "offset": self.offset, "compression": self.compression}
        return super().configuration() | mine
