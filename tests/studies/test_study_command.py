"""The command `audiostride study`: options, early errors, and the commands that --print shows."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.tiny_run import assert_same, weights

from audiostride.cli import main
from audiostride.config import recipe as recipes
from audiostride.data.store import Store
from audiostride.training.fit import train


def test_options_override_the_settings_of_all_runs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--training.steps", "3", "--data.corpus+", "b", "--trainer.precision", "bf16-mixed"]
    assert main(["study", "s.yaml", "--print", "--out", "o", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    for line in lines:
        assert "--training.steps=3" in line
        assert """--trainer='{"precision": "bf16-mixed"}' """ in line
        assert ', "b"]' in line
    assert not Path("o").exists()  # printing leaves nothing behind


def test_recipe_option_replaces_the_recipe_of_the_study(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "methods", "--recipe", "tiny.yaml", "--print"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("--out=")[1] for line in lines[:2]] == [
        "runs/methods/strided-0",
        "runs/methods/strided-1",
    ]
    assert all(line.startswith("audiostride train tiny.yaml ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ((), 2, "study"),
        (
            ("nothing",),
            1,
            "there is no study nothing: give a YAML file or one of budget, cifar_cost",
        ),
        (("s.yaml", "--model.chanels", "3"), 2, "--model.chanels"),
        (
            ("s.yaml", "--training.steps", "many"),
            2,
            "training.steps must be a whole number, at least 1, but is many",
        ),
        (
            ("s.yaml", "--training.steps", "0"),
            1,
            "s.yaml: training.steps must be a whole number, at least 1",
        ),
        (
            ("s.yaml", "--training.seed", "3"),
            1,
            "s.yaml: grid: training.seed sets training.seed: leave --training.seed out, or change the grid",
        ),
        (("s.yaml", "--model", "{downsampling: max}"), 1, "leave --model.downsampling out"),
        (("s.yaml", "--recipe", "nowhere"), 1, "there is no recipe nowhere"),
        (("s.yaml", "--print", "--summary"), 2, "--print and --summary exclude each other: give one of them"),
        (("s.yaml", "--plot", "pictures"), 2, "--plot needs --summary: give both"),
        (("s.yaml", "--time"), 2, "--time needs --summary: give both"),
        (("s.yaml", "--data.corpus", "nowhere"), 1, "there is no prepared corpus in nowhere"),
        (("s.yaml", "--data.tasks", "song"), 1, "data.tasks names the task song: there are speech_commands"),
        (("s.yaml", "--trainer.gpus", "1"), 1, "trainer.gpus is not an argument of Lightning's Trainer"),
        (("s.yaml", "--trainer.precision", "8"), 1, "trainer.precision must be one of 32-true, 16-mixed"),
        (
            ("s.yaml", "--trainer.accelerator", "cpu", "--trainer.devices", "2"),
            1,
            "a study trains on one device, not on 2: add --trainer.devices 1 and start it once per device",
        ),
        (("s.yaml", "--summary"), 1, "s.yaml has nothing to show yet: train it"),
    ],
)
def test_mistake_is_reported_before_anything_is_trained(
    arguments: tuple[str, ...], status: int, sentence: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err.splitlines()[-1]
    assert not Path("runs").exists()


def test_mistakes_are_reported_without_heavy_imports(home: Path) -> None:
    Path("x.yaml").write_text("recipe: tiny.yaml\ngrid: {model.smoothness: [-1]}")
    code = (
        "import sys; from audiostride.cli import main\n"
        "for a in (['x.yaml'], ['s.yaml', '--training.seed', '3'], ['nothing']): main(['study', *a])\n"
        "heavy = {'torch', 'torchaudio', 'lightning', 'librosa', 'matplotlib'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr.splitlines()[-1]


def test_printed_command_trains_the_same_run_as_the_study(
    home: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Down to the bytes of its settings, through a shell, which finds a program that keeps its arguments."""
    Path("x.yaml").write_text(
        f"""
        recipe: tiny.yaml
        settings:
          model: {{channels: [4, 5], shared: true}}
          data: {{corpus: ["{store.folder}"], labels: {{speech_commands: [no, yes]}}}}
          data.sampling: {{speech_commands: 2}}
          training: {{stride_learning_rate: null, task_weights: {{speech_commands: 0.5}}}}
          augmentation: {{noise: "{store.folder}", noise_snr_db: [-5, 5.5]}}
          trainer: {{precision: 32-true, gradient_clip_val: 0.5, enable_progress_bar: false}}
        grid:
          initial: {{poor: {{model.strides: [[1.5, 1.5], [3, 3]]}}}}
          model.ramp: [inside]
        """
    )
    shell = Path("bin/audiostride")
    shell.parent.mkdir()
    shell.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\" > arguments\n")
    shell.chmod(0o755)
    assert main(["study", "x.yaml", "--print", "--out", "it's a $HOME"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    subprocess.run(["sh", "-c", line], check=True, env={"PATH": f"{shell.parent.resolve()}:{os.defpath}"})
    arguments = Path("arguments").read_text().splitlines()
    assert arguments[-1] == "--out=it's a $HOME/poor-inside"
    assert main(arguments) == 0
    assert main(["study", "x.yaml", "--out", "studied"]) == 0
    commanded, studied = Path("it's a $HOME/poor-inside"), Path("studied/poor-inside")
    assert (commanded / "config.yaml").read_bytes() == (studied / "config.yaml").read_bytes()
    assert_same(weights(commanded), weights(studied))


def test_print_shows_only_runs_that_are_not_done(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = recipes.read_config(runs / "diffstride-0")
    recipe.trainer = {"max_epochs": 1}
    for name in ("strided-1", "diffstride-0"):
        shutil.rmtree(runs / name)
    train(recipe, runs / "diffstride-0")
    (runs / "diffstride-1" / "checkpoints" / "last.ckpt").write_text("cut")
    capsys.readouterr()
    assert main(["study", "s.yaml", "--print"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "audiostride train tiny.yaml --model.downsampling=strided --training.seed=1 --auto_resume "
        "--out=runs/s/strided-1",
        "audiostride train tiny.yaml --auto_resume --out=runs/s/diffstride-0",
    ]
    assert err.startswith(
        "note: runs/s/diffstride-1/checkpoints/last.ckpt is not a checkpoint of audiostride"
    )
