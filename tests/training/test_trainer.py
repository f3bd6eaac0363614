"""Options of Lightning's Trainer, and errors that users see."""

from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import assert_same, metrics, tiny, weights, without_time
from lightning.pytorch import Trainer

from audiostride.config.trainer_arguments import ARGUMENTS, REFUSED
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"gpus": 1}, r"trainer\.gpus is not an argument of Lightning's Trainer"),
        ({"max_steps": 1}, r"trainer\.max_steps cannot be set: set training\.steps instead"),
        ({"precision": "8-bit"}, r"trainer\.precision must be one of 32-true, .*but is 8-bit"),
        ({"accelerator": "abacus"}, r"trainer\.accelerator must be one of .*but is abacus"),
        ({"accelerator": "tpu"}, r"trainer\.accelerator must be one of .*but is tpu"),
        ({"devices": "abacus"}, r"Lightning's Trainer refuses its settings: `devices` selected"),
        ({"overfit_batches": 1}, r"trainer\.overfit_batches cannot be set: train on a small corpus instead"),
        (
            {"limit_train_batches": 1},
            r"set training\.steps or training\.validate_every instead",
        ),
        ({"limit_test_batches": 1}, r"trainer\.limit_test_batches cannot be set: training does not test"),
        ({"enable_model_summary": True}, r"cannot be set: call audiostride summary instead"),
        ({"max_epochs": 0}, r"trainer\.max_epochs must be .*at least 1.* but is 0"),
        ({"max_time": "soon"}, r"Lightning's Trainer refuses its settings: .*soon"),
        ({"profiler": "os.system"}, r"trainer\.profiler must be one of simple, advanced, pytorch or null"),
        ({"strategy": object()}, r"trainer\.strategy must be one of auto, ddp"),
        ({"accumulate_grad_batches": True}, r"trainer\.accumulate_grad_batches must be a whole number"),
        ({"gradient_clip_val": "1"}, r"trainer\.gradient_clip_val must be a finite number, at least 0"),
        (
            {"log_every_n_steps": 0},
            r"trainer\.log_every_n_steps must be a whole number, at least 1, but is 0",
        ),
        ({"callbacks": []}, r"trainer\.callbacks cannot be set: a run sets it itself"),
    ],
)
def test_wrong_trainer_arguments_leave_no_run_behind(
    trainer: dict, message: str, store: Store, tmp_path: Path
) -> None:
    recipe = tiny(store)
    recipe.trainer = trainer
    with pytest.raises(UserError, match=message):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "trainer",
    [
        {"max_epochs": 9, "max_time": "01:00:00:00", "deterministic": True, "inference_mode": False},
        {"max_epochs": -1, "min_epochs": 1, "min_steps": 2, "detect_anomaly": True, "benchmark": True},
        {"limit_val_batches": 1, "sync_batchnorm": True, "enable_autolog_hparams": False, "num_nodes": 1},
        {"devices": "auto", "strategy": "auto", "gradient_clip_val": 1e9, "gradient_clip_algorithm": "norm"},
    ],
)
def test_arguments_that_change_no_numbers_change_none(
    trainer: dict, store: Store, tmp_path: Path, restore_determinism: None
) -> None:
    recipe = tiny(store)
    train(recipe, tmp_path / "plain")
    recipe.trainer = trainer
    assert train(recipe, tmp_path / "run") == 6
    assert_same(weights(tmp_path / "plain"), weights(tmp_path / "run"))
    assert without_time(metrics(tmp_path / "plain")) == without_time(metrics(tmp_path / "run"))


@pytest.fixture
def restore_determinism() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("profiler", ["simple", "advanced", "pytorch"])
def test_profile_is_written_to_the_run_folder(profiler: str, store: Store, tmp_path: Path) -> None:
    recipe = tiny(store)
    recipe.trainer = {"profiler": profiler}
    train(recipe, tmp_path / "run")
    assert "FIT Profiler Report" in (tmp_path / "run" / "fit-profile.txt").read_text()


@pytest.mark.parametrize("precision", ["64-true", "16-true", "bf16-mixed"])
def test_figures_are_drawn_in_every_precision(
    precision: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny(store)
    recipe.trainer = {"precision": precision, "accelerator": "cpu"}
    train(recipe, tmp_path / "run")
    assert "cannot draw" not in capsys.readouterr().err


def test_every_argument_of_the_trainer_is_checked_or_refused() -> None:
    assert {*ARGUMENTS, *REFUSED} == {*signature(Trainer).parameters}


def test_progress_bar_can_be_switched_off(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny(store)
    recipe.trainer = {"enable_progress_bar": False}
    train(recipe, tmp_path / "run")
    assert len(capsys.readouterr().err.splitlines()) == 2  # what is trained, on what
    assert metrics(tmp_path / "run")[-1]["step"] == 6


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError(), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_lack_of_memory_reports_a_clear_error(
    error: Exception, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starve(*args: Any) -> None:
        raise error

    monkeypatch.setattr(ClassifierTraining, "training_step", starve)
    with pytest.raises(UserError, match=r"not enough memory for a batch: lower training\.batch_size"):
        train(tiny(store), tmp_path / "run")
