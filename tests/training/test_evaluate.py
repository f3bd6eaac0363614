"""Evaluation of trained runs."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.tiny_run import tiny
from helpers.two_tasks import recipe
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score
from torch.nn.functional import cross_entropy

from audiostride import load
from audiostride.analysis.intervals import accuracy_interval
from audiostride.cli import main
from audiostride.corpora import speech_commands
from audiostride.corpora.base import SPLITS, Corpus, Recording
from audiostride.data.selection import select
from audiostride.data.store import Store
from audiostride.data.windows import EvaluationWindows
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare
from audiostride.training.evaluate import evaluate, evaluation
from audiostride.training.fit import train

TASK = "speech_commands"


def test_scores_equal_those_of_sklearn(sounds: Store, tmp_path: Path) -> None:
    train(recipe(sounds, steps=30, validate_every=15, batch_size=16), tmp_path / "run")
    rows = {row["task"]: row for row in evaluate(tmp_path / "run", confusion=tmp_path / "confusion")}
    classifier = load(tmp_path / "run")
    chosen = select(sounds, "test", classifier.labels)
    batch = EvaluationWindows(chosen, 64, 16000)[0]
    with torch.no_grad():
        logits = classifier(batch["waveform"])
    for task, names in classifier.labels.items():
        labelled = batch["labels"][task] >= 0
        truth, scores = batch["labels"][task][labelled].numpy(), logits[task][labelled]
        guess = scores.argmax(1).numpy()
        assert rows[task]["accuracy_percent"] == pytest.approx(100 * (guess == truth).mean(), abs=1e-4)
        present = np.union1d(guess, truth)
        expected = 100 * f1_score(truth, guess, average="macro", labels=present, zero_division=0)
        assert rows[task]["macro_f1_percent"] == pytest.approx(expected, abs=1e-4)
        table = list(csv.reader((tmp_path / "confusion" / f"{task}.csv").open()))
        assert table[0] == ["label", *names]
        counts = [[int(count) for count in row[1:]] for row in table[1:]]
        assert counts == confusion_matrix(truth, guess, labels=range(len(names))).tolist()
    two = logits["shape"].softmax(1)[:, 1]
    assert rows["shape"]["roc_auc"] == pytest.approx(roc_auc_score(batch["labels"]["shape"], two), abs=1e-4)
    assert rows["level"]["roc_auc"] is None


def test_other_corpus_is_evaluated_on_the_tasks_that_it_has(
    sounds: Store, store: Store, tmp_path: Path
) -> None:
    made = recipe(sounds, store, steps=2)
    made.data.sampling = {"shape": 2.0}
    train(made, tmp_path / "run")
    assert [row["task"] for row in evaluate(tmp_path / "run", corpus=str(store.folder))] == [
        "speech_commands"
    ]
    train(recipe(store, steps=2), tmp_path / "words")
    with pytest.raises(UserError, match="has no test recordings of speech_commands"):
        evaluate(tmp_path / "words", corpus=str(sounds.folder))


def test_model_of_two_corpora_is_evaluated_on_either(store: Store, tmp_path: Path) -> None:
    """The corpora share a task, and neither has all of its labels."""
    (tmp_path / "source").mkdir()
    rng = np.random.default_rng(0)
    recordings = []
    for number in range(6):
        soundfile.write(tmp_path / "source" / f"{number}.wav", rng.standard_normal(4000) / 9, 16000)
        word = ("no", "maybe")[number % 2]
        recordings.append(Recording(f"{number}.wav", SPLITS[number // 2], {"speech_commands": word}))
    tasks = {"speech_commands": ["maybe", "no"]}
    more = prepare(Corpus("more", tmp_path / "source", "given", tasks, recordings), tmp_path / "out")
    train(recipe(store, more, steps=2), tmp_path / "run")
    rows = [evaluate(tmp_path / "run", corpus=str(each.folder))[0] for each in (store, more)]
    assert [row["recordings"] for row in rows] == [6, 2]
    assert [row["split"] for row in rows] == ["official test", "given test"]
    assert [row["classes"] for row in rows] == [4, 4]


def test_split_says_that_recordings_were_held_out_of_training(unvalidated: Store, tmp_path: Path) -> None:
    train(recipe(unvalidated, steps=2), tmp_path / "run")
    assert {row["split"] for row in evaluate(tmp_path / "run", "valid")} == {"given train, held out"}


def test_evaluation_averages_logits_over_the_windows_of_a_recording(store: Store, tmp_path: Path) -> None:
    """Compare with a plain loop. Windows last half a second, so most recordings have two."""
    recipe = tiny(store)
    recipe.data.window_s = 0.5
    train(recipe, tmp_path / "run")
    (row,) = evaluate(tmp_path / "run", "train", "last")
    model = load(tmp_path / "run", "last")
    chosen = select(store, "train", model.labels)
    windows = EvaluationWindows(chosen, 1, 8000)
    assert len(windows) > len(chosen.recordings)
    loss = right = 0.0
    for recording, label in enumerate(chosen.labels[TASK]):
        waveforms = [windows[k]["waveform"] for k in range(len(windows)) if windows.chosen[k] == recording]
        with torch.no_grad():
            logits = torch.cat([model(waveform)[TASK] for waveform in waveforms]).mean(0)
        loss += cross_entropy(logits, torch.tensor(label)).item()
        right += float(logits.argmax() == label)
    count = len(chosen.recordings)
    assert row["recordings"] == count
    assert row["loss"] == pytest.approx(loss / count, rel=1e-4)
    assert row["accuracy_percent"] == pytest.approx(100 * right / count, rel=1e-6)


def test_interval_takes_recordings_of_a_speaker_as_dependent(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source, recordings = tmp_path / "source", []
    source.mkdir()
    for number in range(40):
        soundfile.write(source / f"{number:02}.wav", rng.standard_normal(8000) / 10, 16000)
        labels, speaker = {"t": "ab"[number % 2]}, f"speaker {number // 7}"
        recordings.append(Recording(f"{number:02}.wav", "test" if number < 28 else "train", labels, speaker))
    store = prepare(Corpus("spoken", source, "given", {"t": ["a", "b"]}, recordings), tmp_path / "prepared")
    train(tiny(store, steps=2), tmp_path / "run")
    evaluated = evaluation(tmp_path / "run")
    (row,) = evaluated.rows
    correct = (evaluated.outcomes["t"][:, 0] == evaluated.outcomes["t"][:, 1]).numpy()
    low, high = (row["low_percent"] / 100, row["high_percent"] / 100)
    assert (low, high) == pytest.approx(accuracy_interval(correct, np.arange(28) // 7)[1:])
    assert (row["recordings"], row["groups"]) == (28, 4)


def test_notes_of_the_corpus_are_repeated_with_its_results(
    words: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = prepare(speech_commands.read(words, "paper"), tmp_path / "corpus")
    train(tiny(store, steps=1), tmp_path / "run")
    evaluate(tmp_path / "run")
    notes = [message for message in caplog.messages if message.startswith(f"{store.folder}: ")]
    assert ["test recordings share their group" in note for note in notes] == [False, True]


def test_labels_with_odd_characters_are_written_and_drawn(tmp_path: Path) -> None:
    """A corpus of an earlier version may have labels that are names of folders that are not UTF-8."""
    labels = ["=SUM(A1)", "caf\udce9", "$\\frac", '-a,"b"\n']
    (tmp_path / "source").mkdir()
    recordings = []
    for number in range(24):
        noise = np.random.default_rng(number).standard_normal(4000) / 9
        soundfile.write(tmp_path / "source" / f"{number}.wav", noise, 16000)
        split = SPLITS[number // 4 % 3]
        recordings.append(Recording(f"{number}.wav", split, {"=odd": labels[number % 4]}))
    corpus = Corpus("odd", tmp_path / "source", "given", {"=odd": labels}, recordings)
    train(recipe(prepare(corpus, tmp_path / "out"), steps=2), tmp_path / "run")
    for format in ("table", "csv", "json", "markdown", "latex"):
        options = ["--confusion", str(tmp_path / "confusion"), "--format", format]
        assert main(["test", str(tmp_path / "run"), *options]) == 0
    (file,) = (tmp_path / "confusion").iterdir()
    header, *rows = csv.reader(file.open(newline="", encoding="utf-8", errors="surrogateescape"))
    escaped = ["'=SUM(A1)", "caf\udce9", "$\\frac", '\'-a,"b"\n']
    assert header == ["label", *escaped]
    assert [row[0] for row in rows] == escaped
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "report.html")]) == 0
    assert "Confusion" in (tmp_path / "report.html").read_text()
