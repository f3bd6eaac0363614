"""Figures of how strides were learned: over the steps of training, and from where to where."""

from collections.abc import Sequence
from itertools import product
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from audiostride.analysis.figures import (
    LineStyle,
    NamedFigure,
    add_legend,
    group_styles,
    ink,
    join_by_group,
    mark_as_fixed,
    panels_per_layer,
)
from audiostride.analysis.resolution import learns_resolution
from audiostride.analysis.strided_layers import (
    FRONTEND,
    Strides,
    frontend_strides,
    initial_frontend_strides,
    layer_name,
)
from audiostride.analysis.trained import TrainedRun, axes_of, by_group
from audiostride.tables import Spread

# Strides over both axes.
_Point = tuple[float, float]


def draw_trajectories(runs: Sequence[TrainedRun], names: Sequence[str]) -> NamedFigure | None:
    """Draw the strides of each layer over the training steps, from the logs of the runs.

    Returns:
        None if no run has a log.
    """
    logged = [(run, name) for run, name in zip(runs, names, strict=True) if run.log]
    if not logged:
        return None
    styles = {
        name: style | {"marker": ""} for name, style in group_styles(name for _, name in logged).items()
    }
    numbers = _layer_numbers([run for run, _ in logged])
    axes = axes_of(runs)
    ylabels = [f"stride over {axis}" for axis in axes]
    figure, panels = panels_per_layer([*map(layer_name, numbers)], ylabels, ("", "step"), sharex="row")
    ends: dict[int, dict[str, list[Strides]]] = {}
    for run, name in logged:
        for column, number in enumerate(numbers):
            steps, strides = _course(run, number)
            for axis, values in enumerate(zip(*strides, strict=True)):
                if None not in values:
                    panels[axis, column].plot(steps, values, **styles[name])
            if strides:
                ends.setdefault(number, {}).setdefault(name, []).append(strides[-1])
    for panel in panels.flat:
        panel.xaxis.set_major_locator(MaxNLocator(2, integer=True))
        if not panel.lines:
            mark_as_fixed(panel)
    add_legend(figure, styles)
    texts = [
        f"the {'frontend' if number == FRONTEND else 'first layer'}'s ({' × '.join(axes)}) end at "
        + join_by_group({name: _pair(_means(pairs)) for name, pairs in ends[number].items()})
        for number in numbers[: 2 if numbers[0] == FRONTEND else 1]
    ]
    alt = f"Strides of every layer over training steps; {'; '.join(texts)}."
    return NamedFigure("trajectories", figure, alt)


def _layer_numbers(runs: Sequence[TrainedRun]) -> list[int]:
    """Return the numbers of the layers that at least one of the runs has, see `StridedLayer`."""
    depth = max(len(run.classifier.trunk.initial_strides) for run in runs)
    learned = any(learns_resolution(run.classifier.frontend) for run in runs)
    return [*([FRONTEND] if learned else []), *range(1, depth + 1)]


def _start_and_end(run: TrainedRun, number: int) -> tuple[Strides, Strides] | None:
    """Return the strides of a layer where training began and in the checkpoint, None if there is none."""
    if number == FRONTEND:
        learned = learns_resolution(run.classifier.frontend)
        return (
            (initial_frontend_strides(run.classifier), frontend_strides(run.classifier.frontend))
            if learned
            else None
        )
    trunk = run.classifier.trunk
    if number > len(trunk.initial_strides):
        return None
    time, frequency = trunk.strides[number - 1].tolist()
    return trunk.initial_strides[number - 1], (time, frequency)


def _course(run: TrainedRun, number: int) -> tuple[list[int], list[Strides]]:
    """Return the steps at which the strides of a layer were logged, and the strides, from the start."""
    ends = _start_and_end(run, number)
    if ends is None:
        return [], []
    steps, strides = [0], [ends[0]]
    for line in run.log:
        # Earlier versions had no frontend that learns strides.
        pair = line.get("frontend_strides") if number == FRONTEND else line["strides"][number - 1]
        if pair is not None:
            steps.append(line["step"])
            strides.append(tuple(pair))
    return steps, strides


def _means(pairs: Sequence[Strides]) -> list[float | None]:
    return [None if None in values else float(np.mean(values)) for values in zip(*pairs, strict=True)]


def draw_stride_plane(runs: Sequence[TrainedRun], names: Sequence[str]) -> NamedFigure:
    """Draw stride over the first axis against that over the second, in a large panel for the first layer.

    A marker with bars is the mean and standard deviation of a group, and a line leads there from its start.
    A frontend that learns both is the first layer. LEAF has no stride over frequency, so it is not drawn.
    """
    styles, groups = group_styles(names), by_group(runs, names)
    numbers = [
        number for number in _layer_numbers(runs) if any(_in_plane(run, number) is not None for run in runs)
    ]
    first, second = axes_of(runs)
    figure, panels = _large_first_panel([*map(layer_name, numbers)])
    panels[0].set(xlabel=f"stride over {first}", ylabel=f"stride over {second}")
    texts: dict[str, str] = {}
    for (number, panel), name in product(zip(numbers, panels, strict=True), styles):
        ends = [pairs for run in groups[name] if (pairs := _in_plane(run, number)) is not None]
        if ends:
            means = _draw_group_in_plane(panel, ends, styles[name])
            texts.setdefault(name, _pair(means))
    for alike in (panels[:1], panels[1:]):
        limits = [edge for panel in alike for edge in (*panel.get_xlim(), *panel.get_ylim())]
        if limits:
            margin = 0.08 * (max(limits) - min(limits))
            square = (min(limits) - margin, max(limits) + margin)
            for panel in alike:
                panel.set(xlim=square, ylim=square)
                panel.plot(square, square, color=ink(), linewidth=0.6, linestyle=":", marker="")
    points = {name: style | {"linestyle": ""} for name, style in styles.items()}
    add_legend(figure, points | {"at the start": {"color": ink(), "marker": "+", "linestyle": ""}})
    alt = (
        f"Strides over {first} and over {second} of each layer; the first layer's are {join_by_group(texts)}."
    )
    return NamedFigure("stride_plane", figure, alt)


def _in_plane(run: TrainedRun, number: int) -> tuple[_Point, _Point] | None:
    """Return what `_start_and_end` does if the layer has strides over both axes."""
    ends = _start_and_end(run, number)
    if ends is None:
        return None
    (time, frequency), (trained_time, trained_frequency) = ends
    if time is None or frequency is None or trained_time is None or trained_frequency is None:
        return None
    return (time, frequency), (trained_time, trained_frequency)


def _draw_group_in_plane(panel: Axes, ends: Sequence[tuple[_Point, _Point]], style: LineStyle) -> _Point:
    """Draw one group's strides at the start and trained, and return the trained means."""
    start = np.mean([begin for begin, _ in ends], axis=0)
    time, frequency = map(Spread.of, zip(*(trained for _, trained in ends), strict=True))
    thin = {"color": style["color"], "linestyle": "-", "linewidth": 0.8, "marker": ""}
    panel.plot([start[0], time.mean], [start[1], frequency.mean], **thin)
    panel.plot(*start, color=ink(), marker="+", zorder=3)
    panel.errorbar(time.mean, frequency.mean, xerr=time.deviation, yerr=frequency.deviation, **style)
    return time.mean, frequency.mean


def _large_first_panel(layers: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Make a large panel for the first of the named layers, and small ones in two columns for the others."""
    rows = max(1, ceil((len(layers) - 1) / 2))
    figure = Figure(figsize=(7.0, max(4.8, 1.6 * rows)), layout="constrained")
    grid = figure.add_gridspec(rows, 3, width_ratios=(1.8, 1, 1))
    panels = [figure.add_subplot(grid[:3, 0])]
    panels += [figure.add_subplot(grid[number // 2, 1 + number % 2]) for number in range(len(layers) - 1)]
    for name, panel in zip(layers, panels, strict=True):
        panel.set_title(name)
    return figure, panels


def _pair(strides: Sequence[float | None]) -> str:
    return " × ".join("–" if stride is None else f"{stride:.3g}" for stride in strides)
