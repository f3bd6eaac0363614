"""What interrupts a run, and how a run is resumed."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import assert_same, metrics, tiny, weights, without_time
from helpers.two_tasks import recipe

from audiostride.config.recipe import read_config
from audiostride.config.settings import Recipe
from audiostride.corpora import speech_commands
from audiostride.data.selection import Batch
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining


def _interrupt(*args: Any) -> None:
    raise KeyboardInterrupt


def test_resumed_run_of_several_corpora_equals_an_uninterrupted_one(
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


def test_run_resumes_with_moved_corpora_and_other_workers(sounds: Store, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_resumed_run_equals_an_uninterrupted_one(schedule: Any, store: Store, tmp_path: Path) -> None:
    """Weights, strides, running statistics, optimiser, batches and logged metrics all continue."""
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


def test_run_with_a_constant_learning_rate_can_be_extended(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=10), tmp_path / "whole")
    train(tiny(store, steps=6), tmp_path / "longer")
    train(tiny(store, steps=10), tmp_path / "longer", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "longer"))


def test_run_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    train(tiny(store), tmp_path / "run")
    before = weights(tmp_path / "run")
    with pytest.raises(
        UserError, match="already holds a run: resume it with --resume, or choose another --out"
    ):
        train(tiny(store, seed=1), tmp_path / "run")
    assert_same(weights(tmp_path / "run"), before)


def test_resuming_needs_a_checkpoint_and_the_same_recipe(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no run at .* to resume from: leave --resume out"):
        train(tiny(store), tmp_path / "run", resume=True)
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="has no last checkpoint to resume from: leave --resume out"):
        train(tiny(store), tmp_path / "run", resume=True)
    train(tiny(store), tmp_path / "run")
    with pytest.raises(
        UserError, match=r"was started with training\.batch_size 6, not 7: resume it with the same"
    ):
        train(tiny(store, batch_size=7), tmp_path / "run", resume=True)


def test_divergence_reports_a_clear_error_and_keeps_the_checkpoints(store: Store, tmp_path: Path) -> None:
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


def test_missing_corpus_leaves_no_run_behind(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store)
    recipe.data.corpus = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no prepared corpus"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_interrupted_run_reports_a_clear_error_and_can_be_resumed(
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


def test_run_interrupted_before_its_first_checkpoint_can_start_again(
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


def test_moved_run_keeps_its_best_checkpoint_when_resumed(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=20), tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    for run in ("here", "there"):
        train(tiny(store, steps=22, learning_rate=3e-3), tmp_path / run, resume=True)
    assert_same(weights(tmp_path / "here", "best"), weights(tmp_path / "there", "best"))
    best = torch.load(tmp_path / "there" / "checkpoints" / "best.ckpt", weights_only=True)
    lines = metrics(tmp_path / "there")
    assert best["global_step"] == max(lines, key=lambda line: line["metrics"]["valid/accuracy"])["step"]


def test_run_resumes_with_a_truncated_line_of_metrics(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=4), tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "sec')
    train(tiny(store, steps=6), tmp_path / "run", resume=True)
    assert [line["step"] for line in metrics(tmp_path / "run")] == [2, 4, 6]
    assert read_config(tmp_path / "run").training.steps == 6


def test_run_resumes_without_the_metrics_of_its_checkpoint(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=4), tmp_path / "run")
    file = tmp_path / "run" / "metrics.jsonl"
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    train(tiny(store, steps=6), tmp_path / "run", resume=True)
    assert [line["step"] for line in metrics(tmp_path / "run")] == [2, 6]


def test_run_does_not_resume_on_another_corpus(words: Path, tmp_path: Path) -> None:
    store = prepare(speech_commands.read(words), tmp_path / "corpus")
    train(tiny(store, steps=4), tmp_path / "run")
    shutil.rmtree(words / "stop")
    prepare(speech_commands.read(words), tmp_path / "corpus")
    with pytest.raises(UserError, match=r"the corpus .* has changed since .* was started"):
        train(tiny(store, steps=6), tmp_path / "run", resume=True)
