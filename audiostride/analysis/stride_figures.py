"""Figures of the strides of several runs: how they were learned, cut-offs, and total downsampling."""

import textwrap
from collections.abc import Sequence
from itertools import product
from math import ceil, prod
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from audiostride.analysis.cutoffs import axis_names, frequency_range, stride_table, units
from audiostride.analysis.figures import (
    LineStyle,
    NamedFigure,
    add_legend,
    figure_style,
    group_styles,
    ink,
    join_by_group,
    mark_as_fixed,
    panels_per_layer,
)
from audiostride.analysis.filter_figure import draw_filters
from audiostride.analysis.groups import Rows, group_means
from audiostride.analysis.resolution import learns_resolution, resolution
from audiostride.analysis.strided_layers import (
    FRONTEND,
    Strides,
    frontend_strides,
    has_low_pass,
    initial_frontend_strides,
    layer_name,
    low_pass_layers,
)
from audiostride.analysis.trained import TrainedRun, titles
from audiostride.analysis.window_figure import draw_windows
from audiostride.frontends.frontend import Frontend, SoundFrontend
from audiostride.tables import Spread, cell

# The range of modulation frequencies that speech needs, as Riad et al. 2022 read Elliott & Theunissen 2009.
SPEECH_HZ = 25.0
# The usual hop and number of mel channels, those of the paper.
USUAL_HOP_MS, USUAL_CHANNELS = 10.0, 64


def stride_figures(
    runs: Sequence[TrainedRun],
    names: Sequence[str] | None = None,
    frames: int | None = None,
    dark: bool = False,
) -> list[NamedFigure]:
    """Draw every figure that the runs have data for.

    Args:
        runs: runs of any depth and kind of downsampling, with a log or without.
        names: the group of each run. The runs of a group look alike, and means are taken over them. By
            default the groups are the recipes, see `titles`.
        frames: number of frames of the frontend's features, see `stride_table`; by default that of each run's
            windows.
        dark: see `figure_style`.

    Returns:
        "trajectories" (for runs with a log), "windows" or "windows_1", "windows_2" … (one for each run with
        low-pass windows), "filters" or "filters_1" … (one for each run with LEAF), "resolution" (if a
        frontend learns its resolution), "cutoffs" (for runs whose blocks have low-pass windows),
        "stride_plane" and "downsampling".
    """
    names = titles(runs) if names is None else names
    with figure_style(dark):
        windows = [
            draw_windows(run.classifier, frames, run.name) for run in runs if low_pass_layers(run.classifier)
        ]
        filters = [figure for run in runs if (figure := draw_filters(run.classifier, run.name))]
        figures = [
            draw_trajectories(runs, names),
            *_numbered(windows),
            *_numbered(filters),
            draw_resolution(runs, names),
            draw_cutoffs(runs, names, frames),
            draw_stride_plane(runs, names),
            draw_downsampling(runs, names, frames),
        ]
    return [figure for figure in figures if figure]


def _numbered(figures: Sequence[NamedFigure]) -> list[NamedFigure]:
    """Number the names of figures of the same kind if there are several."""
    if len(figures) == 1:
        return list(figures)
    return [one._replace(name=f"{one.name}_{number}") for number, one in enumerate(figures, 1)]


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
    axes = _axes(runs)
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


def draw_resolution(runs: Sequence[TrainedRun], names: Sequence[str]) -> NamedFigure | None:
    """Draw hop and number of mel channels of each group, where training began, and the usual ones.

    A marker with a bar is the mean and standard deviation over the runs of a group.

    Returns:
        None if no frontend learns its resolution.
    """
    if not any(learns_resolution(run.classifier.frontend) for run in runs):
        return None
    styles, groups = group_styles(names), _groups(runs, names)
    figure, panels = _row_per_name(list(styles), 2)
    quantities = {"hop_ms": ("hop in ms", USUAL_HOP_MS), "mel_channels": ("mel channels", USUAL_CHANNELS)}
    texts: dict[str, list[str]] = {name: [] for name in styles}
    for panel, (quantity, (label, usual)) in zip(panels, quantities.items(), strict=True):
        for y, (name, members) in enumerate(groups.items()):
            learned = Spread.of(
                float(resolution(run.classifier.sound_frontend, run.classifier.window_s)[quantity])
                for run in members
            )
            settings = [run.classifier.frontend_settings for run in members]
            start = mean(one.hop_ms if quantity == "hop_ms" else one.mel_channels for one in settings)
            thin = {"color": styles[name]["color"], "linestyle": "-", "linewidth": 0.8, "marker": ""}
            panel.plot([start, learned.mean], [y, y], **thin)
            panel.plot(start, y, color=ink(), marker="+", zorder=3)
            panel.errorbar(learned.mean, y, xerr=learned.deviation, elinewidth=2.5, **styles[name])
            _text_right_of(panel, y, cell(learned))
            texts[name].append(f"{cell(learned)} {label.removeprefix('hop in ')}")
        panel.axvline(usual, color=ink(), linewidth=0.8, linestyle=":", marker="")
        panel.set_xlabel(label)
        low, high = panel.get_xlim()
        panel.set_xlim(0.9 * low, 1.1 * high)  # so that small differences look small
    marks = {"learned": "o", "at the start": "+"}
    legend = {name: {"color": ink(), "linestyle": "", "marker": mark} for name, mark in marks.items()}
    add_legend(figure, legend | {"usual": {"color": ink(), "linestyle": ":", "marker": ""}})
    resolutions = join_by_group({name: " and ".join(pair) for name, pair in texts.items()})
    return NamedFigure("resolution", figure, f"Hop and mel channels of the frontend: {resolutions}.")


def draw_cutoffs(
    runs: Sequence[TrainedRun], names: Sequence[str], frames: int | None = None
) -> NamedFigure | None:
    """Draw the cut-offs of the first block for each group of runs.

    A marker with a bar is the mean and standard deviation of the pass-band edge. A thin line leads to the
    stop-band edge if it exists. If the channels of the frontends differ, cut-offs over frequency are in
    cycles per octave, see `stride_table`.

    Returns:
        None if no run has blocks with low-pass windows.
    """
    shown = [(run, name) for run, name in zip(runs, names, strict=True) if has_low_pass(run.classifier)]
    if not shown:
        return None
    tables = [(name, stride_table(run.classifier, frames)) for run, name in shown]
    frontends = [run.classifier.frontend for run, _ in shown]
    long_units = list(units(frontends[0], long=True))
    if len({_scale(frontend) for frontend in frontends}) > 1:
        tables = [(name, [_in_octaves(row) for row in rows]) for name, rows in tables]
        long_units[1] = "cycles per octave around 1 kHz"
    styles = group_styles(name for name, _ in tables)
    figure, panels = _row_per_name(list(styles), 2)
    texts: dict[str, list[str]] = {name: [] for name in styles}
    for panel, axis, unit in zip(panels, _axes(runs), long_units, strict=True):
        rows = [row for row in group_means(tables) if (row["layer"], row["axis"]) == (1, axis)]
        for y, (name, row) in enumerate(zip(styles, rows, strict=True)):
            edge, stop = row["pass_band"], row["stop_band"]
            panel.errorbar(edge.mean, y, xerr=edge.deviation, elinewidth=2.5, **styles[name])
            if stop:
                thin = {"color": styles[name]["color"], "linestyle": "-", "linewidth": 0.8}
                panel.plot([edge.mean, stop.mean], [y, y], **thin, marker="|", markevery=[1])
            _text_right_of(panel, y, cell(edge))
            texts[name].append(f"{cell(edge)} {unit}")
        panel.set_xlabel(f"cut-off over {axis},\n{unit}")
    if isinstance(frontends[0], SoundFrontend):
        _mark_speech(panels[0])
    for panel in panels:
        low, high = panel.get_xlim()
        panel.set_xlim(0.9 * low, 1.1 * high)  # so that small differences look small
    markers = {"pass-band edge ± standard deviation": "o", "stop-band edge": "|"}
    add_legend(figure, {name: {"color": ink(), "linestyle": "", "marker": m} for name, m in markers.items()})
    edges = join_by_group({name: " and ".join(pair) for name, pair in texts.items()})
    return NamedFigure(
        "cutoffs", figure, f"Cut-offs of the first layer; the pass band reaches up to {edges}."
    )


def _axes(runs: Sequence[TrainedRun]) -> tuple[str, str]:
    """Return the names of both axes of the features, which are the same for all runs."""
    return axis_names(runs[0].classifier.frontend)


def _scale(frontend: Frontend) -> tuple[Any, ...]:
    """Return what cut-offs in the same unit have in common."""
    if isinstance(frontend, SoundFrontend):
        return units(frontend), frontend.channels, frequency_range(frontend)
    return units(frontend)


def _mark_speech(panel: Axes) -> None:
    panel.axvline(SPEECH_HZ, color=ink(), linewidth=0.8, linestyle=":", marker="")
    label = f"{SPEECH_HZ:g} Hz: speech modulation\n(as in Riad et al. 2022)"
    above = panel.get_xaxis_transform()
    panel.text(SPEECH_HZ, 1.02, label, transform=above, ha="center", fontsize="small")


def _in_octaves(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `stride_table` with its edges over frequency in cycles per octave."""
    if row["cycles_per_octave"] is None:
        return row
    scale = row["cycles_per_octave"] / row["pass_band"]
    stop = row["stop_band"] and row["stop_band"] * scale
    return row | {"pass_band": row["cycles_per_octave"], "stop_band": stop}


def draw_stride_plane(runs: Sequence[TrainedRun], names: Sequence[str]) -> NamedFigure:
    """Draw stride over the first axis against that over the second, in a large panel for the first layer.

    A marker with bars is the mean and standard deviation of a group, and a line leads there from its start.
    A frontend that learns both is the first layer. LEAF has no stride over frequency, so it is not drawn.
    """
    styles, groups = group_styles(names), _groups(runs, names)
    numbers = [
        number for number in _layer_numbers(runs) if any(_in_plane(run, number) is not None for run in runs)
    ]
    first, second = _axes(runs)
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


# Strides over both axes.
_Point = tuple[float, float]


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


def draw_downsampling(
    runs: Sequence[TrainedRun], names: Sequence[str], frames: int | None = None
) -> NamedFigure:
    """Draw the size of the network's input over that of the last feature map, and the product of strides.

    The two differ because the ramps of the windows keep more, and because lengths are rounded. The learned
    strides of a frontend come before the network's input, and do not count.
    """
    styles = group_styles(names)
    figure, (panel,) = _row_per_name(list(styles), 1)
    texts = {}
    for y, (name, members) in enumerate(_groups(runs, names).items()):
        tables = [_of_blocks(stride_table(run.classifier, frames)) for run in members]
        effective = [prod(row["effective_stride"] for row in rows) for rows in tables]
        nominal = [prod(row["stride"] for row in rows) for rows in tables]
        points = {"color": styles[name]["color"], "marker": styles[name]["marker"], "linestyle": ""}
        ends = [min(effective + nominal), max(effective + nominal)]
        panel.plot(ends, [y] * 2, color=points["color"], linestyle="-", linewidth=0.8, marker="")
        panel.plot(nominal, [y] * len(nominal), **points, fillstyle="none")
        panel.plot(effective, [y] * len(effective), **points)
        texts[name] = f"{mean(effective):.0f}, nominally {mean(nominal):.0f}"
        _text_right_of(panel, y, texts[name])
    low, high = panel.dataLim.intervalx
    panel.set(xscale="log", xlim=(low / 2, high * 2))  # wide enough for at least one tick
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    made = runs[0].classifier.frontend.makes
    panel.set_xlabel(f"values of the {made} per value of the last feature map")
    filled = {"color": ink(), "marker": "o", "linestyle": ""}
    add_legend(figure, {"effective": filled, "nominal, product of strides": filled | {"fillstyle": "none"}})
    return NamedFigure("downsampling", figure, f"Global downsampling: {join_by_group(texts)}.")


def _of_blocks(rows: Rows) -> Rows:
    return [row for row in rows if row["layer"] != FRONTEND]


def _groups(runs: Sequence[TrainedRun], names: Sequence[str]) -> dict[str, list[TrainedRun]]:
    groups: dict[str, list[TrainedRun]] = {name: [] for name in names}
    for run, name in zip(runs, names, strict=True):
        groups[name].append(run)
    return groups


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


def _row_per_name(names: Sequence[str], columns: int) -> tuple[Figure, Sequence[Axes]]:
    """Make panels side by side that share a row per name, the first name at the top."""
    figure = Figure(figsize=(7.0, 1.5 + 0.4 * len(names)), layout="constrained")
    (panels,) = figure.subplots(1, columns, squeeze=False, sharey=True)
    panels[0].set_yticks(range(len(names)), [textwrap.fill(name, 28) for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    for panel in panels:
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="y", alpha=0.25, linewidth=0.6)
    return figure, panels


def _text_right_of(panel: Axes, y: float, text: str) -> None:
    panel.text(1.02, y, text, transform=panel.get_yaxis_transform(), va="center", fontsize="small")


def _pair(strides: Sequence[float | None]) -> str:
    return " × ".join("–" if stride is None else f"{stride:.3g}" for stride in strides)
