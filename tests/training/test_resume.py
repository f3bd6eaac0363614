"""What a run keeps, how it goes on after a break, and what it says when it cannot."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import assert_same, metrics, tiny, weights, without_time

from audiostride.config.recipe import read_config
from audiostride.corpora import speech_commands
from audiostride.data.selection import Batch
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_resumed_run_ends_like_one_without_a_break(schedule: Any, store: Store, tmp_path: Path) -> None:
    """Weights, strides, running statistics, optimiser, batches and the log of metrics all go on."""
    whole, broken = tiny(store, schedule=schedule), tiny(store, schedule=schedule)
    train(whole, tmp_path / "whole")
    broken.trainer["max_epochs"] = 2  # stops at step 4 of 6
    train(broken, tmp_path / "broken")
    assert metrics(tmp_path / "broken")[-1]["step"] == 4
    with (tmp_path / "broken" / "metrics.jsonl").open("a") as file:  # as if killed after the next validation
        file.write(json.dumps({"step": 6, "seconds": 0}) + "\n")
    train(whole, tmp_path / "broken", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert_same(weights(tmp_path / "whole", "best"), weights(tmp_path / "broken", "best"))
    assert without_time(metrics(tmp_path / "whole")) == without_time(metrics(tmp_path / "broken"))
    seconds = [line["seconds"] for line in metrics(tmp_path / "broken")]
    assert seconds == sorted(seconds)


def test_a_constant_run_can_be_made_longer(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=10), tmp_path / "whole")
    train(tiny(store, steps=6), tmp_path / "longer")
    train(tiny(store, steps=10), tmp_path / "longer", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "longer"))


def test_a_run_is_not_trained_over(store: Store, tmp_path: Path) -> None:
    train(tiny(store), tmp_path / "run")
    before = weights(tmp_path / "run")
    with pytest.raises(
        UserError, match="already holds a run: resume it with --resume, or choose another --out"
    ):
        train(tiny(store, seed=1), tmp_path / "run")
    assert_same(weights(tmp_path / "run"), before)


def test_resuming_needs_a_checkpoint_and_the_same_recipe(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run at"):
        train(tiny(store), tmp_path / "run", resume=True)
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match=r"has no checkpoint \(checkpoints/last.ckpt is missing\)"):
        train(tiny(store), tmp_path / "run", resume=True)
    train(tiny(store), tmp_path / "run")
    with pytest.raises(
        UserError, match=r"was started with training\.batch_size 6, not 7: resume it with the same"
    ):
        train(tiny(store, batch_size=7), tmp_path / "run", resume=True)


def test_divergence_is_told_and_keeps_the_checkpoints(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=4)
    train(recipe, tmp_path / "run")
    before = weights(tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    saved = torch.load(checkpoint, weights_only=True)
    for group in saved["optimizer_states"][0]["param_groups"]:
        group["lr"] = float("inf")
    torch.save(saved, checkpoint)
    with pytest.raises(UserError, match=r"diverged before step .*: lower training\.learning_rate"):
        train(tiny(store, steps=40), tmp_path / "run", resume=True)
    assert_same(weights(tmp_path / "run"), before)


@pytest.mark.parametrize(
    ("trainer", "sentence"),
    [
        ({"gpus": 1}, r"trainer\.gpus is not an argument of Lightning's Trainer"),
        ({"max_steps": 1}, r"trainer\.max_steps cannot be set: set training\.steps instead"),
        ({"precision": "8-bit"}, r"Lightning's Trainer refuses its settings: .*8-bit"),
        ({"accelerator": "abacus"}, r"Lightning's Trainer refuses its settings: .*abacus"),
        (
            {"log_every_n_steps": 0},
            r"trainer\.log_every_n_steps must be a whole number, at least 1, but is 0",
        ),
        ({"callbacks": []}, r"trainer\.callbacks cannot be set: a run sets it itself"),
    ],
)
def test_wrong_trainer_arguments_leave_no_run_behind(
    trainer: dict, sentence: str, store: Store, tmp_path: Path
) -> None:
    recipe = tiny(store)
    recipe.trainer = trainer
    with pytest.raises(UserError, match=sentence):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_progress_bar_can_be_switched_off(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny(store)
    recipe.trainer = {"enable_progress_bar": False}
    train(recipe, tmp_path / "run")
    assert len(capsys.readouterr().err.splitlines()) == 2  # what is trained, on what
    assert metrics(tmp_path / "run")[-1]["step"] == 6


def test_a_missing_corpus_leaves_no_run_behind(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store)
    recipe.data.corpus = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no prepared corpus"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_interruption_is_told_and_can_be_resumed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    train(tiny(store), tmp_path / "whole")
    with monkeypatch.context() as patch:
        step = ClassifierTraining.training_step

        def interrupted(self: ClassifierTraining, batch: Batch, batch_idx: int) -> torch.Tensor:
            if self.global_step == 3:
                raise KeyboardInterrupt
            return step(self, batch, batch_idx)

        patch.setattr(ClassifierTraining, "training_step", interrupted)
        with pytest.raises(UserError, match="interrupted at step 3: continue with --resume"):
            train(tiny(store), tmp_path / "run")
    signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
    train(tiny(store), tmp_path / "run", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


def test_a_run_interrupted_before_its_first_checkpoint_starts_afresh(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ClassifierTraining, "training_step", _interrupt)
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(
            UserError, match="interrupted at step 0: there is no checkpoint to resume from yet"
        ):
            train(tiny(store), tmp_path / "run")
        signal.signal(signal.SIGINT, handler)
    (tmp_path / "run" / "checkpoints" / "last.ckpt.new").write_text("cut off by a kill")
    train(tiny(store), tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def _interrupt(*args: Any) -> None:
    raise KeyboardInterrupt


def test_a_moved_run_keeps_its_best_checkpoint_when_resumed(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=20), tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    for run in ("here", "there"):
        train(tiny(store, steps=22, learning_rate=3e-3), tmp_path / run, resume=True)
    assert_same(weights(tmp_path / "here", "best"), weights(tmp_path / "there", "best"))
    best = torch.load(tmp_path / "there" / "checkpoints" / "best.ckpt", weights_only=True)
    lines = metrics(tmp_path / "there")
    assert best["global_step"] == max(lines, key=lambda line: line["metrics"]["valid/accuracy"])["step"]


def test_resuming_survives_a_line_of_metrics_that_was_cut(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=4), tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "sec')
    train(tiny(store, steps=6), tmp_path / "run", resume=True)
    assert [line["step"] for line in metrics(tmp_path / "run")] == [2, 4, 6]
    assert read_config(tmp_path / "run").training.steps == 6


def test_a_run_is_not_resumed_on_another_corpus(words: Path, tmp_path: Path) -> None:
    store = prepare(speech_commands.read(words), tmp_path / "corpus")
    train(tiny(store, steps=4), tmp_path / "run")
    shutil.rmtree(words / "stop")
    prepare(speech_commands.read(words), tmp_path / "corpus")
    with pytest.raises(UserError, match=r"the corpus .* has changed since .* was started"):
        train(tiny(store, steps=6), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError(), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_too_little_memory_is_told_in_a_sentence(
    error: Exception, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(*args: Any) -> None:
        raise error

    monkeypatch.setattr(ClassifierTraining, "training_step", starve)
    with pytest.raises(UserError, match=r"not enough memory for a batch: lower training\.batch_size"):
        train(tiny(store), tmp_path / "run")
