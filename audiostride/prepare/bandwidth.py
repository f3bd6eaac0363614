"""Recognise sound that was upsampled from a lower rate, such as telephone speech stored at 16 kHz.

Resampling leaves only rounding noise above half the lower rate, and ends there abruptly. Music or birds with
little sound at high frequencies fade out gradually, and recorded silence is louder than rounding noise.
"""

from collections.abc import Mapping
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from audiostride.audio_file import Sound

# Usual sample rates in Hz, from detectors of bats down to hydrophones.
_RATES = (
    *(250000, 192000, 96000, 48000, 44100, 32000, 24000, 22050),
    *(16000, 12000, 11025, 8000, 4000, 2000, 1000),
)
# Highest rate that counts as lower, as a fraction of the sound's own: half of it must be well below the
# highest frequency that is looked at, above which filters leave no sound anyway.
_LOWER, _HIGHEST = 0.8, 0.975
# A spectrum is the mean power of at most so many frames of so many seconds, spread over the recording. A few
# of them show that most recordings have sound at high frequencies, which takes a fifth of the time.
_FRAMES, _FEW_FRAMES, _FRAME_S = 32, 4, 0.064
# Least ratio of the power below half the lower rate to that above it: 25 dB. Of 4,196 recorded words, notes
# and scenes one word has as much, 44 dB at 5.5 kHz.
_DROP = 10**2.5
_QUANTILE = 0.2  # of the power in the bins below: between the partials of a note there is no sound
# Highest power above it in any bin, as the variance of white noise. That of rounding to 16 bits is 1/12.
_ROUNDING = 0.52
_LEAST = 1 / 384
# A corpus gets a note if at least this fraction of its recordings seems recorded at a lower rate.
_NOTED = 0.01


def recorded_rate(sound: Sound) -> int | None:
    """Return the sample rate in Hz at which a sound seems recorded, or None unless it is a lower one.

    It is the rate of the file, or the one that `upsampled_from` finds, if that is lower.
    """
    rates = (sound.file_rate, upsampled_from(sound.samples, sound.sample_rate))
    return min((rate for rate in rates if rate and rate <= _LOWER * sound.sample_rate), default=None)


def bandwidth_problem(rate: int) -> str:
    """Return what is wrong with a file that seems recorded at a lower sample rate in Hz."""
    return f"has nothing above {rate / 2000:g} kHz, as if recorded at {rate / 1000:g} kHz"


def bandwidth_notes(counts: Mapping[int, int], recordings: int) -> list[str]:
    """Return a note on the recordings that seem recorded at lower sample rates, if they are at least 1 %.

    If they are most recordings, the note says what to do.

    Args:
        counts: from each lower rate in Hz to the number of its recordings.
        recordings: number of all recordings.
    """
    total = sum(counts.values())
    if total < _NOTED * recordings or not total:
        return []
    rates = sorted(counts)
    found = ", ".join(f"{counts[rate]} at {rate / 1000:g} kHz" for rate in rates)
    note = f"{total} of {recordings} recordings seem recorded at a lower sample rate ({found})"
    for rate, up_to_it in zip(rates, accumulate(counts[rate] for rate in rates), strict=True):
        if 2 * up_to_it > recordings:
            advice = f"prepare with --sample_rate {rate}, and train with --frontend.sample_rate {rate}"
            return [f"{note}: {advice}"]
    return [f"{note}, which a network may learn instead of the classes"]


def upsampled_from(samples: NDArray[np.int16], sample_rate: int) -> int | None:
    """Return the sample rate in Hz that a sound was upsampled from, or None without signs of it.

    Recordings that are quieter than about −60 dB, or mixed with other sound after the upsampling, show none.

    Args:
        samples: (samples,), int16.
        sample_rate: their sample rate in Hz.
    """
    rates = [rate for rate in _RATES if rate <= _LOWER * sample_rate]
    length = round(_FRAME_S * sample_rate)
    if not rates or len(samples) < length:
        return None
    last = len(samples) - length
    begins = np.linspace(0, last, min(_FRAMES, 2 * last // length + 1)).astype(np.int64)
    few = begins[:: max(1, len(begins) // _FEW_FRAMES)]
    least = _Spectrum(samples, few, sample_rate).above(rates[0] / 2) * len(few) / len(begins)
    if least > _rounding(sample_rate, rates[0]):  # the mean over all frames cannot be lower
        return None
    spectrum = _Spectrum(samples, begins, sample_rate)
    return next((rate for rate in rates if spectrum.ends_at(rate / 2)), None)


def _rounding(sample_rate: int, rate: float) -> float:
    """Return the highest power in a bin that counts as rounding noise.

    If the sound was rounded at a lower rate, from `rate` on, its rounding noise is in fewer bins.
    """
    return _ROUNDING * sample_rate / rate


class _Spectrum:
    """The mean power of frames, as the variance of white noise with the same power in each bin.

    Args:
        samples: (samples,), int16.
        begins: (frames,), where the frames begin.
        sample_rate: sample rate of the samples in Hz.
    """

    def __init__(self, samples: NDArray[np.int16], begins: NDArray[np.int64], sample_rate: int) -> None:
        length = round(_FRAME_S * sample_rate)
        window = np.hanning(length).astype(np.float32)
        frames = samples[begins[:, None] + np.arange(length)] * window
        power = (np.abs(np.fft.rfft(frames)) ** 2).mean(0) / np.square(window).sum()
        self.power, self.sample_rate = np.maximum(power, _LEAST), sample_rate
        self.frequencies = np.fft.rfftfreq(length, 1 / sample_rate)

    def ends_at(self, edge: float) -> bool:
        """Return whether the spectrum drops to rounding noise at a frequency in Hz."""
        above = self.above(edge)
        below = np.quantile(self._band(0.75 * edge, 0.93 * edge), _QUANTILE)
        just_above = self._band(1.05 * edge, 1.2 * edge).max()
        just_below = np.quantile(self._band(0.85 * edge, 0.95 * edge), _QUANTILE)
        is_rounding = above <= _rounding(self.sample_rate, 2 * edge)
        return bool(is_rounding and below >= _DROP * above and just_below >= _DROP * just_above)

    def above(self, edge: float) -> float:
        """Return the highest power in a bin above a frequency in Hz."""
        return float(self._band(1.06 * edge, _HIGHEST * self.sample_rate / 2).max())

    def _band(self, low: float, high: float) -> NDArray[np.float32]:
        """Return (bins,), the power from one frequency to another."""
        return self.power[(low <= self.frequencies) & (self.frequencies <= high)]
