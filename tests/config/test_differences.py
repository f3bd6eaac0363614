"""Which settings make two recipes different, so that their runs are not averaged."""

from typing import Any

import pytest

from audiostride.config.differences import differences
from audiostride.config.messages import PlainValue
from audiostride.config.settings import DataSettings, Recipe, TrainingSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gradient_clip_val", 1.0),
        ("gradient_clip_algorithm", "value"),
        ("accumulate_grad_batches", 2),
        ("precision", "bf16-mixed"),
        ("limit_val_batches", 0.5),
        ("max_epochs", 3),
        ("devices", 2),
        ("deterministic", True),
    ],
)
def test_recipes_with_other_trainer_arguments_differ(name: str, value: Any) -> None:
    one, other = Recipe(), Recipe(trainer={name: value})
    assert differences([one, other]) == [{f"trainer.{name}": None}, {f"trainer.{name}": value}]


def test_recipes_with_another_seed_device_or_log_are_the_same() -> None:
    trainer: dict[str, PlainValue] = {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "log_every_n_steps": 9,
    }
    other = Recipe(training=TrainingSettings(seed=1), data=DataSettings(workers=2), trainer=trainer)
    assert differences([Recipe(), other]) == [{}, {}]
