"""Grids of runs: which there are, training what is missing, commands that do the same, tables of results."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from helpers.tiny_run import assert_same, weights

from audiostride import load
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.summary import summary
from audiostride.cli import main
from audiostride.config import recipe as recipes
from audiostride.config import yaml
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.studies import plan
from audiostride.studies.figure import accuracy_against_cost, draw
from audiostride.studies.results import Rows, show, tables
from audiostride.studies.train_all import steps_done
from audiostride.tables import Spread
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining

STUDIES = sorted((Path(__file__).parents[2] / "recipes" / "studies").glob("*.yaml"))

RECIPE: dict[str, Any] = {
    "model": {"channels": [4, 6], "strides": [[2, 2], [2, 2]]},
    "training": {
        "steps": 2,
        "validate_every": 1,
        "batch_size": 6,
        "learning_rate": 3e-3,
        "stride_learning_rate": 0.05,
    },
}
STUDY = """
recipe: tiny.yaml
grid:
  model.downsampling: [strided, diffstride]
  training.seed: [0, 1]
"""
NAMES = ["strided-0", "strided-1", "diffstride-0", "diffstride-1"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these gain nothing from threads, which wait for one another on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def home(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and a study, which is the current one."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    (home / "tiny.yaml").write_text(yaml.dump(RECIPE | {"data": {"corpus": str(store.folder)}}))
    (home / "s.yaml").write_text(STUDY)
    return home


@pytest.fixture(scope="module")
def once(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs of the study, to be copied."""
    folder = tmp_path_factory.mktemp("once")
    (folder / "tiny.yaml").write_text(yaml.dump(RECIPE | {"data": {"corpus": str(store.folder)}}))
    (folder / "s.yaml").write_text(STUDY)
    assert main(["study", str(folder / "s.yaml"), "--out", str(folder / "runs")]) == 0
    return folder / "runs"


@pytest.fixture
def runs(once: Path, home: Path) -> Path:
    return shutil.copytree(once, home / "runs" / "s")


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Someone presses Ctrl-C at the second step of whatever is trained."""
    handler, step = signal.getsignal(signal.SIGINT), ClassifierTraining.training_step

    def interrupt(self: ClassifierTraining, *args: Any) -> Any:
        if self.global_step == 1:
            raise KeyboardInterrupt
        return step(self, *args)

    monkeypatch.setattr(ClassifierTraining, "training_step", interrupt)
    yield
    signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored


def expand(study: str) -> list[plan.Run]:
    """The runs of a study without a command line."""
    Path("x.yaml").write_text(study)
    return plan.expand(plan.read(Path("x.yaml")), Path("runs"), recipes.build)


def made(runs: Path) -> dict[str, Rows]:
    """The tables of the study, without a command line."""
    study = plan.read(Path("s.yaml"))
    return tables(study, plan.expand(study, runs, recipes.build))


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a command has said of the runs, without the progress of their training."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(("[", "note", "audio"))]


def test_every_combination_is_a_run_named_by_its_values(home: Path) -> None:
    runs = expand(
        """
        recipe: tiny.yaml
        grid:
          initial: {usual: {}, poor: {model: {strides: [[3, 3], [2, 2]]}}}
          model.smoothness: [4.0, 0.5]
          training.stride_learning_rate: [null, 1e-2]
        """
    )
    assert [run.name for run in runs] == [
        "usual-4-null",
        "usual-4-0.01",
        "usual-0.5-null",
        "usual-0.5-0.01",
        "poor-4-null",
        "poor-4-0.01",
        "poor-0.5-null",
        "poor-0.5-0.01",
    ]
    assert runs[-1].folder == Path("runs/poor-0.5-0.01")
    assert runs[-1].values == {
        "initial": "poor",
        "model.smoothness": "0.5",
        "training.stride_learning_rate": "0.01",
    }
    assert runs[-1].recipe.model.strides == ((3, 3), (2, 2))
    assert runs[-1].recipe.training.stride_learning_rate == 0.01
    assert runs[0].recipe.training.stride_learning_rate is None


def test_the_grid_lies_over_the_settings_and_those_over_the_recipe(home: Path) -> None:
    runs = expand(
        """
        recipe: tiny.yaml
        settings: {training: {steps: 8, batch_size: 7}, model.smoothness: 2}
        grid: {length: {short: {}, long: {training.steps: 9}}}
        """
    )
    assert [run.recipe.training.steps for run in runs] == [8, 9]
    assert {(run.recipe.training.batch_size, run.recipe.model.smoothness) for run in runs} == {(7, 2)}
    assert {run.recipe.training.learning_rate for run in runs} == {3e-3}


def test_a_value_takes_the_place_of_a_mapping(home: Path) -> None:
    (run,) = expand(
        """
        recipe: tiny.yaml
        settings: {data: {labels: {speech_commands: [yes, no]}, sampling: {a: 2}}}
        grid: {data.sampling: [uniform]}
        """
    )
    assert run.recipe.data.sampling == "uniform"
    assert run.recipe.data.labels == {"speech_commands": ["yes", "no"]}


def test_options_lie_over_all_runs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--training.steps", "3", "--data.corpus+", "b", "--trainer.precision", "bf16-mixed"]
    assert main(["study", "s.yaml", "--print", "--out", "o", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    for line in lines:
        assert "--training.steps=3" in line
        assert """--trainer='{"precision": "bf16-mixed"}' """ in line
        assert ', "b"]' in line
    assert not Path("o").exists()  # printing leaves nothing behind


def test_another_recipe_takes_the_place_of_the_study_s(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "methods", "--recipe", "tiny.yaml", "--print"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("--out=")[1] for line in lines[:2]] == [
        "runs/methods/strided-0",
        "runs/methods/strided-1",
    ]
    assert all(line.startswith("audiostride train tiny.yaml ") for line in lines)


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_study_is_valid(file: Path) -> None:
    study = plan.read(recipes.find(file.stem, "study"))
    runs = plan.expand(study, Path("runs"), recipes.build)
    assert len(study.grid[plan.SEED]) > 1  # or there is no spread to tell
    for table in study.tables:
        assert any(table.takes(run) for run in runs)


def test_runs_of_the_study_of_cost_are_called_by_method_and_seed() -> None:
    study = plan.read(recipes.find("cost", "study"))
    runs = plan.expand(study, Path("runs"), recipes.build)
    methods = "strided spectral r4 r2 r1 relative inside4 inside1 j0.1 j1 j10".split()
    assert [run.name for run in runs] == [f"{method}-{seed}" for method in methods for seed in range(3)]


@pytest.mark.parametrize(
    ("study", "sentence"),
    [
        ("- a", "the study x.yaml must hold settings, as in 'grid: {training.seed: [0, 1]}'"),
        ("a: [1", "the study x.yaml cannot be read: while parsing"),
        (
            "grid: {a: {b: {}, b: {}}}",
            'the study x.yaml cannot be read: while constructing a mapping, found duplicate key "b"',
        ),
        ("recipe: tiny.yaml\ngird: {}", "x.yaml: gird is no setting, did you mean grid?"),
        ("grid: {training.seed: [0]}", "x.yaml must name the recipe that it is over, as in 'recipe: "),
        (
            "recipe: tiny.yaml",
            "x.yaml must have a grid of settings, as in 'grid: {training.seed: [0, 1, 2]}'",
        ),
        ("recipe: tiny.yaml\ngrid: {}", "x.yaml must have a grid of settings"),
        ("recipe: tiny.yaml\ngrid: [training.seed]", "x.yaml must have a grid of settings"),
        ("recipe: nowhere\ngrid: {training.seed: [0]}", "there is no recipe nowhere: give a YAML file or"),
        (
            "recipe: tiny.yaml\nsettings: {model: {chanels: [4]}}\ngrid: {training.seed: [0]}",
            "x.yaml: settings: model.chanels is no setting, did you mean model.channels?",
        ),
        (
            "recipe: tiny.yaml\nsettings: 3\ngrid: {training.seed: [0]}",
            "x.yaml: settings must hold settings, as in '{model.smoothness: 4}'",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.sed: [0]}",
            "x.yaml: grid: training.sed is no setting, did you mean training.seed?",
        ),
        (
            "recipe: tiny.yaml\ngrid: {a: {b: {model.depth: 2}}}",
            "x.yaml: grid: a: b: model.depth is no setting, there are channels",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: 0}",
            "x.yaml: grid: training.seed must be a list of values, or names with settings, as in 'training",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: []}",
            "x.yaml: grid: training.seed must be a list of values",
        ),
        (
            "recipe: tiny.yaml\ngrid: {method: [a, b]}",
            "x.yaml: grid: method has values but is no setting: give each a name and settings, as in 'metho",
        ),
        ("recipe: tiny.yaml\ngrid: {method: {a: 3}}", "x.yaml: grid: method: a must hold settings, as in"),
        ("recipe: tiny.yaml\ngrid: {training.seed: [0, 1, 0]}", "grid: training.seed has the value 0 twice"),
        (
            "recipe: tiny.yaml\ngrid: {model.channels: [[4, 6], [6, 8]]}",
            "x.yaml: grid: model.channels: [4, 6] cannot be part of a folder's name: give each value a name",
        ),
        (
            "recipe: tiny.yaml\ngrid: {data.corpus: [data/a]}",
            "data/a cannot be part of a folder's name: give each value a name and settings, as in "
            "'data.corpus: {NAME: {data.corpus: …}, …}'",
        ),
        ("recipe: tiny.yaml\ngrid: {a: {..: {}}}", "x.yaml: grid: a: .. cannot be part of a folder's name"),
        (
            "recipe: tiny.yaml\ngrid: {a: {b: {}, b-c: {}}, d: {c-e: {}, e: {}}}",
            "x.yaml: two runs of the grid would be called b-c-e: give their values other names",
        ),
        (
            "recipe: tiny.yaml\ngrid: {a: {b: {}, B: {model.smoothness: 2}}}",
            "x.yaml: two runs of the grid would be called B",
        ),
        (
            "recipe: tiny.yaml\ngrid: {a: {b: {training.seed: 3}}, training.seed: [0]}",
            "x.yaml: grid: both a and training.seed set training.seed: give it to one of them",
        ),
        (
            "recipe: tiny.yaml\ngrid: {a: {b: {}, c: {model.smoothness: -1}}}",
            "x.yaml: model.smoothness must be a finite number, at least 0, but is -1 (in its run c)",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.steps: [many]}",
            "x.yaml: training.steps must be a whole number, at least 1, but is many (in its run many)",
        ),
        (
            "recipe: tiny.yaml\n"
            "grid: {model.downsampling: [max], a: {b: {model.strides: [[1.5, 1], [1, 1]]}}}",
            "x.yaml: max downsampling takes whole strides, but got 1.5 (in its run max-b)",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: {}\n",
            "x.yaml: tables must be a list, as in '[{over: [training.seed], show: accuracy}]'",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{ovr: []}]",
            "x.yaml: tables: number 1: ovr is no setting, did you mean over?",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{over: training.seed}]",
            "x.yaml: tables: number 1: over must be a list of texts or null, but is training.seed",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{show: all}]",
            "x.yaml: tables: number 1: show must be one of accuracy, strides, but is all",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{}, {over: [seed], title: b}]",
            "x.yaml: tables: number 2: seed is no axis of the grid: there are training.seed",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{where: {training.seed: [0, 1]}}]",
            "x.yaml: tables: number 1: training.seed has no value 1: there are 0",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{}, {}]",
            "x.yaml: tables: number 2 is called Accuracy like one before it: give it another title",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{show: strides, frames: 0}]",
            "x.yaml: tables: number 1: frames must be at least 1, but is 0",
        ),
    ],
)
def test_bad_studies_are_told_in_a_sentence(study: str, sentence: str, home: Path) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)) as error:
        expand(study)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ((), 2, "study"),
        (("nothing",), 1, "there is no study nothing: give a YAML file or one of cost, learned_strides"),
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
        (("s.yaml", "--print", "--summary"), 2, "--print and --summary are two ways: give one of them"),
        (("s.yaml", "--plot", "pictures"), 2, "--plot goes with --summary: give both"),
        (("s.yaml", "--time"), 2, "--time goes with --summary: give both"),
        (("s.yaml", "--data.corpus", "nowhere"), 1, "there is no prepared corpus in nowhere"),
        (("s.yaml", "--data.tasks", "song"), 1, "data.tasks names the task song: there are speech_commands"),
        (("s.yaml", "--trainer.gpus", "1"), 1, "trainer.gpus is no argument of Lightning's Trainer"),
        (("s.yaml", "--trainer.precision", "8"), 1, "Lightning's Trainer refuses its settings"),
        (
            ("s.yaml", "--trainer.accelerator", "cpu", "--trainer.devices", "2"),
            1,
            "a study trains on one device, not on 2: add --trainer.devices 1 and start it once per device",
        ),
        (("s.yaml", "--summary"), 1, "s.yaml has nothing to show yet: train it"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(
    arguments: tuple[str, ...], status: int, sentence: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err.splitlines()[-1]
    assert not Path("runs").exists()


def test_mistakes_do_not_wait_for_heavy_imports(home: Path) -> None:
    Path("x.yaml").write_text("recipe: tiny.yaml\ngrid: {model.smoothness: [-1]}")
    code = (
        "import sys; from audiostride.cli import main\n"
        "for a in (['x.yaml'], ['s.yaml', '--training.seed', '3'], ['nothing']): main(['study', *a])\n"
        "heavy = {'torch', 'torchaudio', 'lightning', 'librosa', 'matplotlib'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr.splitlines()[-1]


def test_a_run_of_a_study_is_the_run_that_train_makes(runs: Path) -> None:
    recipe = recipes.build(recipes.read(Path("tiny.yaml")), Path("tiny.yaml"))
    recipe.training.seed = 1
    train(recipe, Path("alone"))
    assert_same(weights(Path("alone")), weights(runs / "diffstride-1"))
    assert Path("alone/config.yaml").read_bytes() == (runs / "diffstride-1" / "config.yaml").read_bytes()
    assert {path.name for path in runs.iterdir()} == set(NAMES)  # no lock is left


def test_what_is_done_is_left_alone_and_what_is_missing_trained(
    runs: Path, once: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(runs / "strided-1")
    before = (runs / "strided-0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert main(["study", "s.yaml"]) == 0
    lines = told(capsys)
    assert lines == [
        "[1/4] strided-0: done already",
        "[2/4] strided-1",
        "[3/4] diffstride-0: done already",
        "[4/4] diffstride-1: done already",
    ]
    assert (runs / "strided-0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    assert_same(weights(runs / "strided-1"), weights(once / "strided-1"))


def test_an_interruption_ends_the_study_and_the_same_command_goes_on(
    home: Path, once: Path, interrupted: None, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Path("s.yaml").write_text("recipe: tiny.yaml\ngrid: {model.downsampling: [strided, diffstride]}")
    assert main(["study", "s.yaml"]) == 1
    assert told(capsys) == [
        "[1/2] strided",
        "audiostride study: interrupted in strided: the same command goes on from there",
    ]
    assert [path.name for path in Path("runs/s").iterdir()] == ["strided"]
    monkeypatch.undo()
    monkeypatch.chdir(home)
    assert main(["study", "s.yaml"]) == 0
    assert told(capsys) == ["[1/2] strided: goes on from step 1", "[2/2] diffstride"]
    for name in ("strided", "diffstride"):
        assert_same(weights(Path("runs/s") / name), weights(once / f"{name}-0"))


def test_a_done_run_of_another_recipe_is_told_and_the_others_still_run(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = runs / "strided-0" / "config.yaml"
    config.write_text(config.read_text().replace("batch_size: 6", "batch_size: 7"))
    shutil.rmtree(runs / "strided-1")
    assert main(["study", "s.yaml"]) == 1
    lines = told(capsys)
    assert lines[0] == (
        "[1/4] strided-0: failed: runs/s/strided-0 was trained with training.batch_size 7, not 6: move it "
        "away, or choose another folder with --out"
    )
    assert lines[-1] == (
        "audiostride study: 1 of 4 runs failed, as told above: the same command tries them again"
    )
    assert (runs / "strided-1" / "checkpoints" / "last.ckpt").is_file()


def test_a_setting_that_is_newer_than_a_run_makes_no_difference(runs: Path) -> None:
    config = runs / "strided-0" / "config.yaml"
    settings = yaml.load(config.read_text())
    del settings["model"]["multiple"], settings["augmentation"]
    config.write_text(yaml.dump(settings))
    run = plan.expand(plan.read(Path("s.yaml")), runs, recipes.build)[0]
    assert steps_done(run) == run.steps == 2


def test_a_run_that_diverges_or_is_damaged_does_not_keep_the_others(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.yaml").write_text("recipe: tiny.yaml\ngrid: {training.learning_rate: [1e30, 1e-3, 1e-4]}")
    damaged = Path("runs/s/0.0001/checkpoints")
    damaged.mkdir(parents=True)
    (damaged / "last.ckpt").write_text("cut")
    assert main(["study", "s.yaml"]) == 1
    lines = told(capsys)
    assert lines[1].startswith("[1/3] 1e+30: failed: training diverged before step")
    assert lines[2] == "[2/3] 0.001"
    assert lines[3].startswith("[3/3] 0.0001: failed: ")
    assert lines[3].endswith("last.ckpt is not a checkpoint of audiostride, or a damaged one")
    assert lines[4].startswith("audiostride study: 2 of 3 runs failed")
    assert Path("runs/s/0.001/checkpoints/last.ckpt").is_file()


def test_a_run_that_another_process_is_on_is_left_to_it(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(runs / "strided-0")
    with FileLock(runs / ".strided-0.lock"):
        assert main(["study", "s.yaml"]) == 0
        assert told(capsys)[:2] == [
            "[1/4] strided-0: left to another process",
            "[2/4] strided-1: done already",
        ]
        assert not (runs / "strided-0").exists()
        assert main(["study", "s.yaml", "--print"]) == 0
        assert capsys.readouterr() == ("", "note: another process is on strided-0; left out\n")
    assert main(["study", "s.yaml"]) == 0  # the lock of a process that was killed holds nobody up
    assert (runs / "strided-0" / "checkpoints" / "last.ckpt").is_file()


def test_a_printed_command_makes_the_run_that_the_study_would(
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


def test_only_what_is_not_done_is_printed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
        "audiostride train tiny.yaml --model.downsampling=strided --training.seed=1 --out=runs/s/strided-1",
        "audiostride train tiny.yaml --out=runs/s/diffstride-0 --resume",
    ]
    assert err.startswith(
        "note: runs/s/diffstride-1/checkpoints/last.ckpt is not a checkpoint of audiostride"
    )


def keep(runs: Path, accuracies: dict[str, dict[str, float]]) -> None:
    """Results of tests that were not made."""
    for name, of_run in accuracies.items():
        rows = [{"task": task, "accuracy_percent": accuracy} for task, accuracy in of_run.items()]
        (runs / name / "test.json").write_text(json.dumps(rows))


def test_accuracy_is_the_mean_over_seeds_and_tasks_have_rows(runs: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 100, (4, 2))
    keep(runs, {name: {"a": float(a), "b": float(b)} for name, (a, b) in zip(NAMES, values, strict=True)})
    (rows,) = json.loads(show(made(runs), "json")).values()
    assert [(row["downsampling"], row["task"], row["runs"]) for row in rows] == [
        ("strided", "a", 2),
        ("strided", "b", 2),
        ("diffstride", "a", 2),
        ("diffstride", "b", 2),
    ]
    pairs = values.reshape(2, 2, 2).transpose(0, 2, 1).reshape(4, 2)  # method and task, seed
    assert [row["accuracy_percent"] for row in rows] == pytest.approx(pairs.mean(1))
    assert [row["accuracy_percent_deviation"] for row in rows] == pytest.approx(pairs.std(1, ddof=1))
    for row, name in zip(rows[::2], ("strided", "diffstride"), strict=True):
        macs = [summary(load(runs / f"{name}-{seed}").trunk)[-1]["mega_macs"] for seed in (0, 1)]
        assert row["mega_macs"] == pytest.approx(np.mean(macs))


def test_tables_average_over_the_axes_and_values_that_they_name(runs: Path) -> None:
    (Path("s.yaml")).write_text(
        STUDY
        + """
tables:
  - {title: seeds, over: [model.downsampling]}
  - {title: one, over: [], where: {training.seed: [1], model.downsampling: [strided]}}
  - {title: all, over: [training.seed, model.downsampling]}
  - {title: strides, show: strides, where: {model.downsampling: [diffstride]}, layers: [2], frames: 160}
"""
    )
    keep(runs, {name: {"a": float(accuracy)} for name, accuracy in zip(NAMES, (10, 20, 40, 90), strict=True)})
    got = json.loads(show(made(runs), "json"))
    assert list(got) == ["seeds", "one", "all", "strides"]
    assert [(row["seed"], row["accuracy_percent"]) for row in got["seeds"]] == [("0", 25), ("1", 55)]
    assert [(row["downsampling"], row["seed"], row["accuracy_percent"]) for row in got["one"]] == [
        ("strided", "1", 20)
    ]
    assert [(row["runs"], row["accuracy_percent"]) for row in got["all"]] == [(4, 40)]
    (time, frequency) = got["strides"]
    of_runs = [stride_table(load(runs / f"diffstride-{seed}"), 160)[2:] for seed in (0, 1)]
    for row, of_axis in zip((time, frequency), zip(*of_runs, strict=True), strict=True):
        assert (row["downsampling"], row["runs"], row["layer"]) == ("diffstride", 2, 2)
        for column in ("stride", "pass_band", "pass_band_on_grid"):
            assert row[column] == pytest.approx(np.mean([one[column] for one in of_axis]))
        assert row["stride_deviation"] == pytest.approx(np.std([one["stride"] for one in of_axis], ddof=1))


def test_runs_are_tested_once_and_again_when_they_have_changed(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.yaml").write_text(STUDY.replace(", diffstride", ""))
    assert main(["study", "s.yaml", "--summary", "--format", "json"]) == 0
    first = capsys.readouterr().out
    for name in NAMES[:2]:
        (row,) = evaluate(runs / name)
        (kept,) = json.loads((runs / name / "test.json").read_text())
        assert kept == row | {"run": f"runs/s/{name}"}
    keep(runs, {"strided-0": {"speech_commands": -100.0}})
    assert main(["study", "s.yaml", "--summary", "--format", "json"]) == 0
    assert capsys.readouterr().out != first
    os.utime(runs / "strided-0" / "test.json", (0, 0))  # older than its checkpoint
    (runs / "strided-1" / "test.json").write_text("cut")
    assert main(["study", "s.yaml", "--summary", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert out == first
    assert err.splitlines() == ["testing strided-0", "testing strided-1"]


def test_what_is_missing_unfinished_or_broken_is_noted_and_the_rest_shown(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(runs, {name: {"a": 50.0} for name in NAMES})
    shutil.rmtree(runs / "strided-0")
    recipe = recipes.read_config(runs / "strided-1")
    recipe.trainer = {"max_epochs": 1}
    shutil.rmtree(runs / "strided-1")
    train(recipe, runs / "strided-1")
    (runs / "diffstride-0" / "checkpoints" / "last.ckpt").write_text("cut")
    capsys.readouterr()
    assert main(["study", "s.yaml", "--summary", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["downsampling"], row["runs"], row["accuracy_percent"]) == ("diffstride", "1", "50.0")
    assert row["accuracy_percent_deviation"] == ""
    assert err.splitlines() == [
        "note: strided-1 is at step 1 of 2; left out",
        "note: runs/s/diffstride-0/checkpoints/last.ckpt is not a checkpoint of audiostride, or a damaged "
        "one; left out",
        "note: left out, as there is nothing of them yet: strided-0",
    ]


def test_a_run_that_cannot_be_tested_is_noted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(runs, {name: {"a": 50.0} for name in NAMES[1:]})
    (runs / "strided-0" / "checkpoints" / "best.ckpt").unlink()
    assert main(["study", "s.yaml", "--summary", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert [row["runs"] for row in json.loads(out)["Accuracy"]] == [1, 2]
    assert err.startswith(
        "note: the run runs/s/strided-0 has no checkpoint (checkpoints/best.ckpt is missing)"
    )


def test_titles_stand_above_the_tables(runs: Path) -> None:
    Path("s.yaml").write_text(STUDY + "tables: [{title: First}, {title: Second, over: [model.downsampling]}]")
    keep(runs, {name: {"a": 50.0} for name in NAMES})
    both = made(runs)
    assert show(both, "table").startswith("First\n\ndownsampling  ")
    assert "\n\nSecond\n\nseed  " in show(both, "table")
    assert "\n\n**Second**\n\n| seed   |" in show(both, "markdown")
    assert "\n\n% Second\n\\begin{tabular}" in show(both, "latex")
    assert [len(list(csv.reader(io.StringIO(table)))) for table in show(both, "csv").split("\n\n")] == [3, 3]


def test_an_axis_with_the_name_of_a_column_is_told(runs: Path) -> None:
    Path("s.yaml").write_text(
        "recipe: tiny.yaml\ngrid: {task: {strided: {model.downsampling: strided}}, training.seed: [0, 1]}"
    )
    keep(runs, {name: {"a": 50.0} for name in NAMES[:2]})
    with pytest.raises(UserError, match="the axis task has the name of a column of results: rename it"):
        made(runs)


def test_accuracy_is_drawn_against_cost(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(runs, {name: {"a": 10.0 * n, "b": 50.0} for n, name in enumerate(NAMES, 1)})
    assert main(["study", "s.yaml", "--summary", "--plot", "pictures"]) == 0
    assert sorted(path.name for path in Path("pictures").iterdir()) == [
        "accuracy_against_cost.png",
        "accuracy_against_cost.svg",
    ]
    picture = accuracy_against_cost(made(runs)["Accuracy"])
    assert "strided a 15 ± 7.1 % at" in picture.alt
    (panel,) = picture.figure.axes
    points = [tuple(container[0].get_ydata()) for container in panel.containers]
    assert points == [(15, 35), (50, 50)]  # per task: of strided convolution, of DiffStride
    assert [text.get_text() for text in panel.texts] == ["strided", "diffstride"] * 2


def test_a_study_without_accuracies_has_nothing_to_draw(runs: Path) -> None:
    Path("s.yaml").write_text(STUDY + "tables: [{show: strides}]")
    with pytest.raises(
        UserError, match=r"s\.yaml has no accuracies to draw: leave --plot out, or add 'show: "
    ):
        draw(plan.read(Path("s.yaml")), made(runs), Path("pictures"))


def test_networks_are_measured_on_demand_and_drawn_against_their_time(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(runs, {name: {"a": 10.0 * n} for n, name in enumerate(NAMES, 1)})
    before = (runs / NAMES[0] / "checkpoints" / "best.ckpt").read_bytes()
    assert main(["study", "s.yaml", "--summary", "--time", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)["Accuracy"]
    for row in rows:
        assert row["training_ms"] > row["inference_ms"] > 0
        assert row["training_ms_deviation"] is not None
    assert "measuring 4 networks" in err
    assert (runs / NAMES[0] / "checkpoints" / "best.ckpt").read_bytes() == before
    spreads = [
        {"method": "x", "task": "a"}
        | {name: Spread(row[name], 0.0) for name in ("accuracy_percent", "mega_macs", "training_ms")}
        for row in rows
    ]
    times = accuracy_against_cost(spreads).figure.axes[1]
    assert times.get_xlabel() == "milliseconds of a training step, 32 windows"
    (drawn,) = times.containers
    assert sorted(drawn[0].get_xdata()) == sorted(row["training_ms"] for row in rows)


def test_circumstances_of_a_finished_run_may_differ(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(runs, {name: {"a": 50.0} for name in NAMES})
    options = ("--trainer.devices", "1", "--data.workers", "1")
    assert main(["study", "s.yaml", "--summary", "--format", "json", *options]) == 0
    out, err = capsys.readouterr()
    assert [row["runs"] for row in json.loads(out)["Accuracy"]] == [2, 2]
    assert err == ""
