"""Options of Lightning's Trainer, and errors that users see."""

from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import metrics, tiny
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
