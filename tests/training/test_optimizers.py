"""Optimisers, weight decay and schedules of learning rates."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import assert_same, metrics, tiny, weights
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR

from audiostride import load
from audiostride.config.settings import TrainingSettings
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.layers import DiffStride1d, parameter_groups
from audiostride.training import trainer as trainers
from audiostride.training.fit import train
from audiostride.training.optimizers import make_optimizer, make_schedule


class Rates(Callback):
    """Notes the learning rates of all groups before each step."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.rates.append([group["lr"] for group in optimizer.param_groups])


def rates_of_training(recipe: Any, run: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[Any]:
    """Train, and return the learning rates of all groups in each step."""
    noted = Rates()
    with monkeypatch.context() as patch:
        patch.setattr(trainers, "MetricsLog", lambda run: noted)  # any callback of a run
        train(recipe, run, **options)
    return noted.rates


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(1, 3, 3), nn.BatchNorm1d(3), DiffStride1d(2.0), nn.Flatten(), nn.LazyLinear(2)
    )


def gradients(module: nn.Module, seed: int) -> None:
    """Give every parameter a random gradient."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def steps_of(settings: TrainingSettings, steps: int = 5) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the parameters of a network before and after some steps with random gradients."""
    module = network()
    module(torch.zeros(2, 1, 20))
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    optimizer = make_optimizer(parameter_groups(module, stride_lr=0.02), settings)
    for step in range(steps):
        gradients(module, step)
        optimizer.step()
    return before, {name: value.detach() for name, value in module.named_parameters()}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_that_of_a_plain_loop(momentum: float) -> None:
    decay, rate = 0.1, 0.05
    settings = TrainingSettings(optimizer="sgd", momentum=momentum, weight_decay=decay, learning_rate=rate)
    before, after = steps_of(settings)
    module = network()
    module(torch.zeros(2, 1, 20))
    velocity: dict[str, Tensor] = {}
    values = {name: value.clone() for name, value in before.items()}
    for step in range(5):
        gradients(module, step)
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            decayed = name in ("0.weight", "4.weight")  # a convolution and a linear layer
            gradient = parameter.grad + (decay * values[name] if decayed else 0)
            velocity[name] = momentum * velocity.get(name, 0) + gradient
            values[name] = values[name] - (0.02 if name == "2.stride" else rate) * velocity[name]
    for name, value in after.items():
        torch.testing.assert_close(value, values[name])


def test_decay_of_adam_is_decoupled_and_spares_strides_biases_and_normalisations() -> None:
    plain, decayed = (
        steps_of(TrainingSettings(learning_rate=0.01, weight_decay=decay), steps=1) for decay in (0.0, 0.5)
    )
    for name, before in plain[0].items():
        shrunk = name in ("0.weight", "4.weight")
        expected = plain[1][name] - (0.01 * 0.5 * before if shrunk else 0)
        torch.testing.assert_close(decayed[1][name], expected)


def test_adam_without_decay_is_torchs() -> None:
    module = network()
    module(torch.zeros(2, 1, 20))
    theirs = torch.optim.Adam(module.parameters(), 0.01)
    for step in range(5):
        gradients(module, step)
        theirs.step()
    settings = TrainingSettings(learning_rate=0.01)
    ours = network()
    ours(torch.zeros(2, 1, 20))
    optimizer = make_optimizer(parameter_groups(ours), settings)
    for step in range(5):
        gradients(ours, step)
        optimizer.step()
    for a, b in zip(ours.parameters(), module.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("decay_at", "decay"), [((0.5, 0.75), 0.1), ((0.25,), 0.5), ((0.33, 0.67, 0.9), 0.2)]
)
def test_steps_lower_the_rates_as_torchs_milestones_do(decay_at: tuple[float, ...], decay: float) -> None:
    settings = TrainingSettings(
        optimizer="sgd", learning_rate=0.1, schedule="steps", decay_at=decay_at, decay=decay
    )
    made = []
    for own in (True, False):
        groups: list[dict[str, Any]] = [
            {"params": [nn.Parameter(torch.ones(1))]},
            {"params": [nn.Parameter(torch.ones(1))], "lr": 3.0},
        ]
        optimizer = make_optimizer(groups, settings)
        milestones = [round(20 * fraction) for fraction in decay_at]
        schedule = (
            make_schedule(optimizer, settings, 20) if own else MultiStepLR(optimizer, milestones, decay)
        )
        assert schedule is not None
        rates = []
        for _ in range(20):
            rates.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            schedule.step()
        made.append(rates)
    assert made[0] == made[1]
    assert made[0][0] == [0.1, 3.0]
    assert made[0][-1] == pytest.approx([0.1 * decay ** len(decay_at), 3 * decay ** len(decay_at)])


def test_one_cycle_leaves_the_momentum_of_sgd_alone() -> None:
    settings = TrainingSettings(optimizer="sgd", momentum=0.7, schedule="one_cycle", learning_rate=0.1)
    optimizer = make_optimizer([{"params": [nn.Parameter(torch.ones(1))]}], settings)
    schedule = make_schedule(optimizer, settings, 10)
    assert schedule is not None
    for _ in range(9):
        assert optimizer.param_groups[0]["momentum"] == 0.7
        optimizer.step()
        schedule.step()


SGD: dict[str, Any] = {
    "optimizer": "sgd", "learning_rate": 0.02, "weight_decay": 0.01, "schedule": "steps", "steps": 8,
}  # fmt: skip


def test_run_on_sound_takes_the_rates_of_its_schedule(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = rates_of_training(tiny(store, **SGD), tmp_path / "run", monkeypatch)
    expected = 4 * [1.0] + 2 * [0.1] + 2 * [0.01]
    # The weights with decay, those without, and the strides.
    assert rates == [pytest.approx([0.02 * factor, 0.02 * factor, 0.05 * factor]) for factor in expected]


def test_fine_tuning_takes_the_rates_of_its_schedule(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny(store, steps=2), tmp_path / "source")
    recipe = tiny(store, **SGD, init_from=str(tmp_path / "source"), trunk_learning_rate=0.005)
    rates = rates_of_training(recipe, tmp_path / "run", monkeypatch)
    # Heads and trunk, each with and without decay, and the strides.
    first = [0.02, 0.02, 0.005, 0.005, 0.05]
    assert rates[0] == pytest.approx(first)
    assert rates[-1] == pytest.approx([0.01 * rate for rate in first])


@pytest.mark.parametrize("settings", [SGD, {"weight_decay": 0.1, "schedule": "one_cycle", "steps": 8}])
def test_resumed_run_equals_an_uninterrupted_one(
    settings: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    whole, broken = tiny(store, **settings), tiny(store, **settings)
    train(whole, tmp_path / "whole")
    broken.trainer["max_epochs"] = 2
    train(broken, tmp_path / "broken")
    assert metrics(tmp_path / "broken")[-1]["step"] == 4
    train(whole, tmp_path / "broken", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_run_with_a_schedule_of_steps_is_not_extended(store: Store, tmp_path: Path) -> None:
    train(tiny(store, **SGD), tmp_path / "run")
    with pytest.raises(UserError, match=r"was started with training\.steps 8, not 10"):
        train(tiny(store, **(SGD | {"steps": 10})), tmp_path / "run", resume=True)


def test_weight_decay_moves_no_stride(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, **(SGD | {"weight_decay": 5.0, "stride_learning_rate": 0.0}))
    train(recipe, tmp_path / "run")
    assert load(tmp_path / "run", "last").trunk.strides.tolist() == [[2, 2], [2, 2]]


def test_sgd_learns_to_classify_sounds(store: Store, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "steps": 100,
        "validate_every": 50,
        "learning_rate": 0.01,
        "stride_learning_rate": 1e-3,
    }
    train(tiny(store, optimizer="sgd", schedule="steps", **settings), tmp_path / "run")
    assert metrics(tmp_path / "run")[-1]["metrics"]["train/loss"] < 0.6
