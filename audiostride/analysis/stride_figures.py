"""Figures of the strides of several runs: how they were learned, cut-offs, and total downsampling."""

import textwrap
from collections.abc import Sequence
from itertools import product
from math import ceil, prod
from statistics import mean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from audiostride.analysis.cutoffs import AXES, LONG_UNITS, has_low_pass, stride_table
from audiostride.analysis.figures import (
    LineStyle,
    NamedFigure,
    add_legend,
    figure_style,
    group_styles,
    ink,
    join_by_group,
    panels_per_layer,
)
from audiostride.analysis.groups import group_means
from audiostride.analysis.trained import TrainedRun, titles
from audiostride.analysis.window_figure import draw_windows
from audiostride.tables import Spread, cell

# The range of modulation frequencies that speech needs, as Riad et al. 2022 read Elliott & Theunissen 2009.
SPEECH_HZ = 25.0


def stride_figures(
    runs: Sequence[TrainedRun], names: Sequence[str] | None = None, frames: int = 100, dark: bool = False
) -> list[NamedFigure]:
    """Draw every figure that the runs have data for.

    Args:
        runs: runs of any depth and kind of downsampling, with a log or without.
        names: the group of each run. The runs of a group look alike, and means are taken over them. By
            default the groups are the recipes, see `titles`.
        frames: length of the input spectrogram, 100 frames per second.
        dark: see `figure_style`.

    Returns:
        "trajectories" (for runs with a log), "windows" or "windows_1", "windows_2" … (one for each run with
        low-pass windows), "cutoffs" (for the same runs), "stride_plane" and "downsampling".
    """
    names = titles(runs) if names is None else names
    with_low_pass = [run for run in runs if has_low_pass(run.classifier)]
    with figure_style(dark):
        figures = [draw_trajectories(runs, names)]
        for number, run in enumerate(with_low_pass, 1):
            figure = draw_windows(run.classifier, run.recipe.model.strides, frames, run.name)
            figures.append(figure._replace(name=f"windows_{number}") if len(with_low_pass) > 1 else figure)
        figures.append(draw_cutoffs(runs, names, frames))
        figures += [draw_stride_plane(runs, names), draw_downsampling(runs, names, frames)]
    return [figure for figure in figures if figure]


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
    depth = max(len(run.recipe.model.strides) for run, _ in logged)
    figure, panels = panels_per_layer(depth, [f"stride over {axis}" for axis in AXES], ("", "step"))
    final: dict[str, list[tuple[float, float]]] = {}
    for run, name in logged:
        steps = [0, *(line["step"] for line in run.log)]
        strides = np.array([run.recipe.model.strides, *(line["strides"] for line in run.log)])
        for layer, axis in np.ndindex(strides.shape[1:]):
            panels[axis, layer].plot(steps, strides[:, layer, axis], **styles[name])
        final.setdefault(name, []).append(tuple(strides[-1, 0]))
    for panel in panels[:, 0]:
        panel.xaxis.set_major_locator(MaxNLocator(2, integer=True))
    add_legend(figure, styles)
    end = join_by_group({name: _pair(np.mean(pairs, axis=0)) for name, pairs in final.items()})
    alt = f"Strides of every layer over training steps; the first layer's (time × frequency) end at {end}."
    return NamedFigure("trajectories", figure, alt)


def draw_cutoffs(runs: Sequence[TrainedRun], names: Sequence[str], frames: int = 100) -> NamedFigure | None:
    """Draw the cut-offs of the first layer for each group of runs.

    A marker with a bar is the mean and standard deviation of the pass-band edge. A thin line leads to the
    stop-band edge if it exists.

    Returns:
        None if no run has low-pass windows.
    """
    tables = [
        (name, stride_table(run.classifier, frames))
        for run, name in zip(runs, names, strict=True)
        if has_low_pass(run.classifier)
    ]
    if not tables:
        return None
    styles = group_styles(name for name, _ in tables)
    figure, panels = _row_per_name(list(styles), 2)
    texts: dict[str, list[str]] = {name: [] for name in styles}
    for panel, axis, unit in zip(panels, AXES, LONG_UNITS, strict=True):
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
    panels[0].axvline(SPEECH_HZ, color=ink(), linewidth=0.8, linestyle=":", marker="")
    label = f"{SPEECH_HZ:g} Hz: speech modulation\n(as in Riad et al. 2022)"
    above = panels[0].get_xaxis_transform()
    panels[0].text(SPEECH_HZ, 1.02, label, transform=above, ha="center", fontsize="small")
    for panel in panels:
        low, high = panel.get_xlim()
        panel.set_xlim(0.9 * low, 1.1 * high)  # so that small differences look small
    markers = {"pass-band edge ± standard deviation": "o", "stop-band edge": "|"}
    add_legend(figure, {name: {"color": ink(), "linestyle": "", "marker": m} for name, m in markers.items()})
    edges = join_by_group({name: " and ".join(pair) for name, pair in texts.items()})
    return NamedFigure(
        "cutoffs", figure, f"Cut-offs of the first layer; the pass band reaches up to {edges}."
    )


def draw_stride_plane(runs: Sequence[TrainedRun], names: Sequence[str]) -> NamedFigure:
    """Draw stride over time against stride over frequency, in a large panel for the first layer.

    A marker with bars is the mean and standard deviation of a group, and a line leads there from its start.
    """
    styles, groups = group_styles(names), _groups(runs, names)
    figure, panels = _large_first_panel(max(len(run.recipe.model.strides) for run in runs))
    texts: dict[str, str] = {}
    for (layer, panel), name in product(enumerate(panels), styles):
        deep_enough = [run for run in groups[name] if layer < len(run.recipe.model.strides)]
        if deep_enough:
            means = _draw_group_in_plane(panel, deep_enough, layer, styles[name])
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
    alt = f"Strides over time and over frequency of each layer; the first layer's are {join_by_group(texts)}."
    return NamedFigure("stride_plane", figure, alt)


def _draw_group_in_plane(
    panel: Axes, runs: Sequence[TrainedRun], layer: int, style: LineStyle
) -> tuple[float, float]:
    """Draw one group's strides at the start and trained, and return the trained means."""
    start = np.mean([run.recipe.model.strides[layer] for run in runs], axis=0)
    trained = zip(*(run.classifier.trunk.strides[layer].tolist() for run in runs), strict=True)
    time, frequency = map(Spread.of, trained)
    thin = {"color": style["color"], "linestyle": "-", "linewidth": 0.8, "marker": ""}
    panel.plot([start[0], time.mean], [start[1], frequency.mean], **thin)
    panel.plot(*start, color=ink(), marker="+", zorder=3)
    panel.errorbar(time.mean, frequency.mean, xerr=time.deviation, yerr=frequency.deviation, **style)
    return time.mean, frequency.mean


def draw_downsampling(runs: Sequence[TrainedRun], names: Sequence[str], frames: int = 100) -> NamedFigure:
    """Draw the size of the spectrogram over that of the last feature map, and the product of all strides.

    The two differ because the ramps of the windows keep more, and because lengths are rounded.
    """
    styles = group_styles(names)
    figure, (panel,) = _row_per_name(list(styles), 1)
    texts = {}
    for y, (name, members) in enumerate(_groups(runs, names).items()):
        tables = [stride_table(run.classifier, frames) for run in members]
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
    panel.set_xlabel("values of the spectrogram per value of the last feature map")
    filled = {"color": ink(), "marker": "o", "linestyle": ""}
    add_legend(figure, {"effective": filled, "nominal, product of strides": filled | {"fillstyle": "none"}})
    return NamedFigure("downsampling", figure, f"Global downsampling: {join_by_group(texts)}.")


def _groups(runs: Sequence[TrainedRun], names: Sequence[str]) -> dict[str, list[TrainedRun]]:
    groups: dict[str, list[TrainedRun]] = {name: [] for name in names}
    for run, name in zip(runs, names, strict=True):
        groups[name].append(run)
    return groups


def _large_first_panel(layers: int) -> tuple[Figure, list[Axes]]:
    """Make a large panel for the first layer, and small ones in two columns for the others."""
    rows = max(1, ceil((layers - 1) / 2))
    figure = Figure(figsize=(7.0, max(4.8, 1.6 * rows)), layout="constrained")
    grid = figure.add_gridspec(rows, 3, width_ratios=(1.8, 1, 1))
    panels = [figure.add_subplot(grid[:3, 0])]
    panels += [figure.add_subplot(grid[number // 2, 1 + number % 2]) for number in range(layers - 1)]
    for layer, panel in enumerate(panels, 1):
        panel.set_title(f"layer {layer}")
    panels[0].set_xlabel("stride over time")
    panels[0].set_ylabel("stride over frequency")
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


def _pair(strides: Sequence[float]) -> str:
    return " × ".join(f"{stride:.3g}" for stride in strides)
