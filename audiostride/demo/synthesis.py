"""Sounds of the demo: notes of instrument-like kinds, birds out of doors, and urban scenes, made with numpy.

Each kind is a table of ranges, and each instrument or place lies at random within those of its kind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

NOTE_RATE, BIRD_RATE, SCENE_RATE = 16000, 44100, 48000

Sound = NDArray[np.float64]
Ranges = dict[str, tuple[float, float]]
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Timbre:
    """An instrument: partials with envelopes, and noise whose level is relative to theirs."""

    tilt: float = 1.5  # the k-th partial has amplitude k ** −tilt
    even: float = 1.0  # amplitude of even partials: low in closed pipes
    octaves: float = 0.0  # dB by which partials 1, 2, 4, … stand out: the stops of an organ
    stretch: float = 1.0  # the k-th partial lies at k ** stretch: above 1 in stiff strings, far above in bars
    pluck: float = 0.0  # where on the string; partials with a node there are missing
    formant: float = 500.0  # Hz
    second: float = 1500.0  # Hz, the second formant
    gain: float = 0.0  # dB of both formants
    attack: float = 0.01  # s
    swell: float = 0.0  # how much longer each further partial takes to come
    decay: float = 20.0  # s in which the fundamental falls by 8.7 dB
    damping: float = 0.0  # how much faster each further partial falls
    vibrato: float = 0.0  # cents
    tremolo: float = 0.0  # of the amplitude
    detune: float = 0.0  # cents above and below, of two voices
    breath: float = 0.0  # noise while the note sounds
    knock: float = 0.0  # noise at its beginning


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


@dataclass(frozen=True)
class Place:
    """A location of a scene: layers, with levels in dB relative to its bed of noise."""

    slope: float = 1.5  # the bed's density falls as frequency ** −slope
    band: float = 1000.0  # Hz, where the bed is raised
    gain: float = 6.0  # dB by which
    speed: float = 1.0  # Hz, how fast the bed comes and goes
    depth: float = 0.2  # how far
    babble: float = -60.0
    hum: float = -60.0
    engine: float = 60.0  # Hz, fundamental of the hum
    events: float = 0.0  # per second
    pitch: float = 1000.0  # Hz, of the events
    rough: float = 0.3  # they ring at 0 and are noise at 1
    ring: float = 0.03  # s in which they fall by 8.7 dB
    knock: float = 0.0  # level of their peaks


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


def drawn(kind: Callable[..., Kind], ranges: Ranges, rng: np.random.Generator) -> Kind:
    """One of a kind, each of its properties somewhere in the kind's range."""
    return kind(**{name: rng.uniform(*ends) for name, ends in ranges.items()})


def note_sound(timbre: Timbre, pitch: int, velocity: int, seconds: float, rng: np.random.Generator) -> Sound:
    """(samples,): one note, louder and brighter with velocity, let go at its end, over a little noise."""
    time = np.arange(round(seconds * NOTE_RATE)) / NOTE_RATE
    sound = _tone(timbre, 440 * 2 ** ((pitch - 69) / 12), 1 - velocity / 127, time, rng)
    breath = _noise(len(time), NOTE_RATE, 0.5, rng) * -np.expm1(-time / timbre.attack)
    sound += timbre.breath * breath * np.exp(-time / timbre.decay)
    sound += timbre.knock * np.exp(-time / 0.012) * _noise(len(time), NOTE_RATE, 1, rng)
    sound *= 1 + timbre.tremolo * _wave(time, rng.uniform(4, 7), rng)
    sound *= np.clip((seconds - time) / rng.uniform(0.05, 0.4), 0, 1)
    sound += 10 ** (rng.uniform(-60, -35) / 20) * _noise(len(time), NOTE_RATE, rng.uniform(0, 1.5), rng)
    return peaking(sound, (0.2 + 0.6 * velocity / 127) * rng.uniform(0.7, 1.1))


def _tone(timbre: Timbre, pitch: float, softness: float, time: Sound, rng: np.random.Generator) -> Sound:
    """(samples,) of power one: the partials of a note of `pitch` Hz, as far as the sample rate has room."""
    order = np.arange(1, 33)
    order = order[pitch * order**timbre.stretch < 0.47 * NOTE_RATE]
    ratio = order**timbre.stretch
    attack = timbre.attack * (1 + timbre.swell * (order - 1)) * rng.uniform(0.8, 1.25)
    fall = (1 + timbre.damping * (order - 1)) / timbre.decay
    # Millions of sines and exponentials: in single precision, but for the running phase.
    envelope = 1 - np.exp(np.outer(-1 / attack, time).astype(np.float32))
    envelope *= np.exp(np.outer(-fall, time).astype(np.float32))
    vibrato = timbre.vibrato * np.minimum(time / 0.3, 1) * _wave(time, rng.uniform(4.5, 6.5), rng)
    tone = np.zeros(len(time))
    for detune in (-timbre.detune, timbre.detune) if timbre.detune else (0.0,):
        phase = np.outer(ratio, np.cumsum(pitch * 2 ** ((vibrato + detune) / 1200)) / NOTE_RATE)
        phase += rng.uniform(size=(len(order), 1))
        phase -= np.rint(phase)
        level = _levels(timbre, order, pitch * ratio) * order ** (-0.4 * softness)
        tone += level.astype(np.float32) @ (envelope * np.sin((2 * np.pi * phase).astype(np.float32)))
    return tone / tone.std()


def _levels(timbre: Timbre, order: NDArray[np.int64], frequency: NDArray[np.floating]) -> Sound:
    """Amplitudes of the partials, (partials,)."""
    decibels = np.where(order & (order - 1), 0, timbre.octaves)
    for formant in (timbre.formant, timbre.second):
        decibels = decibels + timbre.gain * np.exp(-(np.log2(frequency / formant) ** 2) / 0.18)
    string = 0.1 + np.abs(np.sin(np.pi * order * timbre.pluck)) if timbre.pluck else 1
    return order**-timbre.tilt * np.where(order % 2, 1, timbre.even) * string * 10 ** (decibels / 20)


def outdoors(samples: int, rng: np.random.Generator, slope: float) -> Sound:
    """(samples,) of power one: noise, wind, hum, and things that are no birds."""
    time = np.arange(samples) / BIRD_RATE
    slope, band, gain = slope + rng.uniform(0, 1.2), rng.uniform(500, 8000), rng.uniform(0, 9)
    sound = _noise(samples, BIRD_RATE, slope, rng, band, gain)
    wind = _noise(samples, BIRD_RATE, 2.5, rng) * _wander(samples, BIRD_RATE, rng.uniform(1, 5), rng)
    hum = rng.choice((50, 60, rng.uniform(70, 200)))
    sound += rng.uniform(0, 1) * wind
    sound += rng.uniform(0, 0.5) * np.sum([_wave(time, hum * k, rng) / k for k in range(1, 6)], axis=0)
    if rng.random() < 0.4:  # an insect, high and without end
        insect = _wave(time, rng.uniform(3000, 7500), rng) * (1 + _wave(time, rng.uniform(15, 60), rng))
        sound += 10 ** (rng.uniform(-20, 0) / 20) * insect
    if rng.random() < 0.4:
        clicks = _events(samples, BIRD_RATE, rng.uniform(1, 6), rng.uniform(1000, 6000), 0.8, 0.004, rng)
        sound += rng.uniform(1, 6) * clicks
    return sound / sound.std()


def bird_song(samples: int, rng: np.random.Generator) -> Sound:
    """(samples,): calls within 2 to 7 kHz of one bird of a species made up here, two to eight a second."""
    centre, sweep, bend = 2500 * 2 ** rng.uniform(0, 1.2), rng.uniform(-0.7, 0.7), rng.uniform(-0.3, 0.3)
    length, gap, overtone = rng.uniform(0.05, 0.3), rng.uniform(0.06, 0.2), rng.uniform(0, 0.3)
    trill, warble = rng.choice((0, rng.uniform(15, 45))), rng.choice((0, rng.uniform(0.02, 0.12)))
    song = np.zeros(samples)
    begin = rng.uniform(0, min(gap, samples / BIRD_RATE / 2))
    while begin * BIRD_RATE < samples:
        time = np.arange(round(length * rng.uniform(0.8, 1.2) * BIRD_RATE)) / BIRD_RATE
        part = time / time[-1]
        octaves = sweep * (part - 0.5) + bend * np.sin(np.pi * part) + warble * _wave(time, 25, rng)
        phase = 2 * np.pi * np.cumsum(np.clip(centre * 2**octaves, 2000, 7000)) / BIRD_RATE
        call = np.sin(phase) + overtone * np.sin(2 * phase)
        call *= np.sin(np.pi * part) * (1 + _wave(time, trill, rng)) * rng.uniform(0.5, 1)
        _add(song, call, round(begin * BIRD_RATE))
        begin += time[-1] + gap * rng.uniform(0.6, 1.5)
    return song


def scene_sound(place: Place, samples: int, rng: np.random.Generator) -> Sound:
    """(samples, 2): the layers of a place, each somewhere between left and right."""
    near, far = (_noise(samples, SCENE_RATE, place.slope, rng, place.band, place.gain) for _ in range(2))
    swell = np.exp(place.depth * _wander(samples, SCENE_RATE, place.speed, rng))
    sound = np.stack([near, 0.8 * near + 0.6 * far], axis=1) * swell[:, None]
    speed = 1 + 0.03 * _wander(samples, SCENE_RATE, 2, rng)
    turns = np.cumsum(place.engine * speed) / SCENE_RATE
    hum = np.sum([np.sin(2 * np.pi * (k * turns + rng.uniform())) / k for k in range(1, 13)], axis=0)
    babble = np.sum([_voice(samples, rng) for _ in range(4)], axis=0)
    events = _events(samples, SCENE_RATE, place.events, place.pitch, place.rough, place.ring, rng)
    layers = ((place.hum, hum / hum.std()), (place.babble, babble / babble.std()), (place.knock, events))
    for level, layer in layers:
        side = rng.permutation((1, rng.uniform(0.5, 1)))
        sound += 10 ** ((level + rng.uniform(-2, 2)) / 20) * layer[:, None] * side
    return peaking(sound, rng.uniform(0.1, 0.8))


def _voice(samples: int, rng: np.random.Generator) -> Sound:
    """(samples,): vowels without words, the pulses of a gliding voice through formants, in syllables."""
    pitch = rng.uniform(90, 250) * 2 ** (0.2 * _wander(samples, SCENE_RATE, 3, rng))
    pulses = np.diff(np.floor(np.cumsum(pitch) / SCENE_RATE), prepend=0)
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / SCENE_RATE), 50)
    throat = np.zeros(len(frequency))
    for lowest, highest, gain in ((300, 800, 1), (900, 2200, 0.5), (2300, 3200, 0.2)):
        throat += gain * np.exp(-(np.log2(frequency / rng.uniform(lowest, highest)) ** 2) / 0.05)
    vowels = np.fft.irfft(np.fft.rfft(pulses) * throat, samples)
    return vowels * np.maximum(0.05, _wander(samples, SCENE_RATE, rng.uniform(6, 10), rng))


def _events(
    samples: int, rate: int, often: float, pitch: float, rough: float, ring: float, rng: np.random.Generator
) -> Sound:
    """(samples,): clacks, steps, beeps or clicks of peaks up to one, about `often` times a second."""
    sound = np.zeros(samples)
    time = np.arange(round(6 * ring * rate)) / rate
    begin = rng.uniform(0, 1 / often) if often else np.inf
    while begin * rate < samples:
        # A phase that strays makes a band of noise of a tone.
        phase = 2 * np.pi * pitch * rng.uniform(0.8, 1.25) * time
        phase += rough * np.cumsum(rng.standard_normal(len(time)))
        _add(sound, rng.uniform(0.4, 1) * np.sin(phase) * np.exp(-time / ring), round(begin * rate))
        begin += rng.uniform(0.6, 1.4) / often
    return sound


def _noise(
    samples: int, rate: int, slope: float, rng: np.random.Generator, band: float = 1000.0, gain: float = 0.0
) -> Sound:
    """(samples,) of power one: density falls as frequency ** −slope, `gain` dB more around `band` Hz."""
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / rate), 20)
    density = frequency**-slope * 10 ** (gain * np.exp(-(np.log2(frequency / band) ** 2)) / 10)
    real, imaginary = rng.standard_normal((2, len(frequency)))
    noise = np.fft.irfft(np.sqrt(density) * (real + 1j * imaginary), samples)
    return noise / noise.std()


def _wander(samples: int, rate: int, speed: float, rng: np.random.Generator) -> Sound:
    """(samples,): a random curve about zero that turns about `speed` times a second."""
    knots = rng.standard_normal(int(samples / rate * speed) + 3)
    return np.interp(np.arange(samples) / rate * speed + rng.uniform(), np.arange(len(knots)), knots)


def _wave(time: Sound, frequency: float, rng: np.random.Generator) -> Sound:
    return np.sin(2 * np.pi * (frequency * time + rng.uniform()))


def _add(sound: Sound, piece: Sound, begin: int) -> None:
    """Mix a piece in from sample `begin` on, as far as the sound goes."""
    sound[begin : begin + len(piece)] += piece[: len(sound) - begin]


def peaking(sound: Sound, peak: float) -> Sound:
    return sound * peak / np.abs(sound).max()
