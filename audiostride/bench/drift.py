"""The cost of feature maps that change size while strides are learned, and what reduces it."""

from statistics import median
from typing import Any

import torch
from torch import nn

from audiostride.bench.settings import DriftBench
from audiostride.frontends.log_mel import LogMel
from audiostride.layers import Window, freeze_, project_
from audiostride.layers.learned_strides import diffstride_layers
from audiostride.models.networks.separable import SeparableCNN
from audiostride.timing import now, training_step

_SAMPLES = 16_000  # of a window of one second


def bench_drift(settings: DriftBench) -> list[dict[str, Any]]:
    """Time training steps while every stride grows by `drift` per step, from 2 (or 1), as training may do.

    Lengths of feature maps are rounded up to each of the multiples (1: not rounded); in a last network the
    strides are frozen. Each network is measured plain and with torch.compile.

    Returns:
        One row per network, with times and the ratio of the median to that of the first row.
    """
    kinds = [(False, multiple) for multiple in settings.multiples] + [(True, 1)]
    rows = [
        _measure(settings, frozen, multiple, compiled)
        for compiled in ([False, True] if settings.compile else [False])
        for frozen, multiple in kinds
    ]
    return [row | {"to_first": row["median_ms"] / rows[0]["median_ms"]} for row in rows]


def _measure(settings: DriftBench, frozen: bool, multiple: int, compiled: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    torch._dynamo.reset()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    window = Window(settings.smoothness, multiple=multiple)
    network = SeparableCNN(settings.channels, window=window).to(device)
    if frozen:
        freeze_(network)
    size = LogMel().size(_SAMPLES)
    x = torch.randn(settings.batch_size, 1, *size, device=device)
    step = training_step(torch.compile(network, dynamic=False) if compiled else network, x)
    times, sizes = [], set()
    for _ in range(settings.steps):
        begin = now()
        step()
        times.append(1000 * (now() - begin))
        sizes.add(tuple(network.sizes(*size)))
        if not frozen:
            _grow_strides_(network, settings.drift)
    return {
        "lengths": _lengths(frozen, multiple),
        "compiled": compiled,
        "sizes_seen": len(sizes),
        "first_step_ms": times[0],
        "median_ms": median(times[1:]),
        "slow_steps": sum(ms > 2 * median(times) for ms in times[1:]),
        "all_steps_s": sum(times) / 1000,
    }


def _lengths(frozen: bool, multiple: int) -> str:
    if frozen:
        return "frozen"
    return "not rounded" if multiple == 1 else f"multiples of {multiple}"


@torch.no_grad()
def _grow_strides_(network: nn.Module, by: float) -> None:
    for layer in diffstride_layers(network):
        layer.stride.add_(by)
    project_(network)
