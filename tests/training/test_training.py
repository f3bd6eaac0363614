"""Training on a tiny corpus: what is learned and written, seeds, processes, compilation."""

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import assert_same, metrics, tiny, weights, without_time
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils._python_dispatch import TorchDispatchMode

from audiostride import load
from audiostride.config import yaml
from audiostride.config.recipe import read_config
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.models.networks.separable import SeparableCNN
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train

TASK = "speech_commands"


class _CountReads(TorchDispatchMode):
    """Counts reads of numbers from tensors. On a GPU each read waits for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_random_gain_reaches_a_network_that_normalises_the_level(store: Store, tmp_path: Path) -> None:
    variances = []
    for gain_db in (0.0, 20.0):
        recipe = tiny(store, steps=20, validate_every=20)
        recipe.model.level, recipe.augmentation.gain_db = "rms", gain_db
        train(recipe, tmp_path / f"{gain_db:g}")
        variances.append(weights(tmp_path / f"{gain_db:g}")["normalise.running_var"].mean().item())
    assert variances[1] > variances[0] + 3  # 7 for natural logarithms of power, uniform over 40 dB


@pytest.mark.parametrize("downsampling", ["strided", "max", "average", "blur", "spectral", "diffstride"])
def test_run_learns_to_classify_sounds(downsampling: Any, store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=100, validate_every=50, learning_rate=1e-2, schedule="one_cycle")
    recipe.model = replace(recipe.model, channels=(16, 16), downsampling=downsampling)
    train(recipe, tmp_path / "run")
    (row,) = evaluate(tmp_path / "run", checkpoint="last")
    assert row["accuracy_percent"] >= 80  # of 6 recordings; the last one may depend on the CPU's rounding
    assert (row["recordings"], row["classes"], row["split"]) == (6, 3, "official test")


def test_same_seed_gives_the_same_weights_and_metrics(store: Store, tmp_path: Path) -> None:
    for name in "ab":
        train(tiny(store), tmp_path / name)
    train(tiny(store, seed=1), tmp_path / "c")
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert without_time(metrics(tmp_path / "a")) == without_time(metrics(tmp_path / "b"))
    assert not torch.equal(
        weights(tmp_path / "a")["trunk.blocks.0.time.conv.weight"],
        weights(tmp_path / "c")["trunk.blocks.0.time.conv.weight"],
    )


def test_last_step_is_validated_whatever_the_interval(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=5), tmp_path / "run")
    assert [line["step"] for line in metrics(tmp_path / "run")] == [2, 4, 5]


def test_run_folder_holds_the_recipe_and_a_log_of_all_strides(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store)
    recipe.data.labels = ["yes", "no"]
    train(recipe, tmp_path / "run")
    names = {path.name.split(".tfevents")[0] for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "checkpoints", "metrics.jsonl", "events.out", ".lock"}
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


def test_compiled_run_learns_the_same(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the captured graphs without the slow code generation."""
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


def test_compile_without_a_compiler_reports_a_clear_error(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"training.compile needs a C\+\+ compiler on a CPU: install one"):
        train(replace(tiny(store, compile=True), trainer={"accelerator": "cpu"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_step_without_logging_reads_only_lengths_from_the_device(store: Store, tmp_path: Path) -> None:
    """More steps cause no more reads. Reads of strides, which lengths need, are not counted."""
    counts = []
    for steps in (3, 9):
        recipe = tiny(store, steps=steps, validate_every=steps, schedule="one_cycle", complexity=0.1)
        recipe.trainer = {"limit_val_batches": 0, "enable_progress_bar": False, "log_every_n_steps": 100}
        with _CountReads() as reads:
            train(recipe, tmp_path / str(steps))
        counts.append(reads.count)
    assert counts[0] == counts[1] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_trains_on_cuda_in_bf16(store: Store, tmp_path: Path) -> None:
    train(tiny(store, steps=60, validate_every=30), tmp_path / "run")
    assert evaluate(tmp_path / "run")[0]["accuracy_percent"] == 100
