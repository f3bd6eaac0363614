"""Training on the tiny corpus of plain sounds: what is learned, measured and logged."""

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.tiny_run import assert_same, metrics, tiny, weights, without_time
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from audiostride import load
from audiostride.config import yaml
from audiostride.config.recipe import read_config
from audiostride.config.settings import DataSettings, ModelSettings, TrainingSettings
from audiostride.data.datamodule import WindowsModule
from audiostride.data.selection import select
from audiostride.data.store import Store
from audiostride.data.windows import EvaluationWindows
from audiostride.errors import UserError
from audiostride.layers import complexity
from audiostride.models.classifier import read_checkpoint
from audiostride.models.separable_cnn import SeparableCNN
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining

TASK = "speech_commands"


@pytest.mark.parametrize("downsampling", ["strided", "max", "average", "blur", "spectral", "diffstride"])
def test_learns_to_tell_sounds_apart(downsampling: Any, store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=100, validate_every=50, learning_rate=1e-2, schedule="one_cycle")
    recipe.model = replace(recipe.model, channels=(16, 16), downsampling=downsampling)
    train(recipe, tmp_path / "run")
    (row,) = evaluate(tmp_path / "run", checkpoint="last")
    assert row["accuracy_percent"] >= 80  # of six recordings; the last may depend on how a CPU adds
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
    recipe = tiny(store, freeze_strides_after=4)
    config = tmp_path / "recipe.yaml"
    config.write_text(yaml.dump(asdict(recipe)))
    command = [sys.executable, "-m", "audiostride", "train", str(config), "--out", str(tmp_path / "run")]
    options = ["--trainer.devices", "2", "--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"]
    result = subprocess.run([*command, *options], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("step 6: valid loss") == 1
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert lines[0]["strides"] != lines[1]["strides"] == lines[2]["strides"]  # frozen, in both processes


@pytest.mark.parametrize("after", [0, 3])
def test_strides_freeze_after_a_step_and_weights_do_not(after: int, store: Store, tmp_path: Path) -> None:
    for steps in (3, 6):
        train(tiny(store, steps=steps, complexity=1.0, freeze_strides_after=after), tmp_path / str(steps))
    then, now = weights(tmp_path / "3"), weights(tmp_path / "6")
    strides = [name for name in now if name.endswith("pool.stride")]
    assert len(strides) == 4
    for name in strides:
        assert torch.equal(then[name], now[name])
        assert (now[name] == 2).all() == (after == 0)
    assert not torch.equal(then["trunk.blocks.0.time.conv.weight"], now["trunk.blocks.0.time.conv.weight"])


def test_a_run_with_frozen_strides_is_resumed_with_frozen_strides(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, freeze_strides_after=2)
    train(recipe, tmp_path / "whole")
    train(replace(recipe, training=replace(recipe.training, steps=4)), tmp_path / "cut")
    train(recipe, tmp_path / "cut", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_compiled_run_learns_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the compiler itself, which takes long: its graphs, run as they are."""
    compiled = []

    def without_inductor(network: torch.nn.Module, dynamic: bool) -> None:
        compiled.append(network)
        network._compiled_call_impl = torch.compile(network._call_impl, backend="eager")

    monkeypatch.setattr(SeparableCNN, "compile", without_inductor)
    train(tiny(store), tmp_path / "eager")
    train(tiny(store, compile=True), tmp_path / "compiled")
    assert len(compiled) == 1
    for name, value in weights(tmp_path / "eager").items():
        torch.testing.assert_close(weights(tmp_path / "compiled")[name], value, atol=1e-4, rtol=1e-3)


def test_compiling_without_a_compiler_is_told_in_a_sentence(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"training.compile needs a C\+\+ compiler on a CPU: install one"):
        train(replace(tiny(store, compile=True), trainer={"accelerator": "cpu"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ramps_narrow_over_the_first_half_of_the_steps(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=8, smoothness_from=4.0, learning_rate=0.0, stride_learning_rate=0.0)
    recipe.model = replace(recipe.model, smoothness=1.0)
    train(replace(recipe, trainer={"max_epochs": 1}), tmp_path / "begun")
    early = load(tmp_path / "begun", "last").trunk
    assert early.window.smoothness == 3.25  # in the second of four steps
    assert early.sizes(100, 64)[1] == (56, 38)
    train(recipe, tmp_path / "run")
    for checkpoint in ("best", "last"):
        trunk = load(tmp_path / "run", checkpoint).trunk
        assert trunk.window.smoothness == 1.0
        assert trunk.sizes(100, 64)[1] == (52, 34)
    assert read_checkpoint(tmp_path / "run/checkpoints/best.ckpt")["global_step"] > 4
    train(recipe, tmp_path / "begun", resume=True)
    assert_same(weights(tmp_path / "run"), weights(tmp_path / "begun"))
    longer = replace(recipe, training=replace(recipe.training, steps=20))
    with pytest.raises(
        UserError, match=r"started with training\.steps 8, not 20"
    ):  # the ramp would widen again
        train(longer, tmp_path / "run", resume=True)


def test_ramps_stay_where_there_is_nothing_to_narrow(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, smoothness_from=2.0)
    train(recipe, tmp_path / "narrow")
    assert load(tmp_path / "narrow", "last").trunk.window.smoothness == 4.0
    recipe.model = replace(recipe.model, downsampling="spectral")
    train(recipe, tmp_path / "spectral")
    assert load(tmp_path / "spectral", "last").trunk.window.smoothness == 0.0


class _Reads(TorchDispatchMode):
    """Counts numbers taken from tensors, each of which would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_step_without_a_log_reads_nothing_from_the_device_but_lengths(store: Store, tmp_path: Path) -> None:
    """More steps, no more reads; those of the strides, which lengths need, are not counted here."""
    counts = []
    for steps in (3, 9):
        recipe = tiny(store, steps=steps, validate_every=steps, schedule="one_cycle", complexity=0.1)
        recipe.trainer = {"limit_val_batches": 0, "enable_progress_bar": False, "log_every_n_steps": 100}
        with _Reads() as reads:
            train(recipe, tmp_path / str(steps))
        counts.append(reads.count)
    assert counts[0] == counts[1] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_trains_on_cuda_in_bf16(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=60, validate_every=30), tmp_path / "run")
    assert evaluate(tmp_path / "run")[0]["accuracy_percent"] == 100
