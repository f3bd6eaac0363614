"""Benchmarks: speed and memory, measured side by side; accuracy of a baseline, and at other levels of sound.

Each one turns its settings into rows with the same keys: names, figures, and their ratios.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from audiostride.allocator import keep_freed_memory
from audiostride.bench.settings import (
    BaselineBench,
    DriftBench,
    ExportBench,
    LayerBench,
    LayersBench,
    LevelBench,
    LongAxesBench,
    PredictBench,
    PrepareBench,
    StepBench,
    WindowsBench,
)


def _later(module: str, function: str) -> Callable[[Any], list[dict[str, Any]]]:
    """Return a function that imports its module when it is called, since most of them import torch."""

    def measure(settings: Any) -> list[dict[str, Any]]:
        keep_freed_memory()
        return getattr(import_module(f"{__name__}.{module}"), function)(settings)

    return measure


# From the name of each benchmark to its settings and the function that measures.
BENCHES: dict[str, tuple[type, Callable[[Any], list[dict[str, Any]]]]] = {
    "layers": (LayersBench, _later("layers", "bench_layers")),
    "layer": (LayerBench, _later("layers", "bench_layer")),
    "long_axes": (LongAxesBench, _later("long_axes", "bench_long_axes")),
    "drift": (DriftBench, _later("drift", "bench_drift")),
    "step": (StepBench, _later("step", "bench_step")),
    "data": (WindowsBench, _later("data", "bench_windows")),
    "predict": (PredictBench, _later("predict", "bench_predict")),
    "prepare": (PrepareBench, _later("prepare", "bench_prepare")),
    "export": (ExportBench, _later("export", "bench_export")),
    "level": (LevelBench, _later("level", "bench_level")),
    "baseline": (BaselineBench, _later("baseline", "bench_baseline")),
}
