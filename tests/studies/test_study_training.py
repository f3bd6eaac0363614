"""Training the runs of a study: what is done, resumed, failed, interrupted, or locked."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from helpers.studies import NAMES
from helpers.tiny_run import assert_same, weights

from audiostride.cli import main
from audiostride.config import recipe as recipes
from audiostride.config import yaml
from audiostride.studies import plan, study_file
from audiostride.studies.train_all import steps_done
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Interrupt every training at its second step, as Ctrl-C does."""
    handler, step = signal.getsignal(signal.SIGINT), ClassifierTraining.training_step

    def interrupt(self: ClassifierTraining, *args: Any) -> Any:
        if self.global_step == 1:
            raise KeyboardInterrupt
        return step(self, *args)

    monkeypatch.setattr(ClassifierTraining, "training_step", interrupt)
    yield
    signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored


def messages(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what a command printed about its runs, without the progress of their training."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(("[", "note", "audio"))]


def test_run_of_a_study_equals_the_run_of_train(runs: Path) -> None:
    recipe = recipes.build(recipes.read(Path("tiny.yaml")), Path("tiny.yaml"))
    recipe.training.seed = 1
    train(recipe, Path("alone"))
    assert_same(weights(Path("alone")), weights(runs / "diffstride-1"))
    assert Path("alone/config.yaml").read_bytes() == (runs / "diffstride-1" / "config.yaml").read_bytes()
    assert {path.name for path in runs.iterdir()} == set(NAMES)


def test_finished_runs_are_kept_and_missing_ones_trained(
    runs: Path, trained_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(runs / "strided-1")
    before = (runs / "strided-0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert main(["study", "s.yaml"]) == 0
    lines = messages(capsys)
    assert lines == [
        "[1/4] strided-0: done already",
        "[2/4] strided-1",
        "[3/4] diffstride-0: done already",
        "[4/4] diffstride-1: done already",
    ]
    assert (runs / "strided-0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    assert_same(weights(runs / "strided-1"), weights(trained_runs / "strided-1"))


def test_interruption_ends_the_study_and_the_same_command_resumes_it(
    home: Path, trained_runs: Path, interrupted: None, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    Path("s.yaml").write_text("recipe: tiny.yaml\ngrid: {model.downsampling: [strided, diffstride]}")
    assert main(["study", "s.yaml"]) == 1
    assert messages(capsys) == [
        "[1/2] strided",
        "audiostride study: interrupted in strided: repeat the command to resume",
    ]
    assert [path.name for path in Path("runs/s").iterdir()] == ["strided"]
    monkeypatch.undo()
    monkeypatch.chdir(home)
    assert main(["study", "s.yaml"]) == 0
    assert messages(capsys) == ["[1/2] strided: resumed at step 1", "[2/2] diffstride"]
    for name in ("strided", "diffstride"):
        assert_same(weights(Path("runs/s") / name), weights(trained_runs / f"{name}-0"))


def test_finished_run_of_another_recipe_fails_and_the_others_are_trained(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = runs / "strided-0" / "config.yaml"
    config.write_text(config.read_text().replace("batch_size: 6", "batch_size: 7"))
    shutil.rmtree(runs / "strided-1")
    assert main(["study", "s.yaml"]) == 1
    lines = messages(capsys)
    assert lines[0] == (
        "[1/4] strided-0: failed: runs/s/strided-0 was trained with training.batch_size 7, not 6: move it "
        "away, or choose another folder with --out"
    )
    assert lines[-1] == (
        "audiostride study: 1 of 4 runs failed (see above): repeat the command to retry them"
    )
    assert (runs / "strided-1" / "checkpoints" / "last.ckpt").is_file()


def test_setting_added_after_a_run_does_not_make_it_another_recipe(runs: Path) -> None:
    config = runs / "strided-0" / "config.yaml"
    settings = yaml.load(config.read_text())
    del settings["model"]["multiple"], settings["augmentation"]
    config.write_text(yaml.dump(settings))
    run = plan.expand(study_file.read(Path("s.yaml")), runs, recipes.build)[0]
    assert steps_done(run) == run.steps == 2


def test_diverging_or_damaged_run_does_not_stop_the_others(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.yaml").write_text("recipe: tiny.yaml\ngrid: {training.learning_rate: [1e30, 1e-3, 1e-4]}")
    damaged = Path("runs/s/0.0001/checkpoints")
    damaged.mkdir(parents=True)
    (damaged / "last.ckpt").write_text("cut")
    assert main(["study", "s.yaml"]) == 1
    lines = messages(capsys)
    assert lines[1].startswith("[1/3] 1e+30: failed: training diverged before step")
    assert lines[2] == "[2/3] 0.001"
    assert lines[3].startswith("[3/3] 0.0001: failed: ")
    assert lines[3].endswith("last.ckpt is not a checkpoint of audiostride, or a damaged one")
    assert lines[4].startswith("audiostride study: 2 of 3 runs failed")
    assert Path("runs/s/0.001/checkpoints/last.ckpt").is_file()


def test_run_locked_by_another_process_is_skipped(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(runs / "strided-0")
    (runs / "strided-0").mkdir()
    with FileLock(runs / "strided-0" / ".lock"):
        assert main(["study", "s.yaml"]) == 0
        assert messages(capsys)[:2] == [
            "[1/4] strided-0: skipped, another process trains it",
            "[2/4] strided-1: done already",
        ]
        assert [path.name for path in (runs / "strided-0").iterdir()] == [".lock"]
        assert main(["study", "s.yaml", "--print"]) == 0
        assert capsys.readouterr() == ("", "note: another process trains strided-0; left out\n")
    assert main(["study", "s.yaml"]) == 0  # a lock file that a killed process left behind is ignored
    assert (runs / "strided-0" / "checkpoints" / "last.ckpt").is_file()


def test_runs_under_a_budget_are_recognised_as_those_of_the_study(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their config.yaml has other channels than the recipe, and the budget as a number."""
    Path("b.yaml").write_text(
        "recipe: tiny.yaml\nsettings: {training.budget: 0.5}\n"
        "grid: {model.downsampling: [strided, diffstride], training.seed: [0]}"
    )
    assert main(["study", "b.yaml"]) == 0
    capsys.readouterr()
    assert main(["study", "b.yaml", "--print"]) == 0
    assert capsys.readouterr().out == ""
