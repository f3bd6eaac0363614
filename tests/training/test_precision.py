"""Clipping of gradients, and training in each precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import metrics, tiny
from torch.optim.optimizer import register_optimizer_step_post_hook

from audiostride.data.store import Store
from audiostride.training.fit import train

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
ON_CPU = ("32-true", "bf16-mixed", "bf16-true", "64-true")
ON_CUDA = ("32-true", "bf16-mixed", "bf16-true", "16-mixed")
PLACES = [("cpu", precision) for precision in ON_CPU] + [
    pytest.param("cuda", precision, marks=needs_cuda) for precision in ON_CUDA
]
EVERYWHERE = pytest.mark.parametrize(("accelerator", "precision"), PLACES)
LIMIT = 1e-3  # below every gradient of the tiny run


@contextmanager
def gradients_of_each_step() -> Iterator[list[list[torch.Tensor]]]:
    """Collect the gradients that the optimiser used in each step."""
    steps = []

    def collect(optimizer: torch.optim.Optimizer, *args: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        steps.append([p.grad.detach().double().cpu() for p in parameters if p.grad is not None])

    hook = register_optimizer_step_post_hook(collect)
    try:
        yield steps
    finally:
        hook.remove()


@pytest.mark.parametrize(("algorithm", "batches"), [*product(("norm", "value"), (1, 2))])
@EVERYWHERE
def test_clipping_limits_the_gradients_of_each_step(
    accelerator: str, precision: str, algorithm: str, batches: int, store: Store, tmp_path: Path
) -> None:
    recipe = tiny(store, steps=2)
    recipe.trainer = {
        "accelerator": accelerator,
        "precision": precision,
        "gradient_clip_val": LIMIT,
        "gradient_clip_algorithm": algorithm,
        "accumulate_grad_batches": batches,
    }
    with gradients_of_each_step() as steps:
        train(recipe, tmp_path / "run")
    assert len(steps) == 2
    for gradients in steps:
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        largest = flat.norm() if algorithm == "norm" else flat.abs().max()
        assert largest.item() == pytest.approx(LIMIT, rel=0.01)


@EVERYWHERE
def test_weights_and_strides_learn_in_every_precision(
    accelerator: str, precision: str, store: Store, tmp_path: Path
) -> None:
    recipe = tiny(store, steps=10, validate_every=1, stride_learning_rate=1e-3)
    recipe.trainer = {"accelerator": accelerator, "precision": precision}
    train(recipe, tmp_path / "run")
    lines = metrics(tmp_path / "run")
    strides = torch.tensor([line["strides"] for line in lines])
    # Adam moves each stride by up to the learning rate, which is less than half a step of bfloat16 at 2.
    assert (strides.diff(dim=0).abs() > 1e-5).all()
    assert ((strides[0] - 2).abs() < 2e-3).all()
    assert all(0 < line["metrics"]["train/loss"] < 10 for line in lines)
