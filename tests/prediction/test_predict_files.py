"""Labels of files and arrays, against a plain loop over their windows and against the evaluation."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from helpers.predictions import LABELS, noise, plain_logits, plain_windows, small_classifier, write_noise
from helpers.tiny_run import tiny
from numpy.typing import NDArray

from audiostride import Classifier, load
from audiostride.audio_file import BadSoundError, read_sound
from audiostride.data.selection import select
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.prediction import reading
from audiostride.training.evaluate import evaluation
from audiostride.training.fit import train


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return small_classifier()


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    odds = np.exp(logits.astype(np.float64))
    return odds / odds.sum(-1, keepdims=True)


@pytest.mark.parametrize("hop", [None, 0.2])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_files_get_the_label_of_their_mean_logits(
    classifier: Classifier, hop: float | None, batch_size: int, tmp_path: Path
) -> None:
    lengths = [1, 3999, 4000, 8000, 8001, 12000, 30011, 70000]
    files = [write_noise(tmp_path / f"{length}.wav", length) for length in lengths]
    rows = classifier.predict(files, top=3, hop=hop, batch_size=batch_size)
    expected = []
    for file, length in zip(files, lengths, strict=True):
        samples = noise(length, length)
        for task, logits in plain_logits(classifier, samples, None if hop is None else 3200).items():
            probabilities = softmax(logits.mean(0))
            order = np.argsort(-probabilities)
            expected += [(str(file), task, LABELS[task][label], probabilities[label]) for label in order]
    assert [tuple(row.values())[:3] for row in rows] == [row[:3] for row in expected]
    np.testing.assert_allclose([row["probability"] for row in rows], [row[3] for row in expected], atol=1e-5)


@pytest.mark.parametrize("hop", [None, 0.2, 0.5])
def test_windows_get_their_own_labels_and_times(
    classifier: Classifier, hop: float | None, tmp_path: Path
) -> None:
    files = [write_noise(tmp_path / f"{length}.wav", length) for length in (100, 8000, 30011)]
    rows = classifier.predict(files, hop=hop, windows=True, tasks=["word"], batch_size=4)
    hop_samples = None if hop is None else round(hop * 16000)
    expected = []
    for file in files:
        samples = read_sound(file, 16000).samples
        logits = plain_logits(classifier, samples, hop_samples)["word"]
        for (begin, end, _), row in zip(plain_windows(samples, 8000, hop_samples), logits, strict=True):
            expected.append((str(file), begin / 16000, end / 16000, "word", LABELS["word"][row.argmax()]))
    assert [tuple(row.values())[:5] for row in rows] == expected


def test_labels_are_those_of_the_evaluation(store: Store, tmp_path: Path) -> None:
    """Windows last half a second, so most recordings have two. The corpus is written back to files."""
    recipe = tiny(store)
    recipe.data.window_s = 0.5
    train(recipe, tmp_path / "run")
    evaluated = evaluation(tmp_path / "run", "train", "last")
    model = load(tmp_path / "run", "last")
    (task,) = model.labels
    chosen = select(store, "train", model.labels)
    files = []
    for recording in chosen.recordings:
        files.append(tmp_path / f"{recording}.wav")
        soundfile.write(files[-1], store.samples(recording), 16000)
    rows = model.predict(files, top=len(model.labels[task]))
    best = rows[:: len(model.labels[task])]
    outcomes = evaluated.outcomes[task].numpy()
    assert [row["label"] for row in best] == [model.labels[task][guess] for guess in outcomes[:, 1]]
    probability = {(row["file"], row["label"]): row["probability"] for row in rows}
    right = [
        probability[str(file), model.labels[task][label]]
        for file, label in zip(files, outcomes[:, 0], strict=True)
    ]
    assert evaluated.rows[0]["loss"] == pytest.approx(-np.log(right).mean(), rel=1e-4)


def test_folders_are_searched_and_other_formats_resampled(classifier: Classifier, tmp_path: Path) -> None:
    write_noise(tmp_path / "b" / "deep" / "x.flac", 50000, 44100)
    write_noise(tmp_path / "a.ogg", 20000, 8000)
    (tmp_path / "notes.txt").write_text("no sound")
    rows = classifier.predict(tmp_path, tasks=["word"])
    assert [row["file"] for row in rows] == [str(tmp_path / "a.ogg"), str(tmp_path / "b" / "deep" / "x.flac")]
    samples = read_sound(tmp_path / "b" / "deep" / "x.flac", 16000).samples
    probabilities = softmax(plain_logits(classifier, samples)["word"].mean(0))
    assert rows[1]["probability"] == pytest.approx(probabilities.max(), abs=1e-5)


def test_waveforms_are_labelled_like_files(classifier: Classifier, tmp_path: Path) -> None:
    samples = noise(30011)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    expected = [(row["label"], row["probability"]) for row in classifier.predict(tmp_path / "a.wav")]
    floats = (samples / 32768).astype(np.float32)
    for sound in (samples, floats, floats.astype(np.float64), torch.from_numpy(samples), [floats]):
        rows = classifier.predict(sound)
        assert [row["file"] for row in rows] == [0, 0]
        assert [row["label"] for row in rows] == [label for label, _ in expected]
        probabilities = [row["probability"] for row in rows]
        np.testing.assert_allclose(probabilities, [p for _, p in expected], atol=1e-4)
    assert len(classifier.predict(np.stack([samples, samples]))) == 4


def test_waveforms_at_another_rate_are_resampled(classifier: Classifier) -> None:
    sound = (noise(44100) / 32768).astype(np.float32)
    resampled = soxr.resample(sound, 44100, 16000)
    for row, expected in zip(classifier.predict(sound, 44100), classifier.predict(resampled), strict=True):
        assert row["label"] == expected["label"]
        assert row["probability"] == pytest.approx(expected["probability"], abs=1e-3)


def test_prediction_leaves_the_model_as_it_was(classifier: Classifier) -> None:
    model = small_classifier().train()
    model.normalise.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = model.predict(noise(20000))
    assert rows == classifier.predict(noise(20000))
    assert model.training
    assert model.trunk.training
    assert not model.normalise.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model(torch.zeros(2, 8000))["word"].sum().backward()  # what prediction cached takes part in training


@pytest.mark.parametrize(
    ("sounds", "options", "message"),
    [
        (np.zeros((48000, 2)), {}, r"looks like \(samples, channels\)"),
        (np.zeros((2, 3, 16000)), {}, r"expected waveforms \(samples,\) or \(batch, samples\)"),
        (np.zeros(0), {}, "at least one sample"),
        (np.zeros(100, np.int32), {}, "must be floating point or int16, but got int32"),
        (np.full(100, np.nan), {}, "NaN or infinite"),
        (np.zeros(100), {"top": 0}, "top must be at least 1"),
        (np.zeros(100), {"hop": 0.6}, r"at most one window \(0.5 s\), but is 0.6 s"),
        (np.zeros(100), {"hop": 0.0}, "longer than 0"),
        (np.zeros(100), {"batch_size": 0}, "batch size must be at least 1"),
        (np.zeros(100), {"sample_rate": 0}, "at least 1 Hz"),
        ("a.wav", {"sample_rate": 8000}, "files have their own sample rate"),
        (np.zeros(100), {"tasks": ["wrod"]}, "the model has no task wrod: it has word, place/room"),
    ],
)
def test_wrong_argument_reports_a_clear_error(
    classifier: Classifier, sounds: object, options: dict[str, object], message: str
) -> None:
    with pytest.raises((ValueError, UserError), match=message):
        classifier.predict(sounds, **options)  # type: ignore[arg-type]


def test_bad_file_is_an_error_or_left_out(
    classifier: Classifier, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = write_noise(tmp_path / "good.wav", 9000)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(good.read_bytes()[:5000])
    with pytest.raises(BadSoundError, match=r"bad.wav ends too early: repair or remove it"):
        classifier.predict([good, bad, good])
    rows = classifier.predict([bad, good, tmp_path / "none.wav", good], tasks=["word"], skip_bad=True)
    assert [row["file"] for row in rows] == [str(good)] * 2
    assert [message.rpartition("; ")[2] for message in caplog.messages] == ["left out"] * 2
    assert classifier.predict([]) == []


def test_silent_files_are_labelled(classifier: Classifier, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(20000), 16000)
    soundfile.write(tmp_path / "offset.flac", np.full(20000, 0.25), 44100)
    assert len(classifier.predict(tmp_path, tasks=["word"])) == 2


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_long_recording_is_read_in_pieces(
    classifier: Classifier, suffix: str, rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its windows are those of a short one, whether its header says its length or not."""
    file = write_noise(tmp_path / f"a.{suffix}", 9 * rate + 77, rate)
    expected = classifier.predict(file, windows=True)
    monkeypatch.setattr(reading, "_WHOLE", 10000)
    monkeypatch.setattr("audiostride.audio_file._BLOCK", 3000)
    assert classifier.predict(file, windows=True) == expected
    monkeypatch.setattr("audiostride.audio_file._UNKNOWN_FRAMES", 0)
    assert classifier.predict(file, windows=True) == expected


def test_reading_stops_when_nobody_takes_the_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_WHOLE", 10000)
    monkeypatch.setattr("audiostride.audio_file._BLOCK", 8000)
    files = [write_noise(tmp_path / f"{number}.wav", 400000 + number) for number in range(8)]
    items = reading.read_files(files, 16000, 8000)
    assert next(items)[0] == 0
    threads = threading.active_count()
    items.close()
    assert threading.active_count() < threads


def test_error_in_a_reading_thread_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(reading, "SoundReader", fail)
    with pytest.raises(ZeroDivisionError):
        list(reading.read_files([tmp_path / "a.wav"], 16000, 8000))


def test_order_is_that_of_the_files(classifier: Classifier, tmp_path: Path) -> None:
    """Long files come first, so that later ones are decoded earlier."""
    lengths = [300000, 100, 200000, 50, 8000, 90000]
    files = [write_noise(tmp_path / f"{length}.wav", length) for length in lengths]
    rows = classifier.predict([os.fspath(file) for file in files], tasks=["word"], batch_size=3)
    assert [row["file"] for row in rows] == [str(file) for file in files]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same_probabilities(classifier: Classifier, tmp_path: Path) -> None:
    files = [write_noise(tmp_path / f"{length}.wav", length) for length in (3000, 50000, 200000)]
    expected = classifier.predict(files)
    rows = small_classifier().cuda().predict(files, batch_size=4)
    assert [row["file"] for row in rows] == [row["file"] for row in expected]
    np.testing.assert_allclose(
        [row["probability"] for row in rows], [row["probability"] for row in expected], atol=1e-3
    )
