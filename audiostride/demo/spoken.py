"""A small corpus spoken by eSpeak NG, in the layout of Speech Commands, for the demo and for trials.

Voices, pitches, speeds, loudness, place in the second and background noise vary, so that a network has
something to generalise over; "speakers" are combinations of accent and voice and never cross splits.
"""

import ctypes
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from audiostride.corpora.speech_commands import LISTS
from audiostride.demo.rendered import made_once
from audiostride.errors import UserError

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029")
VOICES = ("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m7", "m8", "belinda", "edward")
RATE = 16000

# Of eSpeak NG's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS, _POSITION_CHARACTER, _CHARS_UTF8 = 2, 1, 1
_SPEED, _PITCH, _PITCH_RANGE = 1, 3, 4


@dataclass(frozen=True)
class SpokenSettings:
    """What is spoken: words × speakers × takes recordings."""

    words: tuple[str, ...] = WORDS
    speakers: int = len(ACCENTS) * len(VOICES)
    takes: int = 2
    seed: int = 0


def speak_corpus(folder: Path, settings: SpokenSettings) -> bool:
    """Write the corpus into `folder`, unless it lies there already. Tells whether it was written.

    Raises:
        UserError: where eSpeak NG is not installed, or `folder` holds something else.
    """
    return made_once(folder, asdict(settings), lambda aside: _write(aside, settings))


def _write(folder: Path, settings: SpokenSettings) -> None:
    rng = np.random.default_rng(settings.seed)
    every = list(product(ACCENTS, VOICES))
    speakers = [every[i] for i in rng.permutation(len(every))[: settings.speakers]]
    lists: dict[str, list[str]] = {split: [] for split in LISTS}
    for word in settings.words:
        (folder / word).mkdir(parents=True)
    with _espeak(settings.seed) as say:
        for number, (accent, voice) in enumerate(tqdm(speakers, desc="speaking", unit=" speakers")):
            identity = hashlib.sha256(f"{accent}+{voice}".encode()).hexdigest()[:8]
            # Of ten speakers seven train, one validates, two test.
            split = {7: "valid", 8: "test", 9: "test"}.get(number % 10)
            pitch = int(rng.integers(20, 80))
            for word, take in product(settings.words, range(settings.takes)):
                spoken = say(
                    word, f"{accent}+{voice}", int(rng.integers(110, 240)), pitch, int(rng.integers(20, 80))
                )
                name = f"{word}/{identity}_nohash_{take}.wav"
                soundfile.write(folder / name, _second(spoken, rng), RATE, subtype="PCM_16")
                if split:
                    lists[split].append(name)
    for split, names in lists.items():
        (folder / LISTS[split]).write_text("".join(f"{name}\n" for name in sorted(names)))
    (folder / "_background_noise_").mkdir()
    noise = 0.05 * _noise(10 * RATE, 1.0, rng)
    soundfile.write(folder / "_background_noise_" / "pink_noise.wav", noise, RATE, subtype="PCM_16")


def _second(spoken: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """One second with the word at a random place, at a random level over noise of a random colour."""
    spoken = spoken[:RATE]
    begin = rng.integers(0, RATE - len(spoken), endpoint=True)
    sound = np.zeros(RATE)
    sound[begin : begin + len(spoken)] = spoken
    power = np.mean(spoken**2)
    ratio = 10 ** (rng.uniform(0, 25) / 10)
    sound += np.sqrt(power / ratio) * _noise(RATE, rng.uniform(0, 1.5), rng)
    return sound * rng.uniform(0.1, 0.9) / np.abs(sound).max()


def _noise(samples: int, exponent: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of power one whose spectral density falls as frequency ** −exponent (0 white, 1 pink)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (-exponent / 2)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, samples)
    return noise / noise.std()


class _Say:
    """Calls eSpeak NG: a word, a voice, speed in words per minute, pitch and its range from 0 to 99."""

    def __init__(self, library: ctypes.CDLL, rate: int) -> None:
        self.library, self.rate = library, rate
        self.pieces: list[NDArray[np.int16]] = []
        callback = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self.collect = callback(self._collect)  # kept: ctypes frees what nobody holds
        library.espeak_SetSynthCallback(self.collect)

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: object) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0

    def __call__(
        self, word: str, voice: str, speed: int, pitch: int, pitch_range: int
    ) -> NDArray[np.float64]:
        import soxr

        self.pieces.clear()
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UserError(f"eSpeak NG has no voice {voice}: reinstall espeakng-loader")
        for parameter, value in ((_SPEED, speed), (_PITCH, pitch), (_PITCH_RANGE, pitch_range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        text = word.encode() + b"\0"
        self.library.espeak_Synth(text, len(text), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None)
        self.library.espeak_Synchronize()
        return soxr.resample(np.concatenate(self.pieces) / 32768, self.rate, RATE)


@contextmanager
def _espeak(seed: int) -> Iterator[_Say]:
    try:
        import espeakng_loader
        import soxr  # noqa: F401
    except ImportError as error:
        raise UserError(
            "the demo's words are spoken by eSpeak NG, which is missing: pip install 'audiostride[demo]'"
        ) from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, 0)
    if rate <= 0:
        raise UserError("eSpeak NG does not start: reinstall espeakng-loader")
    # Breath and frication are noise of eSpeak NG's own generator.
    library.espeak_ng_SetRandSeed(ctypes.c_long(1 + seed))
    try:
        yield _Say(library, rate)
    finally:
        library.espeak_Terminate()
