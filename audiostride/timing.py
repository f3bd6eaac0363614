"""Timing several things side by side, and what is timed most: a training step, and inference."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Tensor

Name = TypeVar("Name")


def in_turns(work: Mapping[Name, Callable[[], Any]], rounds: int, calls: int = 1) -> dict[Name, float]:
    """Median milliseconds of a call of each, each in its turn; the first turn does not count.

    Args:
        work: what to call.
        rounds: turns that count.
        calls: of each in one turn.
    """
    times: dict[Name, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, run in work.items():
            begun = now()
            for _ in range(calls):
                run()
            times[name].append(1000 * (now() - begun) / calls)
    return {name: median(taken[1:]) for name, taken in times.items()}


def now() -> float:
    """Seconds, once the GPU has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def training_step(network: Any, x: Tensor, precision: str = "float32") -> Callable[[], None]:
    """A forward and a backward pass and a step of Adam, which hardly changes anything."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-6)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(x, precision):
            loss = network(x).float().square().mean()
        loss.backward()
        optimizer.step()

    return step


def inference(network: Any, x: Tensor, precision: str = "float32") -> Callable[[], None]:
    """A forward pass without gradients."""

    @torch.no_grad()
    def infer() -> None:
        with autocast(x, precision):
            network(x)

    return infer


def autocast(x: Tensor, precision: str) -> torch.autocast:
    """Of "bf16"; nothing for "float32"."""
    return torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16")
