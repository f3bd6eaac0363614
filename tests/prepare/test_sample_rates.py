"""Corpora of other sample rates than 16 kHz."""

from dataclasses import replace
from math import gcd
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.noise_corpus import ALLOW_BAD, contents, interrupt, noise
from scipy.signal import resample_poly

from audiostride import cli
from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import Corpus, Recording
from audiostride.data.store import open_store
from audiostride.prepare import reader_pool
from audiostride.prepare.prepare import prepare

AT_8_KHZ = replace(ALLOW_BAD, sample_rate=8000)


def corpus_of(folder: Path, *names: str) -> Corpus:
    recordings = [Recording(name, "train", {"task": "a"}) for name in names]
    return Corpus("sounds", folder, "given", {"task": ["a"]}, recordings)


@pytest.mark.parametrize("rate", [1000, 8000, 16000, 44100, 250000, 384000])
def test_16_bit_mono_file_of_the_rate_of_the_corpus_is_packed_bit_for_bit(
    rate: int, tmp_path: Path, out: Path
) -> None:
    samples = np.random.default_rng(0).integers(-20000, 20000, 5000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="PCM_16")
    store = prepare(corpus_of(tmp_path, "a.wav"), out, PrepareSettings(sample_rate=rate))
    assert np.array_equal(store.waveforms, samples)
    assert store.sample_rate == rate


@pytest.mark.parametrize(
    ("file_rate", "rate"),
    [(16000, 8000), (48000, 44100), (44100, 8000), (8000, 44100), (192000, 250000), (500000, 250000)],
)
def test_resampling_agrees_with_scipy(file_rate: int, rate: int, tmp_path: Path, out: Path) -> None:
    # The band ends far below the slope of both filters, where any two good filters agree.
    band = 12 * max(1, file_rate // rate)
    sound = resample_poly(noise(file_rate // band // 4, 0), band, 1)
    soundfile.write(tmp_path / "a.wav", sound, file_rate, subtype="FLOAT")
    store = prepare(corpus_of(tmp_path, "a.wav"), out, PrepareSettings(sample_rate=rate))
    common = gcd(rate, file_rate)
    expected = resample_poly(sound, rate // common, file_rate // common)
    found = store.waveforms / 32768
    assert abs(len(found) - len(sound) * rate / file_rate) <= 1
    middle = slice(len(found) // 8, -len(found) // 8)
    error = np.mean((found - expected[: len(found)])[middle] ** 2) / np.mean(expected**2)
    assert 10 * np.log10(error) < -60


def test_command_sets_the_rate_and_the_card_says_it(
    words: Path, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare", "speech_commands", str(words), "--out", "slow"]
    assert cli.main([*command, "--sample_rate", "8000"]) == 0
    store = open_store(Path("slow"))
    assert store.card["sample_rate"] == store.sample_rate == 8000
    assert store.card["seconds"] == pytest.approx(len(store.waveforms) / 8000, abs=1e-3)
    samples, _ = soundfile.read(words / store.names[0])
    assert store.starts[1] == pytest.approx(len(samples) / 2, abs=1)
    assert "slow: 30 recordings, 0.01 h at 8,000 Hz" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["999", "384001"])
def test_rate_out_of_range_reports_a_clear_error(
    rate: str, words: Path, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["prepare", "speech_commands", str(words), "--sample_rate", rate]) == 1
    expected = f"--sample_rate must be a whole number from 1000 to 384000, but is {rate}"
    assert expected in capsys.readouterr().err
    assert not list(working_folder.iterdir())


def test_several_processes_read_at_the_rate(
    corpus: Corpus, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_pool, "_CHUNK_FILES", 1)
    expected = contents(prepare(corpus, tmp_path / "expected", AT_8_KHZ).folder)
    assert contents(prepare(corpus, out, replace(AT_8_KHZ, workers=2)).folder) == expected


def test_another_rate_replaces_the_corpus_once_it_is_complete(
    corpus: Corpus, out: Path, tmp_path: Path, names_read: list[str]
) -> None:
    expected = contents(prepare(corpus, tmp_path / "expected", AT_8_KHZ).folder)
    before = contents(prepare(corpus, out, ALLOW_BAD).folder)
    interrupt(corpus, out, 8, AT_8_KHZ)
    assert contents(out) == before
    prepare(corpus, out, AT_8_KHZ)
    assert contents(out) == expected
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    names_read.clear()
    prepare(corpus, out, AT_8_KHZ)
    assert not names_read


@pytest.mark.parametrize("rates", [(16000, 8000), (8000, 16000), (16000, 44100)])
@pytest.mark.parametrize("after", [0, 8, 11])
def test_rates_do_not_mix_after_an_interruption(
    after: int, rates: tuple[int, int], corpus: Corpus, out: Path, tmp_path: Path, names_read: list[str]
) -> None:
    first, second = (replace(ALLOW_BAD, sample_rate=rate) for rate in rates)
    expected = contents(prepare(corpus, tmp_path / "expected", second).folder)
    interrupt(corpus, out, after, first)
    names_read.clear()
    prepare(corpus, out, second)
    assert len(names_read) == 12
    assert contents(out) == expected
