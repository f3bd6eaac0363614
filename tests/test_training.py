"""Training runs on the tiny corpus of plain sounds: what is learned, kept, resumed and told."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.functional import cross_entropy

from audiostride import load
from audiostride.corpora import speech_commands
from audiostride.data.module import WindowsModule
from audiostride.data.store import Store, prepare
from audiostride.data.windows import Batch, EvaluationWindows, select
from audiostride.errors import UserError
from audiostride.layers import complexity
from audiostride.runs import read_config
from audiostride.settings import DataSettings, ModelSettings, Recipe, TrainingSettings
from audiostride.training.module import ClassifierTraining
from audiostride.training.run import evaluate, train

TASK = "speech_commands"


def tiny(store: Store, **training: Any) -> Recipe:
    settings = {
        "steps": 6,
        "validate_every": 2,
        "batch_size": 6,
        "learning_rate": 3e-3,
        "stride_learning_rate": 0.05,
    }
    return Recipe(
        ModelSettings((4, 6), ((2, 2), (2, 2))),
        DataSettings(str(store.folder)),
        TrainingSettings(**(settings | training)),
    )


def weights(run: Path, checkpoint: str = "last") -> dict[str, torch.Tensor]:
    return load(run, checkpoint).state_dict()


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def without_time(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.mark.parametrize("downsampling", ["strided", "max", "average", "blur", "spectral", "diffstride"])
def test_learns_to_tell_sounds_apart(downsampling: Any, store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=100, validate_every=50, learning_rate=1e-2, schedule="one_cycle")
    recipe.model = replace(recipe.model, channels=(16, 16), downsampling=downsampling)
    train(recipe, tmp_path / "run")
    (row,) = evaluate(tmp_path / "run", checkpoint="last")
    assert row["accuracy_percent"] == 100
    assert (row["recordings"], row["classes"], row["split"]) == (6, 3, "official test")


def test_same_seed_gives_the_same_numbers(store: Store, tmp_path: Path) -> None:
    for name in "ab":
        train(tiny(store), tmp_path / name)
    train(tiny(store, seed=1), tmp_path / "c")
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert without_time(metrics(tmp_path / "a")) == without_time(metrics(tmp_path / "b"))
    assert not torch.equal(
        weights(tmp_path / "a")["trunk.blocks.0.time.conv.weight"],
        weights(tmp_path / "c")["trunk.blocks.0.time.conv.weight"],
    )


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


def test_steps_need_not_divide_into_validations(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=5), tmp_path / "run")
    assert [line["step"] for line in metrics(tmp_path / "run")] == [2, 4, 5]


def test_strides_stay_in_range_whatever_the_learning_rate(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, stride_learning_rate=50.0)
    train(recipe, tmp_path / "run")
    for line in metrics(tmp_path / "run"):
        strides = torch.tensor(line["strides"])
        assert (strides >= 1).all()
        assert (strides < torch.tensor([100.0, 64.0])).all()
        assert ((strides == 1) | (strides > 20)).all()  # each has been thrown to one end of its range


def test_strides_have_a_learning_rate_of_their_own(store: Store, tmp_path: Path) -> None:
    train(tiny(store, stride_learning_rate=0.0), tmp_path / "still")
    assert metrics(tmp_path / "still")[-1]["strides"] == [[2.0, 2.0], [2.0, 2.0]]
    train(tiny(store, steps=1, learning_rate=0.0, stride_learning_rate=0.25), tmp_path / "moved")
    moved = torch.tensor(metrics(tmp_path / "moved")[-1]["strides"]) - 2
    torch.testing.assert_close(moved.abs(), torch.full((2, 2), 0.25))  # Adam's first step is its rate
    train(tiny(store, steps=1, learning_rate=0.125, stride_learning_rate=None), tmp_path / "same")
    moved = torch.tensor(metrics(tmp_path / "same")[-1]["strides"]) - 2
    torch.testing.assert_close(moved.abs(), torch.full((2, 2), 0.125))


def test_complexity_makes_strides_grow(store: Store, tmp_path: Path) -> None:
    def cost(weight: float, run: Path) -> float:
        train(tiny(store, steps=20, complexity=weight), run)
        return complexity(torch.tensor(metrics(run)[-1]["strides"])).item()

    assert cost(10.0, tmp_path / "cheap") < cost(0.0, tmp_path / "free")


def test_loss_leaves_out_windows_without_a_label_and_adds_the_cost(store: Store, tmp_path: Path) -> None:
    from audiostride import Classifier

    classifier = Classifier({"word": ["a", "b"], "other": ["c", "d"]}, ModelSettings((4,), ((2, 2),)))
    module = ClassifierTraining(classifier, TrainingSettings(complexity=0.5))
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    x = torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))
    labels = {"word": torch.tensor([1, -1, 0]), "other": torch.tensor([-1, -1, -1])}
    loss = module.training_step({"waveform": x, "labels": labels, "recording": torch.arange(3)}, 0)
    logits = classifier(x)["word"][[0, 2]]
    expected = cross_entropy(logits, torch.tensor([1, 0])) + 0.5 / 4
    torch.testing.assert_close(loss, expected)


def test_test_averages_logits_over_the_windows_of_a_recording(store: Store, tmp_path: Path) -> None:
    """Against a plain loop; half-second windows, so that most recordings have two."""
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
        own = [windows[k]["waveform"] for k in range(len(windows)) if windows.chosen[k] == recording]
        with torch.no_grad():
            logits = torch.cat([model(waveform)[TASK] for waveform in own]).mean(0)
        loss += cross_entropy(logits, torch.tensor(label)).item()
        right += float(logits.argmax() == label)
    count = len(chosen.recordings)
    assert row["recordings"] == count
    assert row["loss"] == pytest.approx(loss / count, rel=1e-4)
    assert row["accuracy_percent"] == pytest.approx(100 * right / count, rel=1e-6)


def test_run_keeps_its_recipe_and_tells_tensorboard_every_layer_s_strides(
    store: Store, tmp_path: Path
) -> None:
    recipe = tiny(store)
    recipe.data.labels = ["yes", "no"]
    train(recipe, tmp_path / "run")
    names = {path.name.split(".tfevents")[0] for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "checkpoints", "metrics.jsonl", "events.out"}
    assert asdict(read_config(tmp_path / "run")) == asdict(recipe)
    assert load(tmp_path / "run").labels == {TASK: ["yes", "no"]}
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    for block in (1, 2):
        for axis, name in enumerate(("time", "frequency")):
            logged = events.Scalars(f"stride/block{block}/{name}")
            assert [event.step for event in logged] == [2, 4, 6]
            expected = [line["strides"][block - 1][axis] for line in metrics(tmp_path / "run")]
            assert [event.value for event in logged] == pytest.approx(expected)
    assert {"train/loss", "valid/accuracy", f"valid/loss/{TASK}"} <= set(events.Tags()["scalars"])


def test_best_checkpoint_has_the_best_validation(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=20), tmp_path / "run")
    best = max(line["metrics"]["valid/accuracy"] for line in metrics(tmp_path / "run"))
    (row,) = evaluate(tmp_path / "run", "valid", "best")
    assert row["accuracy_percent"] == pytest.approx(100 * best)


def test_a_run_is_not_trained_over(store: Store, tmp_path: Path) -> None:
    train(tiny(store), tmp_path / "run")
    before = weights(tmp_path / "run")
    with pytest.raises(UserError, match="holds a run already: go on with --resume, or choose another"):
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
        UserError, match=r"was begun with training\.batch_size 6, not 7: resume it with the same"
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
        ({"gpus": 1}, r"trainer\.gpus is no argument of Lightning's Trainer"),
        ({"max_steps": 1}, r"trainer\.max_steps cannot be set: set training\.steps instead"),
        ({"precision": "8-bit"}, r"Lightning's Trainer refuses its settings: .*8-bit"),
        ({"accelerator": "abacus"}, r"Lightning's Trainer refuses its settings: .*abacus"),
        (
            {"log_every_n_steps": 0},
            r"trainer\.log_every_n_steps must be a whole number, at least 1, but is 0",
        ),
        ({"callbacks": []}, r"trainer\.callbacks cannot be set, which a run sets itself"),
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
    assert len(capsys.readouterr().err.splitlines()) == 1
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
        with pytest.raises(UserError, match="interrupted at step 3: go on with --resume"):
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
        with pytest.raises(UserError, match="interrupted at step 0: nothing to resume yet"):
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
    with pytest.raises(UserError, match=r"the corpus .* has changed since .* was begun"):
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


def test_every_process_gets_batches_of_its_own(store: Store) -> None:
    def numbers(rank: int, world: int, step: int) -> list[int]:
        data = WindowsModule(DataSettings(str(store.folder)), TrainingSettings(steps=6, validate_every=4))
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            accumulate_grad_batches=1, world_size=world, global_step=step, global_rank=rank
        )
        return list(data.train_dataloader().sampler)

    assert numbers(0, 1, 0) == [0, 1, 2, 3]
    assert numbers(0, 1, 4) == [4, 5]
    assert (numbers(0, 2, 0), numbers(1, 2, 0)) == ([0, 2, 4, 6], [1, 3, 5, 7])
    assert (numbers(0, 2, 4), numbers(1, 2, 4)) == ([8, 10], [9, 11])


def test_two_processes_train_one_model(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store)
    config = tmp_path / "recipe.yaml"
    config.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(recipe)))))
    command = [sys.executable, "-m", "audiostride", "train", str(config), "--out", str(tmp_path / "run")]
    options = ["--trainer.devices", "2", "--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"]
    result = subprocess.run([*command, *options], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("step 6: valid loss") == 1
    assert [line["step"] for line in metrics(tmp_path / "run")] == [2, 4, 6]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_trains_on_cuda_in_bf16(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=60, validate_every=30), tmp_path / "run")
    assert evaluate(tmp_path / "run")[0]["accuracy_percent"] == 100
