"""Figures of the strides of several runs: how they were learned, cut-offs, and total downsampling."""

from collections.abc import Sequence
from math import prod
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from audiostride.analysis.cutoffs import frequency_range, stride_table, units
from audiostride.analysis.figures import (
    NamedFigure,
    add_legend,
    figure_style,
    group_styles,
    ink,
    join_by_group,
    row_per_name,
    text_right_of,
)
from audiostride.analysis.filter_figure import draw_filters
from audiostride.analysis.groups import Rows, group_means
from audiostride.analysis.learning_figures import draw_stride_plane, draw_trajectories
from audiostride.analysis.resolution_figure import draw_resolution
from audiostride.analysis.strided_layers import (
    FRONTEND,
    has_low_pass,
    low_pass_layers,
)
from audiostride.analysis.trained import TrainedRun, axes_of, by_group, titles
from audiostride.analysis.window_figure import draw_windows
from audiostride.frontends.frontend import Frontend, SoundFrontend
from audiostride.tables import cell

# The range of modulation frequencies that speech needs, as Riad et al. 2022 read Elliott & Theunissen 2009.
SPEECH_HZ = 25.0


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
    figure, panels = row_per_name(list(styles), 2)
    texts: dict[str, list[str]] = {name: [] for name in styles}
    for panel, axis, unit in zip(panels, axes_of(runs), long_units, strict=True):
        rows = [row for row in group_means(tables) if (row["layer"], row["axis"]) == (1, axis)]
        for y, (name, row) in enumerate(zip(styles, rows, strict=True)):
            edge, stop = row["pass_band"], row["stop_band"]
            panel.errorbar(edge.mean, y, xerr=edge.deviation, elinewidth=2.5, **styles[name])
            if stop:
                thin = {"color": styles[name]["color"], "linestyle": "-", "linewidth": 0.8}
                panel.plot([edge.mean, stop.mean], [y, y], **thin, marker="|", markevery=[1])
            text_right_of(panel, y, cell(edge))
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


def draw_downsampling(
    runs: Sequence[TrainedRun], names: Sequence[str], frames: int | None = None
) -> NamedFigure:
    """Draw the size of the network's input over that of the last feature map, and the product of strides.

    The two differ because the ramps of the windows keep more, and because lengths are rounded. The learned
    strides of a frontend come before the network's input, and do not count.
    """
    styles = group_styles(names)
    figure, (panel,) = row_per_name(list(styles), 1)
    texts = {}
    for y, (name, members) in enumerate(by_group(runs, names).items()):
        tables = [_of_blocks(stride_table(run.classifier, frames)) for run in members]
        effective = [prod(row["effective_stride"] for row in rows) for rows in tables]
        nominal = [prod(row["stride"] for row in rows) for rows in tables]
        points = {"color": styles[name]["color"], "marker": styles[name]["marker"], "linestyle": ""}
        ends = [min(effective + nominal), max(effective + nominal)]
        panel.plot(ends, [y] * 2, color=points["color"], linestyle="-", linewidth=0.8, marker="")
        panel.plot(nominal, [y] * len(nominal), **points, fillstyle="none")
        panel.plot(effective, [y] * len(effective), **points)
        texts[name] = f"{mean(effective):.0f}, nominally {mean(nominal):.0f}"
        text_right_of(panel, y, texts[name])
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
