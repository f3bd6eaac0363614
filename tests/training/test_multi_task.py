"""One model of several tasks: what is learned, and what is told of it."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from helpers.tiny_run import assert_same, metrics, weights, without_time
from helpers.two_tasks import LABELS, every, recipe, write_sounds
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score
from torch.nn.functional import cross_entropy

from audiostride import load
from audiostride.cli import main
from audiostride.config.settings import DataSettings, Recipe, TrainingSettings
from audiostride.corpora.base import SPLITS, Corpus, Recording
from audiostride.data.datamodule import WindowsModule
from audiostride.data.selection import select
from audiostride.data.store import Store
from audiostride.data.windows import EvaluationWindows, TrainingWindows
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train
from audiostride.training.metrics import RecordingLogits, scores
from audiostride.training.objective import mean_cross_entropy


def test_without_validation_the_last_checkpoint_is_the_best(
    unvalidated: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = recipe(unvalidated)
    made.data.holdout = 0.0
    train(made, tmp_path / "run")
    assert (
        "there are no recordings for validation: the last checkpoint counts as the best"
        in capsys.readouterr().err
    )
    assert_same(weights(tmp_path / "run", "best"), weights(tmp_path / "run", "last"))
    assert [line["step"] for line in metrics(tmp_path / "run")] == [2, 4, 6]
    assert len(evaluate(tmp_path / "run")) == 2


# Training and its results


def test_each_task_is_learned(sounds: Store, store: Store, tmp_path: Path) -> None:
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


def test_a_resumed_run_of_several_corpora_ends_like_one_without_a_break(
    sounds: Store, store: Store, tmp_path: Path
) -> None:
    def made(steps: int) -> Recipe:
        made = recipe(sounds, store, steps=steps)
        made.data.sampling = {"shape": 2.0}
        made.augmentation.gain_db, made.augmentation.mixup = 6.0, 0.3
        made.augmentation.time_masks = made.augmentation.frequency_masks = 1
        return made

    train(made(6), tmp_path / "whole")
    train(made(4), tmp_path / "broken")
    train(made(6), tmp_path / "broken", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert without_time(metrics(tmp_path / "whole")) == without_time(metrics(tmp_path / "broken"))


def test_weights_of_tasks_scale_their_losses(sounds: Store, tmp_path: Path) -> None:
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


def test_scores_are_those_of_sklearn(sounds: Store, tmp_path: Path) -> None:
    train(recipe(sounds, steps=30, validate_every=15, batch_size=16), tmp_path / "run")
    rows = {row["task"]: row for row in evaluate(tmp_path / "run", confusion=tmp_path / "confusion")}
    classifier = load(tmp_path / "run")
    chosen = select(sounds, "test", classifier.labels)
    batch = EvaluationWindows(chosen, 64, 16000)[0]
    with torch.no_grad():
        logits = classifier(batch["waveform"])
    for task, names in classifier.labels.items():
        here = batch["labels"][task] >= 0
        truth, scores = batch["labels"][task][here].numpy(), logits[task][here]
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


def test_another_corpus_is_tested_on_the_tasks_that_it_has(
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


def test_a_task_without_training_recordings_is_told_in_a_sentence(tmp_path: Path) -> None:
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


def test_a_corpus_is_added_and_a_task_left_out_by_one_option(
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


def test_a_model_of_two_corpora_is_tested_on_either(store: Store, tmp_path: Path) -> None:
    """Also where they share a task and neither has all of its labels."""
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


def test_a_corpus_given_twice_is_told_in_a_sentence(sounds: Store, tmp_path: Path) -> None:
    shutil.copytree(sounds.folder, tmp_path / "copy")
    for second in (str(sounds.folder), str(tmp_path / "copy")):
        with pytest.raises(
            UserError, match=r"data\.corpus has the same recordings in .* and .*: leave one out"
        ):
            WindowsModule(DataSettings([str(sounds.folder), second]), TrainingSettings())


def test_a_task_that_is_left_out_may_still_have_weights_and_labels(sounds: Store, tmp_path: Path) -> None:
    made = recipe(sounds, steps=2, task_weights={"level": 0.5})
    made.data.leave_out, made.data.sampling = "level", {"level": 2.0}
    made.data.labels = {"level": ["low", "high"]}
    train(made, tmp_path / "run")
    assert load(tmp_path / "run").labels == {"shape": ["click", "hiss"]}


def test_a_run_goes_on_where_its_corpora_have_moved_and_with_other_workers(
    sounds: Store, tmp_path: Path
) -> None:
    shutil.copytree(sounds.folder, tmp_path / "before")
    made = recipe(sounds, steps=6, batch_size=8)
    made.augmentation.gain_db = 3.0
    train(made, tmp_path / "whole")
    made.data.corpus, made.training.steps = str(tmp_path / "before"), 4
    train(made, tmp_path / "run")
    (tmp_path / "before").rename(tmp_path / "after")
    made.data.corpus, made.data.workers, made.training.steps = str(tmp_path / "after"), 2, 6
    train(made, tmp_path / "run", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


def test_recordings_held_out_of_training_are_called_so(unvalidated: Store, tmp_path: Path) -> None:
    train(recipe(unvalidated, steps=2), tmp_path / "run")
    assert {row["split"] for row in evaluate(tmp_path / "run", "valid")} == {"given train, held out"}


def test_a_task_without_windows_in_a_batch_keeps_its_last_score(sounds: Store, tmp_path: Path) -> None:
    made = recipe(sounds, steps=8, validate_every=1, batch_size=1, learning_rate=0.0)
    made.data.sampling = {"shape": 5.0}
    train(made, tmp_path / "run")
    seen = [line["metrics"] for line in metrics(tmp_path / "run")]
    batches = TrainingWindows(every([sounds]), 1, 16000, shares={"shape": 5.0, "level": 1.0})
    there = [bool(batches[k]["labels"]["level"][0] >= 0) for k in range(8)]
    assert not all(there)
    for before, line, labelled in zip([{}, *seen], seen, there, strict=False):
        if not labelled:
            assert line.get("train/loss/level") == before.get("train/loss/level")
    assert all("train/loss/shape" in line for line in seen)


def test_the_area_under_the_curve_is_right_for_confident_models() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 2, (200,))
    margin = 20 * (torch.randn(200) + labels)
    logits = torch.stack([-margin / 2, margin / 2], 1)
    area = scores(logits, labels)["roc_auc"]
    assert float(area) == pytest.approx(roc_auc_score(labels, margin), abs=1e-6)


def test_windows_are_counted_right_in_a_model_of_low_precision() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        scores = RecordingLogits(1)
        for _ in range(700):
            batch: Any = {"recording": torch.tensor([0]), "labels": {"task": torch.tensor([1])}}
            scores.update(batch, {"task": torch.tensor([[1.0, 2.0]])})
        torch.testing.assert_close(scores.mean("task")[0], torch.tensor([[1.0, 2.0]], dtype=torch.float32))
    finally:
        torch.set_default_dtype(before)


def test_any_name_can_be_a_task(tmp_path: Path) -> None:
    """Also those of attributes of a module, or with dots and slashes, as columns of a CSV file have."""
    corpus = write_sounds(tmp_path / "source", 12)
    names = {"shape": "keys", "level": "a.b/c d"}
    renamed = [replace(r, labels={names[t]: v for t, v in r.labels.items()}) for r in corpus.recordings]
    tasks = {names[task]: labels for task, labels in LABELS.items()}
    store = prepare(replace(corpus, tasks=tasks, recordings=renamed), tmp_path / "out")
    train(recipe(store, steps=2), tmp_path / "run")
    rows = evaluate(tmp_path / "run", confusion=tmp_path / "confusion")
    assert [row["task"] for row in rows] == ["keys", "a.b/c d"]
    assert {path.name for path in (tmp_path / "confusion").iterdir()} == {"keys.csv", "a.b%2Fc d.csv"}


def test_mixed_loss_is_the_mean_of_both_labels_by_weight() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 2, -1, 1, -1])
    partner = torch.tensor([1, 2, 4, 0, 3])
    weight = torch.tensor([0.9, 0.3, 0.5, 1.0, 0.2], dtype=torch.float64)
    total, count = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for row in range(5):
        for label, share in ((labels[row], weight[row]), (labels[partner[row]], 1 - weight[row])):
            if label >= 0:
                total = total + share * cross_entropy(logits[row : row + 1], label[None])
                count = count + share
    mixed = mean_cross_entropy(logits, labels, {"partner": partner, "weight": weight})
    torch.testing.assert_close(mixed, total / count)
    assert mean_cross_entropy(logits, torch.full((5,), -1), {}) == 0
