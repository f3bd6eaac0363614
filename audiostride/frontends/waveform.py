"""Waveforms as numbers, and their level."""

import torch
from torch import Tensor


def as_float(waveform: Tensor) -> Tensor:
    """Return int16 samples as float32 in [−1, 1), and floating point as it is.

    Raises:
        ValueError: if the samples are of another type.
    """
    if waveform.dtype == torch.int16:
        return waveform.float() / 32768
    if not waveform.is_floating_point():
        raise ValueError(f"waveforms must be floating point or int16, but got {waveform.dtype}")
    return waveform


def normalise_level(waveform: Tensor, rms: float = 0.1, floor: float = 1e-4) -> Tensor:
    """Remove the mean of each waveform, and scale it to the same root mean square.

    What follows then does not depend on how far away or how loud the source of the sound is. A waveform whose
    level is below `floor` gets the gain of one at `floor`, so silence stays silence.

    Args:
        waveform: (…, samples), floating point in [−1, 1] or int16.
        rms: root mean square of the result. 0.1 is 20 dB below full scale, a usual level of speech.
        floor: root mean square below which the gain no longer rises; 1e-4 is 80 dB below full scale.

    Returns:
        (…, samples), float32; its peaks may exceed 1.

    Raises:
        ValueError: if the samples are of another type.

    >>> loud = torch.sin(torch.arange(16000) / 10)
    >>> torch.allclose(normalise_level(0.01 * loud), normalise_level(loud), atol=1e-5)
    True
    """
    waveform = as_float(waveform).float()
    centred = waveform - waveform.mean(-1, keepdim=True)
    # The power is limited before its root is taken, whose derivative at 0 is infinite.
    level = centred.square().mean(-1, keepdim=True).clamp(min=floor**2).sqrt()
    return centred * (rms / level)
