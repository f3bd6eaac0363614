"""Jobs of a cluster: locks, launchers, SLURM, signals."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.command_line import fails
from helpers.tiny_run import assert_same, metrics, tiny, weights

from audiostride.cli import main
from audiostride.config import yaml
from audiostride.config.settings import Recipe
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining

SLURM = {
    "SLURM_JOB_ID": "123",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


def write_recipe(recipe: Recipe, folder: Path) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(yaml.dump(asdict(recipe)), encoding="utf-8")
    return file


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Wait until a process has saved a checkpoint at this step or a later one."""
    for _ in range(600):
        time.sleep(0.1)
        assert process.poll() is None
        if (run / "checkpoints" / "last.ckpt").exists() and metrics(run)[-1]["step"] >= step:
            return
    raise AssertionError(f"no step {step} within a minute")


@pytest.fixture
def long_training(store: Store, tmp_path: Path) -> Any:
    """A training in a process of its own, which would take hours."""
    recipe = write_recipe(tiny(store, steps=1_000_000, validate_every=20), tmp_path)
    process = start("audiostride", "train", str(recipe), "--out", str(tmp_path / "run"))
    wait_for_step(tmp_path / "run", 20, process)
    yield process
    process.kill()
    process.communicate()


def test_run_is_trained_by_one_process_at_a_time(
    long_training: subprocess.Popen[str], store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for resume in ("--resume", "--auto_resume"):
        command = ("train", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run"), resume)
        assert fails(capsys, 1, *command) == (
            f"audiostride train: another process trains {tmp_path / 'run'}: wait until it has finished, or "
            "choose another --out"
        )
    long_training.kill()
    long_training.wait()
    steps = metrics(tmp_path / "run")[-1]["step"] + 4
    train(tiny(store, steps=steps, validate_every=20), tmp_path / "run", resume=True)
    logged = [line["step"] for line in metrics(tmp_path / "run")]
    assert logged == [*range(20, steps, 20), steps]


def test_sigterm_does_not_wait_for_the_end_of_a_batch(store: Store, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time\n"
        "from audiostride.cli import main\n"
        "from audiostride.training.lightning_module import ClassifierTraining\n"
        "def stuck(self, *args):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(3600)\n"
        "ClassifierTraining.training_step = stuck\n"
        "sys.exit(main(['train', sys.argv[1], '--out', sys.argv[2]]))\n"
    )
    recipe = write_recipe(tiny(store), tmp_path)
    result = subprocess.run(
        [sys.executable, "-c", script, recipe, tmp_path / "run"], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1
    assert result.stderr.endswith(
        "audiostride train: interrupted at step 0: there is no checkpoint to resume from yet\n"
    )
    assert "Traceback" not in result.stderr


def test_processes_of_torchrun_without_devices_report_a_clear_error(store: Store, tmp_path: Path) -> None:
    recipe = write_recipe(tiny(store), tmp_path)
    command = ["torch.distributed.run", "--nproc-per-node", "2", "-m", "audiostride", "train", str(recipe)]
    process = start(*command, "--trainer.accelerator", "cpu", "--out", str(tmp_path / "run"))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "torchrun started 2 processes, but this training uses one: give --trainer.devices" in errors
    assert not (tmp_path / "run").exists()


def test_processes_of_torchrun_train_one_model(store: Store, tmp_path: Path) -> None:
    recipe = write_recipe(tiny(store), tmp_path)
    command = ["torch.distributed.run", "--nproc-per-node", "2", "-m", "audiostride", "train", str(recipe)]
    options = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--out", str(tmp_path / "run")]
    process = start(*command, *options)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert [line["step"] for line in metrics(tmp_path / "run")] == [2, 4, 6]


def test_several_tasks_of_srun_without_devices_report_a_clear_error(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_NUM_TASKS": "2"}
    for name, value in (SLURM | tasks).items():
        monkeypatch.setenv(name, value)
    recipe = tiny(store)
    recipe.trainer = {"accelerator": "cpu"}
    with pytest.raises(UserError, match="srun started 2 processes, but this training uses one"):
        train(recipe, tmp_path / "run")


def test_run_under_slurm_ignores_checkpoints_of_lightning(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny(store, seed=1), tmp_path / "alone")
    train(tiny(store, seed=0), tmp_path / "other")
    (tmp_path / "run").mkdir()
    (tmp_path / "other" / "checkpoints" / "last.ckpt").rename(tmp_path / "run" / "hpc_ckpt_1.ckpt")
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    train(tiny(store, seed=1), tmp_path / "run")
    assert_same(weights(tmp_path / "alone"), weights(tmp_path / "run"))


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.usefixtures("default_sigint")
def test_signal_under_slurm_writes_no_checkpoint_of_lightning(
    number: signal.Signals, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    step = ClassifierTraining.training_step

    def signalled(self: ClassifierTraining, *args: Any) -> torch.Tensor:
        if self.global_step == 3:
            os.kill(os.getpid(), number)
        return step(self, *args)

    monkeypatch.setattr(ClassifierTraining, "training_step", signalled)
    ignored = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        if number == signal.SIGTERM:
            with pytest.raises(UserError, match="interrupted at step 3: continue with --resume"):
                train(tiny(store), tmp_path / "run")
        else:
            train(tiny(store), tmp_path / "run")
    finally:
        signal.signal(signal.SIGUSR1, ignored)
    assert not list((tmp_path).rglob("hpc_ckpt*"))
    monkeypatch.undo()
    train(tiny(store), tmp_path / "run", resume="auto")
    train(tiny(store), tmp_path / "whole")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


def test_auto_resume_begins_a_run_and_resumes_it(store: Store, tmp_path: Path) -> None:
    recipe = write_recipe(tiny(store), tmp_path)
    train(tiny(store), tmp_path / "whole")
    command = ["train", str(recipe), "--auto_resume", "--out", str(tmp_path / "run")]
    assert main([*command, "--trainer.max_epochs", "1"]) == 0
    assert metrics(tmp_path / "run")[-1]["step"] == 2
    for _ in range(2):  # resumed, and finished already
        assert main(command) == 0
        assert_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


def test_auto_resume_and_resume_exclude_each_other(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tiny(store), tmp_path)
    message = fails(capsys, 2, "train", str(recipe), "--resume", "--auto_resume")
    assert "--resume and --auto_resume exclude each other: give one of them" in message


@pytest.mark.parametrize("resume", [False, "auto"])
def test_run_without_its_last_checkpoint_is_not_overwritten(
    resume: Any, store: Store, tmp_path: Path
) -> None:
    train(tiny(store), tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(UserError, match=r"already holds a run, but not its last checkpoint \(last\.ckpt\)"):
        train(tiny(store, seed=1), tmp_path / "run", resume=resume)
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()
    assert len(metrics(tmp_path / "run")) == 3
