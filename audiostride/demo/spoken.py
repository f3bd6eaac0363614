"""A small corpus of words spoken by eSpeak NG, in the layout of Speech Commands.

Voices, pitches, speeds, levels, positions within the second and background noise vary, so that a network has
to generalise. A "speaker" is a combination of accent and voice, and belongs to one split.
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
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from audiostride.corpora.speech_commands import LISTS
from audiostride.demo.write_once import write_once
from audiostride.errors import UserError

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029")
VOICES = ("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m7", "m8", "belinda", "edward")
RATE = 16000

# Constants of eSpeak NG's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS, _POSITION_CHARACTER, _CHARS_UTF8 = 2, 1, 1
_SPEED, _PITCH, _PITCH_RANGE = 1, 3, 4


@dataclass(frozen=True)
class SpokenSettings:
    """words × speakers × takes recordings.

    Attributes:
        words: the words to speak.
        speakers: number of speakers, at most the number of accents times that of voices.
        takes: number of recordings of each word by each speaker.
        seed: seed of all random numbers.
    """

    words: tuple[str, ...] = WORDS
    speakers: int = len(ACCENTS) * len(VOICES)
    takes: int = 2
    seed: int = 0


def speak_corpus(folder: Path, settings: SpokenSettings) -> bool:
    """Write the corpus to `folder`, unless it is there already. Return whether it was written.

    Raises:
        UserError: if eSpeak NG is not installed, or `folder` holds something else (see `write_once`).
    """
    return write_once(folder, asdict(settings), lambda new: _write(new, settings))


def _write(folder: Path, settings: SpokenSettings) -> None:
    rng = np.random.default_rng(settings.seed)
    combinations = list(product(ACCENTS, VOICES))
    speakers = [combinations[i] for i in rng.permutation(len(combinations))[: settings.speakers]]
    lists: dict[str, list[str]] = {split: [] for split in LISTS}
    for word in settings.words:
        (folder / word).mkdir(parents=True)
    with _espeak(settings.seed) as speak:
        for number, (accent, voice) in enumerate(tqdm(speakers, desc="speaking", unit=" speakers")):
            identity = hashlib.sha256(f"{accent}+{voice}".encode()).hexdigest()[:8]
            # Of ten speakers, seven are for training, one is for validation, two are for testing.
            split = {7: "valid", 8: "test", 9: "test"}.get(number % 10)
            pitch = int(rng.integers(20, 80))
            for word, take in product(settings.words, range(settings.takes)):
                speed, pitch_range = int(rng.integers(110, 240)), int(rng.integers(20, 80))
                spoken = speak(word, f"{accent}+{voice}", speed, pitch, pitch_range)
                name = f"{word}/{identity}_nohash_{take}.wav"
                soundfile.write(folder / name, _one_second(spoken, rng), RATE, subtype="PCM_16")
                if split:
                    lists[split].append(name)
    for split, names in lists.items():
        (folder / LISTS[split]).write_text("".join(f"{name}\n" for name in sorted(names)))
    (folder / "_background_noise_").mkdir()
    noise = 0.05 * _noise(10 * RATE, 1.0, rng)
    soundfile.write(folder / "_background_noise_" / "pink_noise.wav", noise, RATE, subtype="PCM_16")


def _one_second(spoken: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return one second with the word at a random position and signal-to-noise ratio, in coloured noise."""
    spoken = spoken[:RATE]
    begin = rng.integers(0, RATE - len(spoken), endpoint=True)
    sound = np.zeros(RATE)
    sound[begin : begin + len(spoken)] = spoken
    power = np.mean(spoken**2)
    ratio = 10 ** (rng.uniform(0, 25) / 10)
    sound += np.sqrt(power / ratio) * _noise(RATE, rng.uniform(0, 1.5), rng)
    return sound * rng.uniform(0.1, 0.9) / np.abs(sound).max()


def _noise(samples: int, exponent: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return noise of unit power with a density that falls as frequency ** −exponent (0 white, 1 pink)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (-exponent / 2)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, samples)
    return noise / noise.std()


class _Synthesiser:
    """Calls eSpeak NG's library.

    Args:
        library: the library, initialised.
        rate: its sample rate in Hz.
    """

    def __init__(self, library: ctypes.CDLL, rate: int) -> None:
        self.library, self.rate = library, rate
        self.pieces: list[NDArray[np.int16]] = []
        callback = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self.collect = callback(self._collect)  # an attribute, so that Python does not free the callback
        library.espeak_SetSynthCallback(self.collect)

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: object) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0

    def __call__(
        self, word: str, voice: str, speed: int, pitch: int, pitch_range: int
    ) -> NDArray[np.float64]:
        """Return a word at 16 kHz.

        Args:
            word: what to speak.
            voice: accent and voice, such as "en-us+f2".
            speed: words per minute.
            pitch: from 0 to 99.
            pitch_range: from 0 to 99.
        """
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
def _espeak(seed: int) -> Iterator[_Synthesiser]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise UserError(
            "the demo's words are spoken by eSpeak NG, which is missing: pip install 'audiostride[demo]'"
        ) from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data, 0)
    if rate <= 0:
        raise UserError("eSpeak NG does not start: reinstall espeakng-loader")
    # eSpeak NG makes breath and frication with its own random generator.
    library.espeak_ng_SetRandSeed(ctypes.c_long(1 + seed))
    try:
        yield _Synthesiser(library, rate)
    finally:
        library.espeak_Terminate()
