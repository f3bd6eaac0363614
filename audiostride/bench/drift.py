"""What it costs that the sizes of maps change while strides are learned, and what helps."""

from statistics import median
from typing import Any

import torch
from torch import nn

from audiostride.bench.settings import DriftBench
from audiostride.layers import freeze_, project_
from audiostride.layers.diffstride import DiffStrideNd
from audiostride.models.separable_cnn import SeparableCNN
from audiostride.timing import now, training_step


def bench_drift(settings: DriftBench) -> list[dict[str, Any]]:
    """One row per kind: every stride grows by `drift` a step, from 2 (or 1), as training might do it.

    Lengths as they come, in multiples, and with the strides frozen; each plain and by torch.compile.
    """
    ways = [(False, multiple) for multiple in settings.multiples] + [(True, 1)]
    return [
        _measure(settings, frozen, multiple, compiled)
        for compiled in ([False, True] if settings.compile else [False])
        for frozen, multiple in ways
    ]


def _measure(settings: DriftBench, frozen: bool, multiple: int, compiled: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    torch._dynamo.reset()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = SeparableCNN(settings.channels, smoothness=settings.smoothness, multiple=multiple).to(device)
    if frozen:
        freeze_(network)
    x = torch.randn(settings.batch_size, 1, 100, 64, device=device)
    step, sizes = training_step(torch.compile(network, dynamic=False) if compiled else network, x), set()
    times = []
    for _ in range(settings.steps):
        begun = now()
        step()
        times.append(1000 * (now() - begun))
        sizes.add(tuple(network.sizes(100, 64)))
        if not frozen:
            _grow(network, settings.drift)
    return {
        "lengths": "frozen" if frozen else "as they come" if multiple == 1 else f"multiples of {multiple}",
        "compiled": compiled,
        "sizes_seen": len(sizes),
        "first_step_ms": times[0],
        "median_ms": median(times[1:]),
        "slow_steps": sum(taken > 2 * median(times) for taken in times[1:]),
        "all_steps_s": sum(times) / 1000,
    }


@torch.no_grad()
def _grow(network: nn.Module, by: float) -> None:
    for layer in network.modules():
        if isinstance(layer, DiffStrideNd):
            layer.stride.add_(by)
    project_(network)
