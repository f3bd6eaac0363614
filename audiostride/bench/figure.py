"""The figure of `audiostride bench layers`."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from audiostride.analysis.figures import NamedFigure, figure_style

_MEASURES = {"to_crop": "training step", "inference_to_crop": "inference", "kept_to_crop": "memory kept"}


def cost_figure(rows: Sequence[dict[str, Any]]) -> NamedFigure:
    """Draw time and memory of each method relative to the free crop, from the rows of `bench_layers`.

    There is a row of panels per precision, plain and compiled, a panel per measure, a line per method, and a
    marker per smoothness.
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    kinds = list(dict.fromkeys((row["precision"], row["compiled"]) for row in rows))
    with figure_style():
        figure = Figure(figsize=(7.0, 0.6 + (0.5 + 0.26 * len(methods)) * len(kinds)), layout="constrained")
        panels = figure.subplots(len(kinds), len(_MEASURES), squeeze=False, sharex="col", sharey=True)
        for (row, kind), (column, measure) in product(enumerate(kinds), enumerate(_MEASURES)):
            selected = [r for r in rows if (r["precision"], r["compiled"]) == kind]
            _draw(panels[row, column], selected, methods, measure)
            panels[row, column].set_title(f"{_MEASURES[measure]}, {_kind_name(*kind)}")
        for panel in panels[-1]:
            panel.set_xlabel("times a free crop")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    ours = [row for row in rows if row["method"] == "diffstride"]
    ratios = "; ".join(
        f"{row['to_crop']:.2f}, {row['inference_to_crop']:.2f}, {row['kept_to_crop']:.2f} "
        f"(smoothness {row['smoothness']:g}, {_kind_name(row['precision'], row['compiled'])})"
        for row in ours
    )
    alt = f"DiffStride relative to a free crop in training time, inference time and memory kept: {ratios}."
    return NamedFigure("layers", figure, alt)


def _draw(panel: Any, rows: Sequence[dict[str, Any]], methods: Sequence[str], measure: str) -> None:
    styles = matplotlib.rcParams["axes.prop_cycle"]
    for smoothness, style in zip(dict.fromkeys(row["smoothness"] for row in rows), styles, strict=False):
        selected = [row for row in rows if row["smoothness"] == smoothness]
        positions = [methods.index(row["method"]) for row in selected]
        values = [row[measure] for row in selected]
        panel.plot(values, positions, **style | {"linestyle": ""}, label=f"smoothness {smoothness:g}")
    panel.axvline(1, color=matplotlib.rcParams["text.color"], linewidth=0.6)
    panel.set_yticks(range(len(methods)), methods)
    panel.set_ylim(len(methods) - 0.5, -0.5)
    panel.set_xlim(left=0)
    panel.grid(axis="y", alpha=0.25, linewidth=0.6)


def _kind_name(precision: str, compiled: bool) -> str:
    return f"{precision}, compiled" if compiled else precision
