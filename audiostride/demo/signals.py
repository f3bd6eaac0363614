"""Pieces that the synthesised sounds of the demo are made of: noise, slow curves, sines and events."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float64]
Ranges = dict[str, tuple[float, float]]
Kind = TypeVar("Kind")


def draw(kind: Callable[..., Kind], ranges: Ranges, rng: np.random.Generator) -> Kind:
    """Return an instance of `kind` with each property drawn uniformly from its range."""
    return kind(**{name: rng.uniform(*ends) for name, ends in ranges.items()})


def coloured_noise(
    samples: int, rate: int, slope: float, rng: np.random.Generator, band: float = 1000.0, gain: float = 0.0
) -> Sound:
    """Return noise of unit power, (samples,).

    Args:
        samples: length.
        rate: sample rate in Hz.
        slope: the power density falls as frequency ** −slope.
        rng: random generator.
        band: centre in Hz of a band that is raised.
        gain: how much it is raised, in dB.
    """
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / rate), 20)
    density = frequency**-slope * 10 ** (gain * np.exp(-(np.log2(frequency / band) ** 2)) / 10)
    real, imaginary = rng.standard_normal((2, len(frequency)))
    noise = np.fft.irfft(np.sqrt(density) * (real + 1j * imaginary), samples)
    return noise / noise.std()


def random_curve(samples: int, rate: int, speed: float, rng: np.random.Generator) -> Sound:
    """Return a random curve around zero, (samples,), that turns about `speed` times per second."""
    knots = rng.standard_normal(int(samples / rate * speed) + 3)
    return np.interp(np.arange(samples) / rate * speed + rng.uniform(), np.arange(len(knots)), knots)


def sine(time: Sound, frequency: float, rng: np.random.Generator) -> Sound:
    """Return a sine of `frequency` Hz with a random phase, at the given times in seconds."""
    return np.sin(2 * np.pi * (frequency * time + rng.uniform()))


def event_sounds(
    samples: int, rate: int, often: float, pitch: float, rough: float, ring: float, rng: np.random.Generator
) -> Sound:
    """Return clacks, steps, beeps or clicks, (samples,), with peaks up to 1.

    Args:
        samples: length.
        rate: sample rate in Hz.
        often: mean number of events per second; 0 for none.
        pitch: frequency in Hz.
        rough: 0 for a tone; the larger it is, the more an event resembles noise.
        ring: seconds in which an event falls by 8.7 dB.
        rng: random generator.
    """
    sound = np.zeros(samples)
    time = np.arange(round(6 * ring * rate)) / rate
    begin = rng.uniform(0, 1 / often) if often else np.inf
    while begin * rate < samples:
        # A phase with a random walk turns the tone into a band of noise.
        phase = 2 * np.pi * pitch * rng.uniform(0.8, 1.25) * time
        phase += rough * np.cumsum(rng.standard_normal(len(time)))
        add(sound, rng.uniform(0.4, 1) * np.sin(phase) * np.exp(-time / ring), round(begin * rate))
        begin += rng.uniform(0.6, 1.4) / often
    return sound


def add(sound: Sound, piece: Sound, begin: int) -> None:
    """Add a piece to a sound in place, from sample `begin` on; what is beyond its end is cut off."""
    sound[begin : begin + len(piece)] += piece[: len(sound) - begin]


def scale_to_peak(sound: Sound, peak: float) -> Sound:
    """Return the sound scaled to a largest absolute value of `peak`."""
    return sound * peak / np.abs(sound).max()
