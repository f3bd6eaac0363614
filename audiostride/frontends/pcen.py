"""Per-channel energy normalisation: an automatic gain for each channel, instead of the logarithm."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from audiostride.frontends.frontend import limited
from audiostride.frontends.mel_power import MelPower
from audiostride.layers.functional import autocast_device


def smooth(energy: Tensor, smoothing: Tensor, doublings: int | None = None) -> Tensor:
    """Smooth each channel by a recursive low-pass: M[t] = (1 − s) M[t − 1] + s E[t], with M[0] = E[0].

    The recursion is unrolled by doubling: log2(frames) additions of the whole tensor to a delayed copy.

    Args:
        energy: (…, frames, channels).
        smoothing: (channels,), s in (0, 1].
        doublings: number of doublings; each frame then depends on the last 2 ** doublings frames alone. By
            default all that the frames need. An exported graph, whose operations must not depend on the
            number of frames, has `enough_doublings`.

    >>> smooth(torch.tensor([[1.0], [3.0], [3.0]]), torch.tensor([0.5]))
    tensor([[1.0000],
            [2.0000],
            [2.5000]])
    """
    frames = energy.shape[-2]
    smoothed = torch.cat([energy[..., :1, :], smoothing * energy[..., 1:, :]], -2)
    decay, delay = 1 - smoothing, 1
    for _ in range((frames - 1).bit_length() if doublings is None else doublings):
        smoothed = smoothed + decay * pad(smoothed, (0, 0, delay, 0)).narrow(-2, 0, frames)
        decay, delay = decay * decay, 2 * delay
    return smoothed


def enough_doublings(smoothing: Tensor, most_frames: int) -> int:
    """Return a number of doublings after which `smooth` equals the recursion, for any number of frames.

    What is left out weighs less than 1e-16 of the loudest frame: far less than rounding, also where the
    sound becomes 120 dB quieter.

    Args:
        smoothing: (channels,), s in (0, 1].
        most_frames: largest number of frames.
    """
    decay = 1 - smoothing.double().min().item()
    frames = most_frames if decay == 1 else min(most_frames, math.log(1e-16) / math.log(max(decay, 1e-16)))
    return math.ceil(math.log2(max(1, frames)))


class Pcen(nn.Module):
    """Per-channel energy normalisation: (E / (ε + M)^α + δ)^r − δ^r, where M is the smoothed energy.

    Equal to ``librosa.pcen``, except that smoothing begins with the energy of the first frame, so that the
    result does not depend on the level of the sound at its begin. Its ranges hold whatever is learned:
    α, r and s in (0, 1), δ > 0.

    Source: Wang et al., "Trainable frontend for robust and far-field keyword spotting", ICASSP 2017.

    Args:
        channels: number of channels.
        frame_rate: frames per second.
        gain: initial α in (0, 1), how much of the level is removed.
        bias: initial δ > 0.
        power: initial r in (0, 1), exponent of the compression.
        time_s: time constant in seconds of the smoothing.
        floor: ε > 0, energy below which the gain no longer rises.
        learned: whether the parameters are learned, for each channel. Otherwise they are buffers.

    Attributes:
        doublings: number of doublings of `smooth`, or None for all that the frames need.

    Shape:
        (…, frames, channels), ≥ 0, to the same shape, ≥ 0.

    Raises:
        ValueError: if an argument is out of its range.

    >>> softer, louder = Pcen(2, frame_rate=100.0)(torch.tensor([[[1e2, 1e3]], [[1e4, 1e5]]]))
    >>> torch.allclose(softer, louder, atol=0.1)
    True
    """

    gain_logit: Tensor
    log_bias: Tensor
    power_logit: Tensor
    smoothing_logit: Tensor

    def __init__(
        self,
        channels: int,
        frame_rate: float,
        *,
        gain: float = 0.98,
        bias: float = 2.0,
        power: float = 0.5,
        time_s: float = 0.4,
        floor: float = 1e-6,
        learned: bool = True,
    ) -> None:
        super().__init__()
        if not 0 < gain < 1 or not 0 < power < 1:
            raise ValueError(f"gain and power must be between 0 and 1, but are {gain:g} and {power:g}")
        if min(bias, time_s, floor, frame_rate) <= 0:
            raise ValueError(
                "bias, time_s, floor and frame_rate must be above 0, but are "
                f"{bias:g}, {time_s:g}, {floor:g} and {frame_rate:g}"
            )
        self.floor = floor
        self.doublings: int | None = None
        frames = time_s * frame_rate
        # The low-pass whose response falls to 1/√2 where that of an exponential decay does, as in librosa.
        smoothing = (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
        initial = {
            "gain_logit": math.log(gain / (1 - gain)),
            "log_bias": math.log(bias),
            "power_logit": math.log(power / (1 - power)),
            "smoothing_logit": math.log(smoothing / (1 - smoothing)),
        }
        for name, value in initial.items():
            values = torch.full((channels,), value, dtype=torch.float32)
            if learned:
                self.register_parameter(name, nn.Parameter(values))
            else:
                self.register_buffer(name, values)

    @property
    def smoothing(self) -> Tensor:
        """Coefficients s of the smoothing, (channels,)."""
        return _limited_logit(self.smoothing_logit).sigmoid()

    def forward(self, energy: Tensor) -> Tensor:
        return self.compress(energy, smooth(energy, self.smoothing, self.doublings))

    def compress(self, energy: Tensor, smoothed: Tensor) -> Tensor:
        """Return the normalised energy, both (…, frames, channels)."""
        gain, power = (_limited_logit(logit).sigmoid() for logit in (self.gain_logit, self.power_logit))
        bias = _limited_logit(self.log_bias).exp()
        return (energy * (smoothed + self.floor) ** -gain + bias) ** power - bias**power


def _limited_logit(logit: Tensor) -> Tensor:
    """Limit the logit of a parameter, so that float32 does not round the parameter to an end of its range."""
    return limited(logit, -15, 15)


class PcenMel(MelPower):
    """Power in mel channels after per-channel energy normalisation, see `MelPower` and `Pcen`.

    Args:
        learned: whether the parameters of the normalisation are learned.
        sample_rate, window_ms, hop_ms, mel_channels, f_min, f_max: see `MelPower`.

    Shape:
        (…, samples), floating point in [−1, 1] or int16, to (…, samples // hop, mel_channels).

    >>> PcenMel()(torch.zeros(2, 16000)).shape
    torch.Size([2, 100, 64])
    """

    smallest_deviation = 0.02

    def __init__(
        self,
        learned: bool = True,
        sample_rate: int = 16000,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        mel_channels: int = 64,
        f_min: float = 60.0,
        f_max: float = 7800.0,
    ) -> None:
        super().__init__(sample_rate, window_ms, hop_ms, mel_channels, f_min, f_max)
        self.learned = learned
        self.pcen = Pcen(mel_channels, sample_rate / self.hop, learned=learned)

    def forward(self, waveform: Tensor) -> Tensor:
        power = self.power(waveform)
        with torch.autocast(autocast_device(power.device), enabled=False):
            return self.pcen(power)

    def macs(self, samples: int) -> int:
        frames, channels = self.size(samples)
        # A doubling of the smoothing, a power and a product count one each.
        per_frame = math.ceil(math.log2(max(2, frames))) + 3
        return super().macs(samples) + frames * channels * per_frame

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | {"kind": "pcen", "pcen_learned": self.learned}
