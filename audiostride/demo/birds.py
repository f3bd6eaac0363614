"""Sounds of birds, and of the outdoors without them."""

import numpy as np

from audiostride.demo.signals import Sound, add, coloured_noise, event_sounds, random_curve, sine

BIRD_RATE = 44100


def background(samples: int, rng: np.random.Generator, slope: float) -> Sound:
    """Return an outdoor recording without birds, (samples,), of unit power.

    Args:
        samples: length.
        rng: random generator.
        slope: lower limit of the slope of its noise, see `coloured_noise`.
    """
    time = np.arange(samples) / BIRD_RATE
    slope, band, gain = slope + rng.uniform(0, 1.2), rng.uniform(500, 8000), rng.uniform(0, 9)
    sound = coloured_noise(samples, BIRD_RATE, slope, rng, band, gain)
    wind = coloured_noise(samples, BIRD_RATE, 2.5, rng)
    wind *= random_curve(samples, BIRD_RATE, rng.uniform(1, 5), rng)
    hum = rng.choice((50, 60, rng.uniform(70, 200)))
    sound += rng.uniform(0, 1) * wind
    sound += rng.uniform(0, 0.5) * np.sum([sine(time, hum * k, rng) / k for k in range(1, 6)], axis=0)
    if rng.random() < 0.4:  # a high, continuous insect
        insect = sine(time, rng.uniform(3000, 7500), rng) * (1 + sine(time, rng.uniform(15, 60), rng))
        sound += 10 ** (rng.uniform(-20, 0) / 20) * insect
    if rng.random() < 0.4:
        clicks = event_sounds(samples, BIRD_RATE, rng.uniform(1, 6), rng.uniform(1000, 6000), 0.8, 0.004, rng)
        sound += rng.uniform(1, 6) * clicks
    return sound / sound.std()


def bird_song(samples: int, rng: np.random.Generator) -> Sound:
    """Return calls of one bird of a random species, (samples,): 2 to 8 per second, from 2 to 7 kHz."""
    centre, sweep, bend = 2500 * 2 ** rng.uniform(0, 1.2), rng.uniform(-0.7, 0.7), rng.uniform(-0.3, 0.3)
    length, gap, overtone = rng.uniform(0.05, 0.3), rng.uniform(0.06, 0.2), rng.uniform(0, 0.3)
    trill, warble = rng.choice((0, rng.uniform(15, 45))), rng.choice((0, rng.uniform(0.02, 0.12)))
    song = np.zeros(samples)
    begin = rng.uniform(0, min(gap, samples / BIRD_RATE / 2))
    while begin * BIRD_RATE < samples:
        time = np.arange(round(length * rng.uniform(0.8, 1.2) * BIRD_RATE)) / BIRD_RATE
        part = time / time[-1]
        octaves = sweep * (part - 0.5) + bend * np.sin(np.pi * part) + warble * sine(time, 25, rng)
        phase = 2 * np.pi * np.cumsum(np.clip(centre * 2**octaves, 2000, 7000)) / BIRD_RATE
        call = np.sin(phase) + overtone * np.sin(2 * phase)
        call *= np.sin(np.pi * part) * (1 + sine(time, trill, rng)) * rng.uniform(0.5, 1)
        add(song, call, round(begin * BIRD_RATE))
        begin += time[-1] + gap * rng.uniform(0.6, 1.5)
    return song
