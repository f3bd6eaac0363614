"""Timing of several functions in turns, and what is timed most: a training step, and inference."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Tensor

Name = TypeVar("Name")


def in_turns(work: Mapping[Name, Callable[[], Any]], rounds: int, calls: int = 1) -> dict[Name, float]:
    """Time functions in turns, so that whatever else the machine does slows all of them alike.

    Args:
        work: functions by name.
        rounds: number of turns that count, ≥ 1. One more turn before them does not count.
        calls: number of calls of each function per turn, ≥ 1.

    Returns:
        Median milliseconds per call, by name.
    """
    times: dict[Name, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, run in work.items():
            begin = now()
            for _ in range(calls):
                run()
            times[name].append(1000 * (now() - begin) / calls)
    return {name: median(ms[1:]) for name, ms in times.items()}


def now() -> float:
    """Return seconds of a monotonic clock, after the GPU has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use a single thread on the CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def training_step(network: Any, x: Tensor, precision: str = "float32") -> Callable[[], None]:
    """Return a function that runs forward and backward pass and a step of Adam.

    Args:
        network: the module to train. Its parameters hardly change: the learning rate is 1e-6.
        x: the input.
        precision: "float32", or "bf16" for autocast.
    """
    optimizer = torch.optim.Adam(network.parameters(), 1e-6)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(x, precision):
            loss = network(x).float().square().mean()
        loss.backward()
        optimizer.step()

    return step


def inference(network: Any, x: Tensor, precision: str = "float32") -> Callable[[], None]:
    """Return a function that runs the forward pass without gradients; arguments as for `training_step`."""

    @torch.no_grad()
    def infer() -> None:
        with autocast(x, precision):
            network(x)

    return infer


def autocast(x: Tensor, precision: str) -> torch.autocast:
    """Return autocast to bfloat16 on the device of `x`, which does nothing unless `precision` is "bf16"."""
    return torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16")
