"""Sound that was upsampled from a lower rate, and sound that only has little at high frequencies."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from helpers.noise_corpus import read_csv
from numpy.typing import NDArray

from audiostride.config.settings import PrepareSettings
from audiostride.corpora import DATASETS
from audiostride.corpora.base import Corpus, Recording
from audiostride.prepare.bandwidth import bandwidth_notes, upsampled_from
from audiostride.prepare.dataset import prepare_dataset
from audiostride.prepare.prepare import prepare


def as_int16(sound: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.clip(np.rint(32768 * sound), -32768, 32767).astype(np.int16)


def speech_like(seconds: float = 1.0, rate: int = 16000, seed: int = 0) -> NDArray[np.float64]:
    """Return noise that falls by 6 dB per octave and comes in bursts."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * rate)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum /= np.maximum(np.fft.rfftfreq(samples, 1 / rate), 100) / 100
    bursts = np.sin(2 * np.pi * 3 * np.arange(samples) / rate) > -0.5
    sound = np.fft.irfft(spectrum, samples) * bursts
    return 0.3 * sound / np.abs(sound).max()


def white_noise() -> NDArray[np.float64]:
    return np.random.default_rng(2).standard_normal(16000)


@pytest.mark.parametrize(
    ("rate", "stored"),
    [
        *((4000, 8000), (2000, 8000), (8000, 11025)),
        *((8000, 16000), (11025, 16000), (12000, 16000)),
        *((8000, 44100), (16000, 44100), (22050, 44100), (32000, 44100), (16000, 22050)),
        *((44100, 250000), (96000, 250000), (192000, 250000), (250000, 384000)),
    ],
)
@pytest.mark.parametrize("seconds", [0.1, 1.0, 8.0])
def test_rate_of_upsampled_sound_is_found(rate: int, stored: int, seconds: float) -> None:
    low = speech_like(seconds, rate)
    assert upsampled_from(as_int16(soxr.resample(low, rate, stored)), stored) == rate


@pytest.mark.parametrize("stored", [22050, 44100, 96000])
def test_rate_is_found_if_the_sound_was_rounded_at_a_rate_between(stored: int) -> None:
    """Its rounding noise is then louder at low frequencies."""
    between = as_int16(soxr.resample(speech_like(rate=8000), 8000, 16000)) / 32768
    assert upsampled_from(as_int16(soxr.resample(between, 16000, stored)), stored) == 8000


@pytest.mark.parametrize("rate", [1000, 1100, 2000, 8000, 22050, 44100, 48000, 250000, 384000])
def test_sound_of_the_full_band_is_not_taken_for_upsampled(rate: int) -> None:
    for sound in (speech_like(rate=rate), 0.001 * speech_like(rate=rate), speech_like(0.02, rate)):
        assert upsampled_from(as_int16(sound), rate) is None
    from_higher = soxr.resample(speech_like(rate=3 * rate), 3 * rate, rate)
    assert upsampled_from(as_int16(from_higher), rate) is None


def test_bat_calls_are_not_taken_for_upsampled() -> None:
    """A call sweeps from 80 to 25 kHz in 5 ms; the noise has a deviation of four steps of 16 bits."""
    time = np.arange(250000) / 250000
    phase = 2 * np.pi * (80000 * (time % 0.1) - 55000 / 0.005 * (time % 0.1) ** 2 / 2)
    calls = 0.1 * np.sin(phase) * np.sin(np.pi * (time % 0.1) / 0.005) * (time % 0.1 < 0.005)
    detector = 4 / 32768 * np.random.default_rng(0).standard_normal(250000)
    assert upsampled_from(as_int16(calls + detector), 250000) is None
    assert upsampled_from(as_int16(calls), 250000) is None


@pytest.mark.parametrize(
    "sound",
    [
        speech_like(),
        0.001 * speech_like(),
        soxr.resample(speech_like(rate=44100), 44100, 16000),
        0.5 * np.sin(2 * np.pi * 3500 * np.arange(16000) / 16000),
        0.1 * sum(np.sin(2 * np.pi * 220 * k * np.arange(16000) / 16000) / k for k in range(1, 18)),
        soxr.resample(speech_like(rate=8000), 8000, 16000) + 0.001 * white_noise(),
        speech_like(0.02),
        np.zeros(16000),
        1e-4 * soxr.resample(speech_like(rate=8000), 8000, 16000),
    ],
    ids=["noise", "quiet", "44.1 kHz", "tone", "note", "mixed", "short", "silence", "too quiet to tell"],
)
def test_other_sound_is_not_taken_for_upsampled(sound: NDArray[np.float64]) -> None:
    assert upsampled_from(as_int16(sound), 16000) is None


def test_upsampled_files_are_listed_counted_and_kept(tmp_path: Path, out: Path) -> None:
    """One file was stored at the lower rate, the other one upsampled before."""
    low = speech_like(rate=8000)
    soundfile.write(tmp_path / "low.wav", low, 8000)
    soundfile.write(tmp_path / "up.flac", soxr.resample(low, 8000, 16000), 16000)
    soundfile.write(tmp_path / "full.wav", speech_like(seed=1), 16000)
    recordings = [Recording(name, "train", {"t": "a"}) for name in ("low.wav", "up.flac", "full.wav")]
    store = prepare(Corpus("calls", tmp_path, "given", {"t": ["a"]}, recordings), out)
    reason = "has nothing above 4 kHz, as if recorded at 8 kHz"
    assert read_csv(out / "problems.csv")[1:3] == [["low.wav", reason, ""], ["up.flac", reason, ""]]
    assert (store.card["problems"][reason], store.card["recordings"], store.card["left_out"]) == (2, 3, 0)
    assert store.card["lower_rates"] == {"8000": 2}
    assert store.card["notes"] == [
        "2 of 3 recordings seem recorded at a lower sample rate (2 at 8 kHz): prepare with --sample_rate "
        "8000, and train with --frontend.sample_rate 8000"
    ]


def test_files_of_a_lower_rate_count_however_quiet_they_are(tmp_path: Path, out: Path) -> None:
    """No spectrum shows it. 40 kHz is so near to 44.1 kHz that it does not count."""
    for rate in (22050, 40000, 44100, 96000):
        soundfile.write(tmp_path / f"{rate}.wav", 1e-4 * speech_like(rate=rate), rate)
    recordings = [Recording(f"{rate}.wav", "train", {"t": "a"}) for rate in (22050, 40000, 44100, 96000)]
    corpus = Corpus("calls", tmp_path, "given", {"t": ["a"]}, recordings)
    card = prepare(corpus, out, PrepareSettings(sample_rate=44100)).card
    assert card["lower_rates"] == {"22050": 1}
    reason = "has nothing above 11.025 kHz, as if recorded at 22.05 kHz"
    assert read_csv(out / "problems.csv")[1:] == [["22050.wav", reason, ""]]
    assert card["notes"] == [
        "1 of 4 recordings seem recorded at a lower sample rate (1 at 22.05 kHz), which a network may learn "
        "instead of the classes"
    ]
    assert prepare(corpus, out, PrepareSettings(sample_rate=22050)).card["lower_rates"] == {}


def test_note_recommends_the_rate_that_suffices_for_most_recordings() -> None:
    (note,) = bandwidth_notes({12000: 3, 8000: 4, 11025: 1}, 10)
    assert note == (
        "8 of 10 recordings seem recorded at a lower sample rate (4 at 8 kHz, 1 at 11.025 kHz, 3 at 12 kHz)"
        ": prepare with --sample_rate 12000, and train with --frontend.sample_rate 12000"
    )
    assert "--sample_rate 8000" in bandwidth_notes({12000: 3, 8000: 6}, 10)[0]
    assert "--sample_rate" not in bandwidth_notes({12000: 3, 8000: 2}, 10)[0]
    assert not bandwidth_notes({}, 10)


def test_corpus_with_less_than_one_percent_of_such_recordings_gets_no_note() -> None:
    assert bandwidth_notes({8000: 1}, 100)
    assert not bandwidth_notes({8000: 1}, 101)


def test_clipped_recording_of_a_lower_rate_has_both_problems(tmp_path: Path, out: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.clip(9 * speech_like(rate=8000), -1, 1), 8000)
    corpus = Corpus("calls", tmp_path, "given", {"t": ["a"]}, [Recording("a.wav", "train", {"t": "a"})])
    prepare(corpus, out)
    reason = "has nothing above 4 kHz, as if recorded at 8 kHz"
    assert read_csv(out / "problems.csv")[1:] == [["a.wav", "is clipped", ""], ["a.wav", reason, ""]]


@pytest.mark.parametrize(
    ("name", "upsampled"), [("speech_commands", 1), ("nsynth", 0), ("acoustic_scenes", 0), ("birdsong", 58)]
)
def test_only_the_recorded_birds_seem_upsampled(name: str, upsampled: int, recorded: Path, out: Path) -> None:
    """They have rounding noise alone above 4 kHz. So does one word, above 5.5 kHz."""
    card = prepare_dataset(DATASETS[name], recorded / name, out).card
    assert sum(card["lower_rates"].values()) == upsampled
    assert sum(count for reason, count in card["problems"].items() if "nothing above" in reason) == upsampled
    assert any("--sample_rate 8000" in note for note in card["notes"]) == (name == "birdsong")
    at_8_khz = prepare_dataset(DATASETS[name], recorded / name, out, PrepareSettings(sample_rate=8000)).card
    assert at_8_khz["lower_rates"] == {}
