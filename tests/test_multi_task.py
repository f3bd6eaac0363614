"""One model of several tasks: which windows make a batch, what is learned, and what is told of it."""

import csv
import pickle
import shutil
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score
from tiny_run import assert_same, metrics, tiny, weights, without_time
from torch.nn.functional import cross_entropy

from audiostride import load
from audiostride.cli import main
from audiostride.corpora.base import SPLITS, Corpus, Recording
from audiostride.data.augmentation import Augmentation
from audiostride.data.module import WindowsModule
from audiostride.data.prepare import prepare
from audiostride.data.store import Store
from audiostride.data.windows import EvaluationWindows, Selection, TrainingWindows, select
from audiostride.errors import UserError
from audiostride.settings import AugmentationSettings, DataSettings, Recipe, TrainingSettings
from audiostride.training.evaluation import evaluate
from audiostride.training.module import RecordingLogits, _scores, mean_cross_entropy
from audiostride.training.run import train

LABELS = {"shape": ["click", "hiss"], "level": ["high", "low", "middle"]}


def write_sounds(folder: Path, recordings: int = 40, valid: bool = True) -> Corpus:
    """Clicks or noise at one of three levels: two tasks on each recording, but the level of every fifth."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    made = []
    for number in range(recordings):
        shape, level = LABELS["shape"][number % 2], ("low", "middle", "high")[number % 3]
        sound = rng.standard_normal(8000) / 4
        if shape == "click":
            sound = np.where(np.arange(8000) % 1600 == 100, 1.0, 0.0)
        gain = {"low": 0.01, "middle": 0.1, "high": 1.0}[level]
        soundfile.write(folder / f"{number}.wav", 0.9 * gain * sound, 16000)
        labels = {"shape": shape} | ({"level": level} if number % 5 else {})
        split = ("train", "train", "valid" if valid else "train", "test")[number // 2 % 4]
        made.append(Recording(f"{number}.wav", split, labels, group=str(number // 2)))
    return Corpus("sounds", folder, "given", LABELS, made)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("sounds")
    return prepare(write_sounds(folder / "source"), folder / "prepared")


@pytest.fixture(scope="module")
def unvalidated(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("unvalidated")
    return prepare(write_sounds(folder / "source", valid=False), folder / "prepared")


def recipe(*stores: Store, **training: Any) -> Recipe:
    made = tiny(stores[0], **training)
    made.data.corpus = [str(store.folder) for store in stores]
    return made


# Which windows make a batch


def every(stores: list[Store], split: str = "train") -> Selection:
    return select(stores, split, {task: names for store in stores for task, names in store.tasks.items()})


def turns(windows: TrainingWindows, number: int) -> list[int]:
    """For which task each window of a batch is drawn."""
    places = np.arange(windows.batch_size) + windows.batch_size * number
    return windows.turns[places % len(windows.turns)].tolist()


def drawn_tasks(windows: TrainingWindows, batches: int) -> Counter[int]:
    """How many windows were drawn for each task, from the pattern of turns."""
    count = batches * windows.batch_size
    return Counter(windows.turns[np.arange(count) % len(windows.turns)].tolist())


def test_a_selection_of_several_corpora_holds_the_recordings_of_all(store: Store, sounds: Store) -> None:
    chosen = every([store, sounds])
    assert {task: chosen.labelled(task) for task in chosen.labels} == {
        "speech_commands": 18,
        "shape": 20,
        "level": 16,
    }
    for number, (which, place) in enumerate(zip(chosen.store_of, chosen.recordings, strict=True)):
        home = (store, sounds)[which]
        for task, names in home.tasks.items():
            assert chosen.labels[task][number] == home.labels[task][place]
            assert len(names) == len(home.tasks[task])
        assert all(chosen.labels[task][number] == -1 for task in chosen.labels.keys() - home.tasks.keys())
        window = chosen.cut(np.array([number]), np.array([0]), 8000)["waveform"][0].numpy()
        begin, end = home.starts[place : place + 2]
        sound = home.waveforms[begin:end][:8000]
        assert np.array_equal(window[: len(sound)], sound)
        assert not window[len(sound) :].any()


def test_tasks_take_turns_evenly(store: Store, sounds: Store) -> None:
    windows = TrainingWindows(every([store, sounds]), 10, 4000)
    assert drawn_tasks(windows, 3) == {0: 10, 1: 10, 2: 10}
    seen: list[set[int]] = [set(), set(), set()]
    for number in range(9):
        for task, recording in zip(turns(windows, number), windows._chosen(number), strict=True):
            assert list(windows.selection.labels.values())[task][recording] >= 0
            seen[task].add(int(recording))
    assert [len(recordings) for recordings in seen] == [18, 20, 16]  # each had one of 30 turns


def test_a_batch_lies_corpus_by_corpus(store: Store, sounds: Store) -> None:
    windows = TrainingWindows(every([store, sounds]), 10, 4000)
    for number in range(5):
        recordings = windows[number]["recording"].numpy()
        assert (np.diff(windows.selection.store_of[recordings]) >= 0).all()
        assert sorted(recordings) == sorted(windows._chosen(number))


def test_every_recording_of_a_task_comes_once_before_any_comes_again(sounds: Store) -> None:
    windows = TrainingWindows(every([sounds]), 8, 4000, shares={"shape": 1, "level": 3})
    seen: dict[int, list[int]] = {0: [], 1: []}
    for number in range(40):
        for task, recording in zip(turns(windows, number), windows._chosen(number).tolist(), strict=True):
            seen[task].append(recording)
    assert len(seen[1]) == pytest.approx(3 * len(seen[0]), abs=2)
    for task, pool in ((0, 20), (1, 16)):
        rounds = [seen[task][i : i + pool] for i in range(0, len(seen[task]) - pool + 1, pool)]
        assert len(rounds) >= 4
        assert all(len(set(order)) == pool for order in rounds)
        assert rounds[0] != rounds[1]


@pytest.mark.parametrize("shares", [(1, 1), (0.3, 0.7), (5, 1), (1, 1000), (0.123, 0.456)])
def test_shares_of_tasks_are_kept_in_every_stretch(shares: tuple[float, float], sounds: Store) -> None:
    windows = TrainingWindows(
        every([sounds]), 64, 400, shares=dict(zip(("shape", "level"), shares, strict=True))
    )
    wanted = shares[0] / sum(shares)
    for begin, length in ((0, 64), (640, 64), (77, 1000), (0, 50_000)):
        drawn = windows.turns[np.arange(begin, begin + length) % len(windows.turns)]
        assert (drawn == 0).sum() == pytest.approx(wanted * length, abs=2 + length / 4096)


def test_a_task_of_no_share_is_not_drawn(sounds: Store) -> None:
    windows = TrainingWindows(every([sounds]), 16, 400, shares={"shape": 0.0, "level": 1.0})
    for number in range(10):
        assert (windows[number]["labels"]["level"] >= 0).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_load_the_same_batches(workers: int, store: Store, sounds: Store) -> None:
    module = WindowsModule(
        DataSettings([str(store.folder), str(sounds.folder)], workers=workers), TrainingSettings(batch_size=5)
    )
    loader = module._loader(TrainingWindows(every([store, sounds]), 5, 4000, seed=7), range(3, 9))
    plain = TrainingWindows(every([store, sounds]), 5, 4000, seed=7)
    for number, batch in zip(range(3, 9), loader, strict=True):
        assert batch["waveform"].equal(plain[number]["waveform"])
        assert batch["recording"].equal(plain[number]["recording"])


# Tasks and labels that are asked for


def module(*stores: Store, **data: Any) -> WindowsModule:
    return WindowsModule(DataSettings([str(s.folder) for s in stores], **data), TrainingSettings())


def test_tasks_are_chosen_and_left_out_by_name(store: Store, sounds: Store) -> None:
    assert list(module(store, sounds).labels) == ["speech_commands", "shape", "level"]
    assert list(module(store, sounds, tasks="level").labels) == ["level"]
    assert list(module(store, sounds, tasks=["level", "speech_commands"]).labels) == [
        "speech_commands",
        "level",
    ]
    assert list(module(store, sounds, leave_out="shape").labels) == ["speech_commands", "level"]
    assert module(sounds, labels={"level": ["low", "high"]}).labels == {
        "shape": ["click", "hiss"],
        "level": ["low", "high"],
    }


def test_a_task_in_two_corpora_has_the_labels_of_both(store: Store, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    rng = np.random.default_rng(0)
    recordings = []
    for number, word in enumerate(("no", "maybe")):
        soundfile.write(tmp_path / "source" / f"{word}.wav", rng.standard_normal(4000) / 9, 16000)
        recordings.append(Recording(f"{word}.wav", SPLITS[number], {"speech_commands": word}))
    tasks = {"speech_commands": ["maybe", "no"]}
    more = prepare(Corpus("more", tmp_path / "source", "given", tasks, recordings), tmp_path / "out")
    both = module(store, more)
    assert both.labels == {"speech_commands": ["no", "stop", "yes", "maybe"]}
    train, valid = both.select("train"), both.select("valid")
    assert Counter(train.labels["speech_commands"].tolist()) == {0: 7, 1: 6, 2: 6}
    assert Counter(valid.labels["speech_commands"].tolist()) == {0: 2, 1: 2, 2: 2, 3: 1}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"tasks": "pitch"}, "data.tasks names the task pitch: there are shape, level"),
        ({"leave_out": ["pitch"]}, "data.leave_out names the task pitch: there are shape, level"),
        ({"leave_out": ["shape", "level"]}, "data.leave_out leaves no task: there are shape, level"),
        ({"labels": ["low", "high"]}, r"data.labels names labels of one task, but there are shape, level"),
        ({"labels": {"pitch": ["a", "b"]}}, "data.labels names the task pitch"),
        ({"sampling": {"pitch": 1.0}}, "data.sampling names the task pitch"),
        ({"sampling": {"shape": 0.0, "level": 0.0}}, "data.sampling is 0 for every task"),
    ],
)
def test_unknown_tasks_are_told_in_a_sentence(data: dict[str, Any], sentence: str, sounds: Store) -> None:
    with pytest.raises(UserError, match=sentence):
        module(sounds, **data).shares()


def test_shares_are_uniform_proportional_or_given(store: Store, sounds: Store) -> None:
    assert module(store, sounds).shares() == {"speech_commands": 1, "shape": 1, "level": 1}
    assert module(store, sounds, sampling="proportional").shares() == {
        "speech_commands": 18,
        "shape": 20,
        "level": 16,
    }
    assert module(store, sounds, sampling={"level": 0.5}).shares() == {
        "speech_commands": 1,
        "shape": 1,
        "level": 0.5,
    }


# Validation where the corpus has none


def test_a_share_of_training_validates_where_nothing_else_does(unvalidated: Store) -> None:
    held = module(unvalidated, holdout=0.2)
    train, valid = held.select("train"), held.select("valid")
    assert len(train.recordings) + len(valid.recordings) == 30
    assert 4 <= len(valid.recordings) <= 8
    groups = unvalidated.groups
    assert not set(groups[train.recordings]) & set(groups[valid.recordings])
    assert np.array_equal(module(unvalidated, holdout=0.2).select("valid").recordings, valid.recordings)


def test_a_corpus_with_validation_recordings_keeps_them(sounds: Store) -> None:
    assert len(module(sounds, holdout=0.5).select("valid").recordings) == 10


def test_without_validation_the_last_checkpoint_is_the_best(
    unvalidated: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = recipe(unvalidated)
    made.data.holdout = 0.0
    train(made, tmp_path / "run")
    assert "nothing to validate on: the last checkpoint counts as the best" in capsys.readouterr().err
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
    area = _scores(logits, labels)["roc_auc"]
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


def test_what_workers_are_sent_does_not_grow_with_the_corpus(
    store: Store, sounds: Store, tmp_path: Path
) -> None:
    noise = Augmentation(AugmentationSettings(noise=str(store.folder)))
    windows = TrainingWindows(every([store, sounds]), 5, 4000, seed=7, augmentation=noise)
    windows[0]  # opens the maps
    sent = pickle.dumps(windows)
    assert len(sent) < 20_000 < store.waveforms.nbytes
    assert pickle.loads(sent)[3]["waveform"].equal(windows[3]["waveform"])


def test_an_open_corpus_takes_no_private_memory(sounds: Store) -> None:
    assert not sounds.waveforms.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        every([sounds]).cut(np.array([0]), np.array([0]), 100)
