"""Recognise sound that was upsampled from a lower rate, such as telephone speech stored at 16 kHz.

Resampling leaves only rounding noise above half the lower rate, and ends there abruptly. Music or birds with
little sound at high frequencies fade out gradually, and recorded silence is louder than rounding noise.
"""

import numpy as np
from numpy.typing import NDArray

from audiostride.data.store import SAMPLE_RATE

# Lower sample rates in Hz: telephones, old computers, and twelve thousand for some speech coders.
_RATES = (12000, 11025, 8000)
# A spectrum is the mean power of at most so many frames of so many samples, spread over the recording. A few
# of them show that most recordings have sound at high frequencies, which takes a fifth of the time.
_FRAMES, _FEW_FRAMES, _LENGTH = 32, 4, 1024
_WINDOW = np.hanning(_LENGTH).astype(np.float32)
_FREQUENCIES = np.fft.rfftfreq(_LENGTH, 1 / SAMPLE_RATE)
_HIGHEST = 0.975 * SAMPLE_RATE / 2
# Least ratio of the power below half the lower rate to that above it: 25 dB. None of 4,196 recorded words,
# notes and scenes has as much.
_DROP = 10**2.5
_QUANTILE = 0.2  # of the power in the bins below: between the partials of a note there is no sound
# Highest power above it in any bin. That of rounding to 16 bits is 32.
_ROUNDING = 200.0


def upsampled_from(samples: NDArray[np.int16]) -> int | None:
    """Return the sample rate in Hz that a sound at 16 kHz was upsampled from, or None without signs of it.

    Recordings that are quieter than about −60 dB, or mixed with other sound after the upsampling, show none.

    Args:
        samples: (samples,), int16.
    """
    if len(samples) < _LENGTH:
        return None
    last = len(samples) - _LENGTH
    begins = np.linspace(0, last, min(_FRAMES, 2 * last // _LENGTH + 1)).astype(np.int64)
    few = begins[:: max(1, len(begins) // _FEW_FRAMES)]
    loudest = _band(_mean_power(samples, few), 1.06 * _RATES[0] / 2, _HIGHEST).max()
    if loudest * len(few) > _ROUNDING * len(begins):  # their mean over all frames cannot be lower
        return None
    power = _mean_power(samples, begins)
    return next((rate for rate in _RATES if _ends_at(power, rate / 2)), None)


def _ends_at(power: NDArray[np.float32], edge: float) -> bool:
    """Return whether a spectrum drops to rounding noise at a frequency in Hz."""
    above = _band(power, 1.06 * edge, _HIGHEST).max()
    below = np.quantile(_band(power, 0.75 * edge, 0.93 * edge), _QUANTILE)
    just_above = _band(power, 1.05 * edge, 1.2 * edge).max()
    just_below = np.quantile(_band(power, 0.85 * edge, 0.95 * edge), _QUANTILE)
    return bool(above <= _ROUNDING and below >= _DROP * above and just_below >= _DROP * just_above)


def _band(power: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    return power[(low <= _FREQUENCIES) & (high >= _FREQUENCIES)]


def _mean_power(samples: NDArray[np.int16], begins: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (bins,), the mean power of the frames that begin there, at least 1."""
    frames = samples[begins[:, None] + np.arange(_LENGTH)] * _WINDOW
    return (np.abs(np.fft.rfft(frames)) ** 2).mean(0) + 1
