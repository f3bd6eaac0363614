"""The figures of `audiostride bench layers` and `audiostride bench long_axes`."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from audiostride.analysis.figures import NamedFigure, figure_style, group_styles, ink
from audiostride.bench.settings import LongAxesBench

_MEASURES = {"to_crop": "training step", "inference_to_crop": "inference", "kept_to_crop": "memory kept"}

_UNITS = {"ms": "milliseconds", "kept_mb": "MB"}


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


def long_axes_figure(rows: Sequence[dict[str, Any]], settings: LongAxesBench) -> NamedFigure:
    """Draw time and memory of both forms over the length of the axis, from the rows of `bench_long_axes`."""
    with figure_style():
        figure = Figure(figsize=(7.0, 3.2), layout="constrained")
        time, memory = figure.subplots(1, 2)
        time.set_title("time of forward and backward pass")
        _draw_forms(time, rows, "ms")
        memory.set_title("memory kept for the backward pass")
        _draw_forms(memory, rows, "kept_mb")
        figure.suptitle(f"A learned stride of {settings.stride:g} along {settings.lines} lines")
    alt = "Time and memory over the length of an axis, by matrix and through the FFT"
    compared = [row for row in rows if row["matrix_to_fft"] is not None]
    if compared:
        last = compared[-1]
        alt += (
            f": at {last['samples']:,} samples the matrix takes {last['matrix_to_fft']:.2g} times as long "
            f"and keeps {last['matrix_kept_mb']:.2g} MB instead of {last['fft_kept_mb']:.2g} MB"
        )
    return NamedFigure("long_axes", figure, f"{alt}.")


def _draw_forms(panel: Any, rows: Sequence[dict[str, Any]], measure: str) -> None:
    names = {"matrix": "matrix", "fft": "FFT"}
    for name, style in group_styles(names).items():
        measured = [row for row in rows if row[f"{name}_{measure}"] is not None]
        if measured:
            samples, values = zip(*((r["samples"], r[f"{name}_{measure}"]) for r in measured), strict=True)
            panel.plot(samples, values, **style)
            panel.annotate(f"  {names[name]}", (samples[-1], values[-1]), color=style["color"], va="center")
    panel.set(xscale="log", yscale="log", xlabel="samples of the axis", ylabel=_UNITS[measure])
    panel.set_xlim(right=4 * rows[-1]["samples"])  # for the names
    panel.set_ylim(top=10 * panel.get_ylim()[1])
    panel.xaxis.set_major_formatter("{x:,.0f}")
    panel.yaxis.set_major_formatter("{x:,g}")
    panel.grid(alpha=0.25, linewidth=0.6)
    _mark_change(panel, rows)


def _mark_change(panel: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Draw a line between the longest axis that the layers multiply by a matrix and the first by FFT."""
    by_matrix = [row["samples"] for row in rows if row["taken"] == "matrix"]
    by_fft = [row["samples"] for row in rows if row["taken"] == "fft"]
    if by_matrix and by_fft:
        change = (max(by_matrix) * min(by_fft)) ** 0.5
        panel.axvline(change, color=ink(), linewidth=0.6)
        place = {"transform": panel.get_xaxis_transform(), "va": "top", "fontsize": "small"}
        panel.text(change, 0.98, " the layers take the FFT →", **place)
