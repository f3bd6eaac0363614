"""Speed and memory, as ratios measured side by side in one run."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from audiostride.bench.settings import (
    DriftBench,
    LayerBench,
    LayersBench,
    PrepareBench,
    StepBench,
    WindowsBench,
)


def _later(module: str, function: str) -> Callable[[Any], list[dict[str, Any]]]:
    """A function whose module is imported when it is called: most of them need torch."""
    return lambda settings: getattr(import_module(f"{__name__}.{module}"), function)(settings)


# From what is measured to its settings, and what turns them into rows of results.
BENCHES: dict[str, tuple[type, Callable[[Any], list[dict[str, Any]]]]] = {
    "layers": (LayersBench, _later("layers", "bench_layers")),
    "layer": (LayerBench, _later("layers", "bench_layer")),
    "drift": (DriftBench, _later("drift", "bench_drift")),
    "step": (StepBench, _later("step", "bench_step")),
    "data": (WindowsBench, _later("data", "bench_windows")),
    "prepare": (PrepareBench, _later("prepare", "bench_prepare")),
}
