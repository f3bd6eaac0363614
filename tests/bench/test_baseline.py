"""Logistic regression beside guessing, as a command and as a function."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiostride.bench.baseline import baseline
from audiostride.cli import main
from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import SPLITS, Corpus, Recording
from audiostride.data.store import Store
from audiostride.prepare.prepare import prepare
from audiostride.tables import rounded


def test_regression_classifies_sounds_that_differ_in_their_spectra(store: Store) -> None:
    (row,) = baseline(store)
    assert row["task"] == "speech_commands"
    assert (row["train"], row["test"], row["classes_in_training"]) == (18, 6, 3)
    assert row["regression_percent"] > 80


@pytest.mark.parametrize("rate", [8000, 44100])
def test_regression_hears_the_whole_band_of_the_corpus(rate: int, tmp_path: Path) -> None:
    """The classes differ above three quarters of half the sample rate, and nowhere else."""
    rng, recordings = np.random.default_rng(0), []
    for number in range(40):
        time, kind = np.arange(rate // 4) / rate, "ab"[number % 2]
        tone = 0.1 * np.sin(2 * np.pi * (0.42 if kind == "a" else 0.46) * rate * time)
        sound = tone + 0.01 * rng.standard_normal(len(time))
        soundfile.write(tmp_path / f"{number}.wav", sound, rate)
        split = ("train", "test")[number // 2 % 2]
        recordings.append(Recording(f"{number}.wav", split, {"tone": kind}))
    corpus = Corpus("tones", tmp_path, "given", {"tone": ["a", "b"]}, recordings)
    (row,) = baseline(prepare(corpus, tmp_path / "out", PrepareSettings(sample_rate=rate)))
    assert row["regression_percent"] > 80


def test_guessing_is_right_on_the_most_frequent_training_label(sounds: Store) -> None:
    for row in baseline(sounds):
        labels = sounds.labels[row["task"]]
        train, test = ((sounds.splits == SPLITS.index(s)) & (labels >= 0) for s in ("train", "test"))
        most_frequent = np.bincount(labels[train]).argmax()
        assert row["guessing_percent"] == pytest.approx(100 * np.mean(labels[test] == most_frequent))
        assert (row["train"], row["test"]) == (train.sum(), test.sum())


def test_command_takes_several_corpora(
    store: Store, sounds: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "baseline", str(store.folder), str(sounds.folder), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [rounded(row) for row in baseline(store) + baseline(sounds)]


def test_task_without_test_recordings_reports_a_clear_error(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "untested"
    folder.mkdir()
    for file in store.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    index = dict(np.load(folder / "index.npz"))
    index["splits"][:] = SPLITS.index("train")
    np.savez(folder / "index.npz", **index)
    assert main(["bench", "baseline", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{folder}: speech_commands has 3 classes in the training split and 0 test recordings" in err


def test_missing_corpus_reports_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "baseline", "nowhere"]) == 1
    assert "there is no prepared corpus in nowhere" in capsys.readouterr().err
