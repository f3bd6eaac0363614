"""Pictures of strides: how they were learned, and the windows, cut-offs and sizes of maps that they mean.

Every figure is a `matplotlib.figure.Figure` of its own, without pyplot: nothing is kept between calls, and no
display is needed. `pictures` draws all that a set of runs has to show; `save` writes it.
"""

import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, islice, product
from math import ceil, prod
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.rcsetup import cycler
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from audiostride.analysis.cutoffs import cutoffs, gains, has_window, stride_table
from audiostride.analysis.groups import grouped
from audiostride.analysis.trained import TrainedRun, titles
from audiostride.layers import Window
from audiostride.models.classifier import Classifier
from audiostride.tables import Spread, cell

# Modulation over time up to which speech needs it, as Riad et al. 2022 read Elliott & Theunissen 2009.
SPEECH_HZ = 25.0

# Background and ink by whether the style is dark, for pages that hold the pictures.
PAPER = {False: "#ffffff", True: "#14171c"}
INK = {False: "#1b1b1b", True: "#e6e6e6"}
# Okabe and Ito's, whom the colour-blind tell apart too; those that stand out from the paper come first.
_COLOURS = {
    False: ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"),
    True: ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#ffffff"),
}
# As many as colours, markers and lines need to come together again.
_LOOKS = 56
_MARKERS, _LINES = "osD^vPX<", ("-", "--", "-.", ":")

_AXES = ("time", "frequency")
_UNITS = ("Hz of modulation", "cycles per mel channel")


class Picture(NamedTuple):
    """A figure with what goes along with it.

    Attributes:
        name: for its files, without a suffix.
        figure: 7 inches wide, wider for networks of more than six layers.
        alt: one sentence with the numbers that matter, for those who cannot see it.
    """

    name: str
    figure: Figure
    alt: str


@contextmanager
def styled(dark: bool = False) -> Iterator[None]:
    """The look of all pictures: figures made within have it.

    Args:
        dark: light ink on a dark background, for pages that have both.
    """
    columns = zip(cycle(_COLOURS[dark]), cycle(_MARKERS), cycle(_LINES), strict=False)
    colours, markers, lines = zip(*islice(columns, _LOOKS), strict=True)
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    style: dict[Any, Any] = dict.fromkeys(inked, INK[dark]) | {
        "figure.facecolor": PAPER[dark],
        "axes.facecolor": PAPER[dark],
        "axes.prop_cycle": cycler(color=colours, marker=markers, linestyle=lines),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8.5,
        "figure.labelsize": 8.5,
        "figure.titlesize": 9,
        "font.size": 8.5,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "lines.markersize": 5,
        "text.parse_math": False,  # a $ in a name is no formula
    }
    with matplotlib.rc_context(style):
        yield


def pictures(
    runs: Sequence[TrainedRun], names: Sequence[str] | None = None, frames: int = 100, dark: bool = False
) -> list[Picture]:
    """Every picture that the runs have something to show in.

    Args:
        runs: of any depth and kind of downsampling, with a log or without.
        names: of each run the name of its group, whose runs are drawn alike and averaged; by default what
            sets its recipe apart, see `titles`.
        frames: length of the spectrogram that goes in, 100 to the second.
        dark: see `styled`.

    Returns:
        "trajectories" (of runs with a log), "windows" or "windows_1", "windows_2" … (of each run whose
        downsampling has a low-pass window), "cutoffs" (of the same), "stride_plane" and "downsampling".
    """
    names = titles(runs) if names is None else names
    windowed = [run for run in runs if has_window(run.classifier)]
    with styled(dark):
        drawn = [trajectories(runs, names)]
        for number, run in enumerate(windowed, 1):
            drawn.append(windows(run, frames, f"windows_{number}" if len(windowed) > 1 else "windows"))
        drawn.append(first_layer_cutoffs(runs, names, frames))
        drawn += [stride_plane(runs, names), downsampling(runs, names, frames)]
    return [picture for picture in drawn if picture]


def save(drawn: Sequence[Picture], folder: Path) -> list[Path]:
    """Write each picture as NAME.png (150 dots per inch) and NAME.svg, the same bytes for the same picture.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for picture in drawn:
        png, vector = folder / f"{picture.name}.png", folder / f"{picture.name}.svg"
        _settle(picture.figure)
        picture.figure.savefig(png, dpi=150)
        vector.write_text(svg(picture.figure), encoding="utf-8")
        files += [png, vector]
    return files


def svg(figure: Figure) -> str:
    """A figure as an SVG document that needs nothing else: letters are outlines, whatever fonts there are."""
    text = io.StringIO()
    _settle(figure)
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "audiostride"}):
        figure.savefig(text, format="svg", dpi=150, metadata={"Date": None})
    return text.getvalue()


def _settle(figure: Figure) -> None:
    """Lay it out once and for all: laid out again at each drawing, it would move by fractions of a dot."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def trajectories(runs: Sequence[TrainedRun], names: Sequence[str]) -> Picture | None:
    """Strides of each layer over time and frequency from step 0 on, as the runs' logs tell them.

    Returns:
        None where no run has a log.
    """
    logged = [(run, name) for run, name in zip(runs, names, strict=True) if run.log]
    if not logged:
        return None
    looks = {name: look | {"marker": ""} for name, look in _looks(name for _, name in logged).items()}
    depth = max(len(run.recipe.model.strides) for run, _ in logged)
    figure, panels = _panels(depth, [f"stride over {axis}" for axis in _AXES], ("", "step"))
    ends: dict[str, list[tuple[float, float]]] = {}
    for run, name in logged:
        steps = [0, *(line["step"] for line in run.log)]
        course = np.array([run.recipe.model.strides, *(line["strides"] for line in run.log)])
        for layer, axis in np.ndindex(course.shape[1:]):
            panels[axis, layer].plot(steps, course[:, layer, axis], **looks[name])
        ends.setdefault(name, []).append(tuple(course[-1, 0]))
    for panel in panels[:, 0]:
        panel.xaxis.set_major_locator(MaxNLocator(2, integer=True))
    _legend(figure, looks)
    told = _told({name: _pair(np.mean(pairs, axis=0)) for name, pairs in ends.items()})
    alt = f"Strides of every layer over training steps; the first layer's (time × frequency) end at {told}."
    return Picture("trajectories", figure, alt)


def windows(run: TrainedRun, frames: int = 100, name: str = "windows") -> Picture:
    """`draw_windows` of a run, from the strides on that its recipe begins with."""
    figure = draw_windows(run.classifier, run.recipe.model.strides, frames)
    figure.suptitle(textwrap.fill(f"Low-pass windows of {run.name}", 90))
    first = stride_table(run.classifier, frames)[:2]
    edges = " and ".join(f"{cell(row['pass_band'])} {unit}" for row, unit in zip(first, _UNITS, strict=True))
    alt = (
        f"Gain of every layer's low-pass windows in {run.name}, at the start and trained; "
        f"the first layer's trained ones are 1 up to {edges}."
    )
    return Picture(name, figure, alt)


def draw_windows(
    classifier: Classifier, initial_strides: Sequence[Sequence[float]], frames: int = 100
) -> Figure:
    """The low-pass windows of every layer at the start and as they are, over time and over frequency.

    A curve is the gain at the DFT bins of the layer's input, up to its Nyquist frequency. What is shaded lies
    above that: layers before have removed it. The number is the pass-band edge as it is.

    Args:
        classifier: with spectral pooling or DiffStride, on any device.
        initial_strides: of each layer, (time, frequency).
        frames: length of the spectrogram that goes in, 100 to the second.

    Raises:
        ValueError: for a classifier that downsamples otherwise.
    """
    trunk, frontend = classifier.trunk, classifier.frontend
    if not has_window(classifier):
        raise ValueError(f"{trunk.downsampling} downsampling has no low-pass window")
    strides = trunk.strides.tolist()
    ink = matplotlib.rcParams["text.color"]
    colour = _looks(["trained"])["trained"]["color"]
    looks = {
        "at the start": {"color": ink, "linestyle": "--", "linewidth": 0.9, "marker": ""},
        "trained, with its pass-band edge": {"color": colour, "linestyle": "-", "marker": ""},
    }
    figure, panels = _panels(len(strides), [f"gain over {axis}" for axis in _AXES], ("Hz", "cycles/mel"))
    sizes = (frames, frontend.mel_channels)
    extents = (frames * frontend.hop / frontend.sample_rate, frontend.mel_channels)
    for axis, (size, extent) in enumerate(zip(sizes, extents, strict=True)):
        for pairs, look in zip((initial_strides, strides), looks.values(), strict=True):
            lengths = _lengths([pair[axis] for pair in pairs], size, trunk.window)
            for panel, n, pair in zip(panels[axis], lengths, pairs, strict=True):
                gain = gains(n, pair[axis], trunk.window)
                # All maps last as long as the spectrogram, so bins are equally far apart in all layers.
                panel.plot(np.arange(len(gain)) / extent, gain, **look)
        for panel, n, pair in zip(panels[axis], lengths, strides, strict=True):
            panel.axvspan(n / 2 / extent, size / 2 / extent, color=ink, alpha=0.09, linewidth=0)
            edge = cutoffs(n, pair[axis], trunk.window, n / extent).pass_band
            side = "left" if edge < size / 3 / extent else "right"
            panel.text(edge, 0.7, f"  {edge:.3g} ", color=colour, fontsize="small", ha=side)
        panels[axis, 0].set_xlim(0, size / 2 / extent)
    _legend(figure, looks)
    return figure


def _lengths(strides: Sequence[float], size: int, window: Window) -> list[int]:
    """Of an axis at the input of each layer."""
    lengths = [size]
    for stride in strides[:-1]:
        lengths.append(window.output_length(lengths[-1], stride))
    return lengths


def first_layer_cutoffs(
    runs: Sequence[TrainedRun], names: Sequence[str], frames: int = 100
) -> Picture | None:
    """Cut-offs of the first layer, mean and standard deviation of each group: its pass-band edge, and on a
    line from there its stop-band edge, where that exists.

    Returns:
        None where no run has a low-pass window.
    """
    tables = [
        (name, stride_table(run.classifier, frames))
        for run, name in zip(runs, names, strict=True)
        if has_window(run.classifier)
    ]
    if not tables:
        return None
    looks = _looks(name for name, _ in tables)
    figure, panels = _dots(list(looks), 2)
    ink = matplotlib.rcParams["text.color"]
    told: dict[str, list[str]] = {name: [] for name in looks}
    for panel, axis, unit in zip(panels, _AXES, _UNITS, strict=True):
        rows = [row for row in grouped(tables) if (row["layer"], row["axis"]) == (1, axis)]
        for place, (name, row) in enumerate(zip(looks, rows, strict=True)):
            edge, stop = row["pass_band"], row["stop_band"]
            plain = {"color": looks[name]["color"], "linestyle": "-", "linewidth": 0.8}
            panel.errorbar(edge.mean, place, xerr=edge.deviation, elinewidth=2.5, **looks[name])
            if stop:
                panel.plot([edge.mean, stop.mean], [place, place], **plain, marker="|", markevery=[1])
            _beside(panel, place, cell(edge))
            told[name].append(f"{cell(edge)} {unit}")
        panel.set_xlabel(f"cut-off over {axis},\n{unit}")
    panels[0].axvline(SPEECH_HZ, color=ink, linewidth=0.8, linestyle=":", marker="")
    above = panels[0].get_xaxis_transform()
    label = f"{SPEECH_HZ:g} Hz: speech modulation\n(as in Riad et al. 2022)"
    panels[0].text(SPEECH_HZ, 1.02, label, transform=above, ha="center", fontsize="small")
    for panel in panels:
        low, high = panel.get_xlim()
        panel.set_xlim(0.9 * low, 1.1 * high)  # so that small differences look small
    edges = {"pass-band edge ± standard deviation": "o", "stop-band edge": "|"}
    _legend(figure, {name: {"color": ink, "linestyle": "", "marker": m} for name, m in edges.items()})
    joined = _told({name: " and ".join(texts) for name, texts in told.items()})
    return Picture("cutoffs", figure, f"Cut-offs of the first layer; the pass band reaches up to {joined}.")


def stride_plane(runs: Sequence[TrainedRun], names: Sequence[str]) -> Picture:
    """Stride over time against stride over frequency, the first layer large and the others small: of each
    group the mean and standard deviation, and a line from where it began."""
    looks, members = _looks(names), _members(runs, names)
    figure, panels = _first_and_others(max(len(run.recipe.model.strides) for run in runs))
    told: dict[str, str] = {}
    for (layer, panel), name in product(enumerate(panels), looks):
        deep = [run for run in members[name] if layer < len(run.recipe.model.strides)]
        if deep:
            means = _draw_in_plane(panel, deep, layer, looks[name])
            told.setdefault(name, _pair(means))
    ink = matplotlib.rcParams["text.color"]
    for alike in (panels[:1], panels[1:]):
        limits = [edge for panel in alike for edge in (*panel.get_xlim(), *panel.get_ylim())]
        if limits:
            margin = 0.08 * (max(limits) - min(limits))
            square = (min(limits) - margin, max(limits) + margin)
            for panel in alike:
                panel.set(xlim=square, ylim=square)
                panel.plot(square, square, color=ink, linewidth=0.6, linestyle=":", marker="")
    points = {name: look | {"linestyle": ""} for name, look in looks.items()}
    _legend(figure, points | {"at the start": {"color": ink, "marker": "+", "linestyle": ""}})
    alt = f"Strides over time and over frequency of each layer; the first layer's are {_told(told)}."
    return Picture("stride_plane", figure, alt)


def _draw_in_plane(
    panel: Axes, runs: Sequence[TrainedRun], layer: int, look: Mapping[str, Any]
) -> tuple[float, float]:
    """One group's strides at the start and as they are; returns their means, as they are."""
    begin = np.mean([run.recipe.model.strides[layer] for run in runs], axis=0)
    trained = zip(*(run.classifier.trunk.strides[layer].tolist() for run in runs), strict=True)
    time, frequency = map(Spread.of, trained)
    thin = {"color": look["color"], "linestyle": "-", "linewidth": 0.8, "marker": ""}
    panel.plot([begin[0], time.mean], [begin[1], frequency.mean], **thin)
    panel.plot(*begin, color=matplotlib.rcParams["text.color"], marker="+", zorder=3)
    panel.errorbar(time.mean, frequency.mean, xerr=time.deviation, yerr=frequency.deviation, **look)
    return time.mean, frequency.mean


def downsampling(runs: Sequence[TrainedRun], names: Sequence[str], frames: int = 100) -> Picture:
    """How many values of the spectrogram there are to one of a run's last map; beside it the product of all
    strides, which it would be but for what the windows' ramps keep, and for rounding."""
    looks = _looks(names)
    figure, (panel,) = _dots(list(looks), 1)
    told = {}
    for place, (name, members) in enumerate(_members(runs, names).items()):
        tables = [stride_table(run.classifier, frames) for run in members]
        effective = [prod(row["effective_stride"] for row in rows) for rows in tables]
        nominal = [prod(row["stride"] for row in rows) for rows in tables]
        points = {"color": looks[name]["color"], "marker": looks[name]["marker"], "linestyle": ""}
        ends = [min(effective + nominal), max(effective + nominal)]
        panel.plot(ends, [place] * 2, color=points["color"], linestyle="-", linewidth=0.8, marker="")
        panel.plot(nominal, [place] * len(nominal), **points, fillstyle="none")
        panel.plot(effective, [place] * len(effective), **points)
        told[name] = f"{mean(effective):.0f}, nominally {mean(nominal):.0f}"
        _beside(panel, place, told[name])
    low, high = panel.dataLim.intervalx
    panel.set(xscale="log", xlim=(low / 2, high * 2))  # wide enough for a tick
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("values of the spectrogram per value of the last map")
    ink = {"color": matplotlib.rcParams["text.color"], "marker": "o", "linestyle": ""}
    _legend(figure, {"effective": ink, "nominal, product of strides": ink | {"fillstyle": "none"}})
    return Picture("downsampling", figure, f"Global downsampling: {_told(told)}.")


def _members(runs: Sequence[TrainedRun], names: Sequence[str]) -> dict[str, list[TrainedRun]]:
    groups: dict[str, list[TrainedRun]] = {name: [] for name in names}
    for run, name in zip(runs, names, strict=True):
        groups[name].append(run)
    return groups


def _looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A colour with a marker and a line style for each name, in the order in which they come first."""
    looks = cycle(matplotlib.rcParams["axes.prop_cycle"])
    return {name: {"marker": "o", "linestyle": "-"} | next(looks) for name in dict.fromkeys(names)}


def _panels(layers: int, ylabels: Sequence[str], xlabels: Sequence[str]) -> tuple[Figure, Any]:
    """Time above frequency, a column per layer: axes (2, layers), which share y, and along a row x."""
    figure = Figure(figsize=(max(7.0, 1.1 * layers + 0.4), 3.6), layout="constrained")
    panels = figure.subplots(2, layers, squeeze=False, sharex="row", sharey=True)
    for row, ylabel, xlabel in zip(panels, ylabels, xlabels, strict=True):
        row[0].set_ylabel(ylabel)
        for panel in row:
            panel.set_xlabel(xlabel, fontsize="small")
    for layer, panel in enumerate(panels[0], 1):
        panel.set_title(f"layer {layer}")
    return figure, panels


def _first_and_others(layers: int) -> tuple[Figure, list[Axes]]:
    """A large panel for the first layer, and small ones in two columns for the others."""
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


def _dots(names: Sequence[str], columns: int) -> tuple[Figure, Sequence[Axes]]:
    """Panels side by side with a row per name, the first one on top."""
    figure = Figure(figsize=(7.0, 1.5 + 0.4 * len(names)), layout="constrained")
    (panels,) = figure.subplots(1, columns, squeeze=False, sharey=True)
    panels[0].set_yticks(range(len(names)), [textwrap.fill(name, 28) for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    for panel in panels:
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="y", alpha=0.25, linewidth=0.6)
    return figure, panels


def _beside(panel: Axes, place: float, text: str) -> None:
    """To the right of a row."""
    panel.text(1.02, place, text, transform=panel.get_yaxis_transform(), va="center", fontsize="small")


def _legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Below the panels; of a single name there is nothing to tell apart."""
    if len(looks) > 1:
        labels = [textwrap.fill(name, 40) for name in looks]
        widest = max(len(line) for label in labels for line in label.splitlines())
        handles = [
            Line2D([], [], **look, label=label) for look, label in zip(looks.values(), labels, strict=True)
        ]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(len(looks), 4, 96 // (widest + 6))
        )


def _pair(strides: Iterable[float]) -> str:
    return " × ".join(f"{stride:.3g}" for stride in strides)


def _told(of_groups: Mapping[str, str]) -> str:
    """What there is to say of each group, with its name where there are several."""
    if len(of_groups) == 1:
        return next(iter(of_groups.values()))
    return "; ".join(f"{text} ({name})" for name, text in of_groups.items())
