"""Sounds of urban scenes, from a place that is drawn from the ranges of its scene."""

from dataclasses import dataclass

import numpy as np

from audiostride.demo.signals import Ranges, Sound, coloured_noise, event_sounds, random_curve, scale_to_peak

SCENE_RATE = 48000


@dataclass(frozen=True)
class Place:
    """A location of a scene: layers of sound, with levels in dB relative to a bed of noise."""

    slope: float = 1.5  # the power density of the bed falls as frequency ** −slope
    band: float = 1000.0  # Hz, centre of the band in which the bed is raised
    gain: float = 6.0  # dB by which it is raised
    speed: float = 1.0  # Hz, rate at which the bed's level changes
    depth: float = 0.2  # extent of these changes, in nepers
    babble: float = -60.0  # level of voices
    hum: float = -60.0  # level of an engine
    engine: float = 60.0  # Hz, fundamental of the engine
    events: float = 0.0  # events per second, such as steps or clacks
    pitch: float = 1000.0  # Hz, of the events
    rough: float = 0.3  # events are tones at 0 and noise at 1
    ring: float = 0.03  # s in which an event falls by 8.7 dB
    knock: float = 0.0  # level of the peaks of events


SCENES: dict[str, Ranges] = {
    "airport": {"slope": (1.5, 2.1), "band": (300, 700), "gain": (3, 8), "babble": (-12, -4),
        "hum": (-20, -8), "engine": (90, 130), "events": (0.5, 2), "pitch": (600, 1500), "rough": (0, 0.1),
        "ring": (0.15, 0.4), "knock": (0, 8)},
    "bus": {"slope": (1.8, 2.6), "band": (100, 300), "hum": (-6, 5), "engine": (25, 50), "babble": (-25, -10),
        "events": (1, 6), "pitch": (800, 3000), "rough": (0.3, 0.9), "ring": (0.005, 0.03), "knock": (-5, 3)},
    "metro": {"slope": (1.2, 2), "band": (400, 1000), "gain": (4, 10), "hum": (-12, -2), "engine": (150, 500),
        "events": (3, 7), "pitch": (200, 700), "rough": (0.3, 0.8), "ring": (0.02, 0.06), "knock": (2, 10)},
    "metro_station": {"slope": (1.4, 2.1), "band": (600, 1400), "speed": (0.3, 1), "depth": (0.4, 0.8),
        "babble": (-16, -8), "events": (0.5, 2), "pitch": (1800, 4000), "rough": (0, 0.1), "ring": (0.2, 0.6),
        "knock": (0, 8)},
    "park": {"slope": (0.8, 1.6), "band": (2000, 6000), "gain": (0, 8), "speed": (0.3, 2),
        "depth": (0.2, 0.6), "events": (0.5, 6), "pitch": (2500, 6000), "rough": (0, 0.1),
        "ring": (0.02, 0.1), "knock": (-6, 6)},
    "public_square": {"slope": (1.2, 1.8), "band": (3000, 7000), "gain": (8, 16), "depth": (0, 0.2),
        "babble": (-14, -4), "hum": (-25, -12), "events": (1, 5), "pitch": (1000, 4000), "rough": (0.2, 0.8),
        "ring": (0.01, 0.06), "knock": (-6, 2)},
    "shopping_mall": {"slope": (1.2, 1.8), "band": (300, 800), "babble": (-2, 6), "hum": (-6, 2),
        "engine": (200, 450), "events": (0.5, 3), "pitch": (1000, 3000), "rough": (0.1, 0.6),
        "ring": (0.02, 0.1), "knock": (-6, 4)},
    "street_pedestrian": {"slope": (0.6, 1.2), "band": (600, 2000), "babble": (-10, -2), "events": (3, 7),
        "pitch": (500, 2000), "rough": (0.5, 1), "ring": (0.008, 0.03), "knock": (4, 12)},
    "street_traffic": {"slope": (1.2, 2), "band": (700, 1400), "gain": (6, 12), "speed": (0.2, 0.7),
        "depth": (0.4, 0.9), "hum": (-12, 0), "engine": (40, 90)},
    "tram": {"slope": (1.5, 2.3), "band": (250, 600), "gain": (4, 10), "hum": (-8, 2), "engine": (80, 160),
        "babble": (-25, -8), "events": (0.5, 3), "pitch": (1500, 3500), "rough": (0, 0.3), "ring": (0.1, 0.4),
        "knock": (-8, 4)},
}  # fmt: skip


def scene_sound(place: Place, samples: int, rng: np.random.Generator) -> Sound:
    """Return a stereo recording of a place, (samples, 2), with each layer at a random side."""
    bed = (samples, SCENE_RATE, place.slope, rng, place.band, place.gain)
    near, far = (coloured_noise(*bed) for _ in range(2))
    swell = np.exp(place.depth * random_curve(samples, SCENE_RATE, place.speed, rng))
    sound = np.stack([near, 0.8 * near + 0.6 * far], axis=1) * swell[:, None]
    engine_speed = 1 + 0.03 * random_curve(samples, SCENE_RATE, 2, rng)
    turns = np.cumsum(place.engine * engine_speed) / SCENE_RATE
    hum = np.sum([np.sin(2 * np.pi * (k * turns + rng.uniform())) / k for k in range(1, 13)], axis=0)
    babble = np.sum([_voice(samples, rng) for _ in range(4)], axis=0)
    events = event_sounds(samples, SCENE_RATE, place.events, place.pitch, place.rough, place.ring, rng)
    layers = ((place.hum, hum / hum.std()), (place.babble, babble / babble.std()), (place.knock, events))
    for level, layer in layers:
        side = rng.permutation((1, rng.uniform(0.5, 1)))
        sound += 10 ** ((level + rng.uniform(-2, 2)) / 20) * layer[:, None] * side
    return scale_to_peak(sound, rng.uniform(0.1, 0.8))


def _voice(samples: int, rng: np.random.Generator) -> Sound:
    """Return a voice that speaks vowels without words, (samples,): filtered pulses of a gliding pitch."""
    pitch = rng.uniform(90, 250) * 2 ** (0.2 * random_curve(samples, SCENE_RATE, 3, rng))
    pulses = np.diff(np.floor(np.cumsum(pitch) / SCENE_RATE), prepend=0)
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / SCENE_RATE), 50)
    throat = np.zeros(len(frequency))
    for lowest, highest, gain in ((300, 800, 1), (900, 2200, 0.5), (2300, 3200, 0.2)):
        throat += gain * np.exp(-(np.log2(frequency / rng.uniform(lowest, highest)) ** 2) / 0.05)
    vowels = np.fft.irfft(np.fft.rfft(pulses) * throat, samples)
    return vowels * np.maximum(0.05, random_curve(samples, SCENE_RATE, rng.uniform(6, 10), rng))
