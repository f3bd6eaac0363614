"""Runs of several tasks and corpora."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_run import metrics, weights
from helpers.two_tasks import LABELS, every, recipe, write_sounds

from audiostride import load
from audiostride.cli import main
from audiostride.data.store import Store
from audiostride.data.windows import TrainingWindows
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train


def test_every_task_is_learned(sounds: Store, store: Store, tmp_path: Path) -> None:
    made = recipe(sounds, store, steps=220, validate_every=50, batch_size=18, learning_rate=1e-2)
    made.model = replace(made.model, channels=(12, 16))
    made.training.schedule, made.data.window_s = "one_cycle", 0.5
    train(made, tmp_path / "run")
    rows = {row["task"]: row for row in evaluate(tmp_path / "run")}
    assert {task: row["recordings"] for task, row in rows.items()} == {
        "shape": 10,
        "level": 8,
        "speech_commands": 6,
    }
    assert all(row["accuracy_percent"] >= 80 for row in rows.values()), rows
    last = metrics(tmp_path / "run")[-1]["metrics"]
    assert last["valid/accuracy"] == pytest.approx(
        np.mean([last[f"valid/accuracy/{task}"] for task in rows]), abs=1e-6
    )


def test_task_weights_scale_the_losses(sounds: Store, tmp_path: Path) -> None:
    silent = recipe(sounds, steps=2, task_weights={"level": 0.0})
    train(silent, tmp_path / "silent")
    train(recipe(sounds, steps=2), tmp_path / "both")
    fresh = load(tmp_path / "silent", "last").labels
    assert list(fresh) == ["shape", "level"]

    def head(run: str) -> torch.Tensor:
        return weights(tmp_path / run)["heads.1.weight"]

    with torch.random.fork_rng():
        train(recipe(sounds, steps=1, learning_rate=0.0, stride_learning_rate=0.0), tmp_path / "initial")
    assert head("silent").equal(head("initial"))
    assert not head("both").equal(head("initial"))


def test_task_without_training_recordings_reports_a_clear_error(tmp_path: Path) -> None:
    corpus = write_sounds(tmp_path / "source", 12)
    bare = [
        replace(r, labels={"shape": r.labels["shape"]}) if r.split == "train" else r
        for r in corpus.recordings
    ]
    store = prepare(replace(corpus, recordings=bare), tmp_path / "out")
    with pytest.raises(
        UserError, match=r"has no train recordings of level: leave the task out with --data\.leave_out"
    ):
        train(recipe(store), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_add_a_corpus_and_leave_out_a_task(
    sounds: Store, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(
        f"model: {{channels: [4], strides: [[2, 2]]}}\ndata: {{corpus: ['{store.folder}']}}\n"
        "training: {steps: 1, batch_size: 4}\n"
    )
    added = ["train", "r.yaml", "--data.corpus+", str(sounds.folder)]
    assert main([*added, "--out", "all"]) == 0
    assert list(load("all").labels) == ["speech_commands", "shape", "level"]
    assert main([*added, "--data.leave_out", "level", "--out", "less"]) == 0
    assert list(load("less").labels) == ["speech_commands", "shape"]


def test_task_left_out_may_have_weights_and_labels(sounds: Store, tmp_path: Path) -> None:
    made = recipe(sounds, steps=2, task_weights={"level": 0.5})
    made.data.leave_out, made.data.sampling = "level", {"level": 2.0}
    made.data.labels = {"level": ["low", "high"]}
    train(made, tmp_path / "run")
    assert load(tmp_path / "run").labels == {"shape": ["click", "hiss"]}


def test_task_without_windows_in_a_batch_keeps_its_last_metrics(sounds: Store, tmp_path: Path) -> None:
    made = recipe(sounds, steps=8, validate_every=1, batch_size=1, learning_rate=0.0)
    made.data.sampling = {"shape": 5.0}
    train(made, tmp_path / "run")
    seen = [line["metrics"] for line in metrics(tmp_path / "run")]
    batches = TrainingWindows(every([sounds]), 1, 16000, weights={"shape": 5.0, "level": 1.0})
    labelled_batches = [bool(batches[k]["labels"]["level"][0] >= 0) for k in range(8)]
    assert not all(labelled_batches)
    for before, line, labelled in zip([{}, *seen], seen, labelled_batches, strict=False):
        if not labelled:
            assert line.get("train/loss/level") == before.get("train/loss/level")
    assert all("train/loss/shape" in line for line in seen)


def test_task_may_have_any_name(tmp_path: Path) -> None:
    """For example an attribute of nn.Module, or a name with dots and slashes as in CSV files."""
    corpus = write_sounds(tmp_path / "source", 12)
    names = {"shape": "keys", "level": "a.b/c d"}
    renamed = [replace(r, labels={names[t]: v for t, v in r.labels.items()}) for r in corpus.recordings]
    tasks = {names[task]: labels for task, labels in LABELS.items()}
    store = prepare(replace(corpus, tasks=tasks, recordings=renamed), tmp_path / "out")
    train(recipe(store, steps=2), tmp_path / "run")
    rows = evaluate(tmp_path / "run", confusion=tmp_path / "confusion")
    assert [row["task"] for row in rows] == ["keys", "a.b/c d"]
    assert {path.name for path in (tmp_path / "confusion").iterdir()} == {"keys.csv", "a.b%2Fc d.csv"}
