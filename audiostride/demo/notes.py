"""Sounds of musical notes, from a timbre that is drawn from the ranges of its instrument family."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiostride.demo.signals import Ranges, Sound, coloured_noise, scale_to_peak, sine

NOTE_RATE = 16000


@dataclass(frozen=True)
class Timbre:
    """The timbre of an instrument: partials with envelopes, and noise with a level relative to theirs."""

    tilt: float = 1.5  # the k-th partial has amplitude k ** −tilt
    even: float = 1.0  # relative amplitude of even partials, low in closed pipes
    octaves: float = 0.0  # dB by which partials 1, 2, 4, … are raised, as by organ stops
    stretch: float = 1.0  # the k-th partial is at k ** stretch: above 1 in strings, more in bars
    pluck: float = 0.0  # relative position on the string; partials with a node there are missing
    formant: float = 500.0  # Hz, the first formant
    second: float = 1500.0  # Hz, the second formant
    gain: float = 0.0  # dB of both formants
    attack: float = 0.01  # s
    swell: float = 0.0  # how much longer the attack of each further partial is
    decay: float = 20.0  # s in which the fundamental falls by 8.7 dB
    damping: float = 0.0  # how much faster each further partial falls
    vibrato: float = 0.0  # cents, depth
    tremolo: float = 0.0  # depth relative to the amplitude
    detune: float = 0.0  # cents above and below the pitch, of two voices
    breath: float = 0.0  # level of noise during the note
    knock: float = 0.0  # level of noise at its beginning


# In the order of NSynth's numbers.
FAMILIES: dict[str, Ranges] = {
    "bass": {"tilt": (1.6, 3), "decay": (0.3, 1.2), "damping": (0.3, 1), "knock": (0, 0.3),
        "pluck": (0, 0.2)},
    "brass": {"tilt": (0.8, 1.8), "formant": (900, 1500), "second": (2000, 3000), "gain": (3, 12),
        "attack": (0.015, 0.04), "swell": (0.2, 0.8), "vibrato": (0, 12), "breath": (0, 0.04)},
    "flute": {"tilt": (1.8, 3.2), "even": (0.5, 1), "attack": (0.03, 0.1), "vibrato": (0, 30),
        "tremolo": (0, 0.3), "breath": (0.03, 0.2), "knock": (0, 0.2)},
    "guitar": {"tilt": (0.6, 1.5), "stretch": (1, 1.003), "pluck": (0.1, 0.35), "attack": (0.001, 0.004),
        "decay": (0.4, 2.5), "damping": (0.05, 0.3), "knock": (0.05, 0.3)},
    "keyboard": {"tilt": (1.3, 2.5), "stretch": (1.001, 1.006), "attack": (0.002, 0.008), "decay": (0.5, 3),
        "damping": (0.05, 0.3), "detune": (0, 2), "knock": (0, 0.3)},
    "mallet": {"tilt": (0.6, 2), "stretch": (1.4, 2.1), "attack": (0.001, 0.003), "decay": (0.1, 1),
        "damping": (0.2, 1.5), "tremolo": (0, 0.3), "knock": (0.2, 0.8)},
    "organ": {"tilt": (0.8, 2), "octaves": (4, 20), "attack": (0.003, 0.04), "tremolo": (0, 0.15),
        "breath": (0, 0.05), "knock": (0, 0.2)},
    "reed": {"tilt": (0.8, 1.6), "even": (0.05, 0.6), "formant": (800, 1500), "second": (2400, 3500),
        "gain": (2, 10), "attack": (0.015, 0.06), "vibrato": (0, 15), "breath": (0.01, 0.1)},
    "string": {"tilt": (0.7, 1.5), "formant": (400, 700), "second": (2200, 3200), "gain": (2, 8),
        "attack": (0.05, 0.2), "vibrato": (5, 30), "tremolo": (0, 0.2), "detune": (0, 8),
        "breath": (0.02, 0.1)},
    "synth_lead": {"tilt": (0.3, 1.2), "attack": (0.002, 0.03), "decay": (1, 20), "damping": (0, 0.3),
        "detune": (2, 14)},
    "vocal": {"tilt": (1, 1.8), "formant": (350, 850), "second": (900, 2300), "gain": (12, 24),
        "attack": (0.04, 0.15), "swell": (0, 0.2), "vibrato": (10, 50), "tremolo": (0, 0.2),
        "breath": (0.01, 0.08)},
}  # fmt: skip


def note_sound(timbre: Timbre, pitch: int, velocity: int, seconds: float, rng: np.random.Generator) -> Sound:
    """Return one note with a little background noise, (samples,).

    Args:
        timbre: the instrument.
        pitch: MIDI number.
        velocity: from 1 to 127; notes of higher velocity are louder and brighter.
        seconds: length. The note is released shortly before its end.
        rng: random generator.
    """
    time = np.arange(round(seconds * NOTE_RATE)) / NOTE_RATE
    sound = _tone(timbre, 440 * 2 ** ((pitch - 69) / 12), 1 - velocity / 127, time, rng)
    breath = coloured_noise(len(time), NOTE_RATE, 0.5, rng) * -np.expm1(-time / timbre.attack)
    sound += timbre.breath * breath * np.exp(-time / timbre.decay)
    sound += timbre.knock * np.exp(-time / 0.012) * coloured_noise(len(time), NOTE_RATE, 1, rng)
    sound *= 1 + timbre.tremolo * sine(time, rng.uniform(4, 7), rng)
    sound *= np.clip((seconds - time) / rng.uniform(0.05, 0.4), 0, 1)
    level = 10 ** (rng.uniform(-60, -35) / 20)
    sound += level * coloured_noise(len(time), NOTE_RATE, rng.uniform(0, 1.5), rng)
    return scale_to_peak(sound, (0.2 + 0.6 * velocity / 127) * rng.uniform(0.7, 1.1))


def _tone(timbre: Timbre, pitch: float, softness: float, time: Sound, rng: np.random.Generator) -> Sound:
    """Return the partials of a note below the Nyquist frequency, (samples,), of unit power.

    Args:
        timbre: the instrument.
        pitch: fundamental in Hz.
        softness: from 0 to 1; the softer, the weaker are high partials.
        time: times of the samples in seconds.
        rng: random generator.
    """
    order = np.arange(1, 33)
    order = order[pitch * order**timbre.stretch < 0.47 * NOTE_RATE]
    ratio = order**timbre.stretch
    attack = timbre.attack * (1 + timbre.swell * (order - 1)) * rng.uniform(0.8, 1.25)
    fall = (1 + timbre.damping * (order - 1)) / timbre.decay
    # Single precision, for speed: millions of sines and exponentials. The phase needs double precision.
    envelope = 1 - np.exp(np.outer(-1 / attack, time).astype(np.float32))
    envelope *= np.exp(np.outer(-fall, time).astype(np.float32))
    vibrato = timbre.vibrato * np.minimum(time / 0.3, 1) * sine(time, rng.uniform(4.5, 6.5), rng)
    tone = np.zeros(len(time))
    for detune in (-timbre.detune, timbre.detune) if timbre.detune else (0.0,):
        phase = np.outer(ratio, np.cumsum(pitch * 2 ** ((vibrato + detune) / 1200)) / NOTE_RATE)
        phase += rng.uniform(size=(len(order), 1))
        phase -= np.rint(phase)
        level = _levels(timbre, order, pitch * ratio) * order ** (-0.4 * softness)
        tone += level.astype(np.float32) @ (envelope * np.sin((2 * np.pi * phase).astype(np.float32)))
    return tone / tone.std()


def _levels(timbre: Timbre, order: NDArray[np.int64], frequency: NDArray[np.floating]) -> Sound:
    """Return the amplitudes of the partials, (partials,)."""
    decibels = np.where(order & (order - 1), 0, timbre.octaves)
    for formant in (timbre.formant, timbre.second):
        decibels = decibels + timbre.gain * np.exp(-(np.log2(frequency / formant) ** 2) / 0.18)
    string = 0.1 + np.abs(np.sin(np.pi * order * timbre.pluck)) if timbre.pluck else 1
    return order**-timbre.tilt * np.where(order % 2, 1, timbre.even) * string * 10 ** (decibels / 20)
