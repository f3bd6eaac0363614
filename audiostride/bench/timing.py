"""Timing several things side by side."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, TypeVar

import torch

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
