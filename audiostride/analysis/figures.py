"""The look of all figures, and how they are written to files.

Figures are plain `matplotlib.figure.Figure` objects, made without pyplot: matplotlib keeps no reference to
them, and no display is needed.
"""

import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.rcsetup import cycler

# The keyword arguments of a matplotlib line.
LineStyle = dict[str, Any]

# Colours of background and ink, by whether the style is dark. Pages that embed figures use them too.
BACKGROUND = {False: "#ffffff", True: "#14171c"}
INK = {False: "#1b1b1b", True: "#e6e6e6"}
# The palette of Okabe and Ito 2008, which colour-blind readers can tell apart. Colours with a high contrast
# to the background come first.
_COLOURS = {
    False: ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"),
    True: ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#ffffff"),
}
_MARKERS, _LINES = "osD^vPX<", ("-", "--", "-.", ":")
_DPI = 150  # dots per inch of files
# Least common multiple of the numbers of colours, markers and lines: combinations repeat after as many.
_COMBINATIONS = 56


class NamedFigure(NamedTuple):
    """A figure with its name and a description.

    Attributes:
        name: name of its files, without a suffix.
        figure: at least 7 inches wide.
        alt: one sentence with the most important numbers, for readers who cannot see the figure.
    """

    name: str
    figure: Figure
    alt: str


@contextmanager
def figure_style(dark: bool = False) -> Iterator[None]:
    """Give all figures that are made in this context the same look.

    Args:
        dark: draw with light ink on a dark background.
    """
    combinations = zip(cycle(_COLOURS[dark]), cycle(_MARKERS), cycle(_LINES), strict=False)
    colours, markers, lines = zip(*islice(combinations, _COMBINATIONS), strict=True)
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    style: dict[Any, Any] = dict.fromkeys(inked, INK[dark]) | {
        "figure.facecolor": BACKGROUND[dark],
        "axes.facecolor": BACKGROUND[dark],
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
        "text.parse_math": False,  # a name may contain $
    }
    with matplotlib.rc_context(style):
        yield


def ink() -> str:
    """Return the colour of text in the present style."""
    return matplotlib.rcParams["text.color"]


def group_styles(names: Iterable[str]) -> dict[str, LineStyle]:
    """Return a colour, a marker and a line style for each distinct name, in order of first appearance."""
    styles = cycle(matplotlib.rcParams["axes.prop_cycle"])
    return {name: {"marker": "o", "linestyle": "-"} | next(styles) for name in dict.fromkeys(names)}


def panels_per_layer(
    layers: Sequence[str],
    ylabels: Sequence[str],
    xlabels: Sequence[str],
    sharex: Literal["row", "none"] = "none",
) -> tuple[Figure, Any]:
    """Make panels (2, layers): time above frequency, a column per name of a layer. All share the y axis."""
    figure = Figure(figsize=(max(7.0, 1.1 * len(layers) + 0.4), 3.6), layout="constrained")
    panels = figure.subplots(2, len(layers), squeeze=False, sharex=sharex, sharey=True)
    for row, ylabel, xlabel in zip(panels, ylabels, xlabels, strict=True):
        row[0].set_ylabel(ylabel)
        for panel in row:
            panel.set_xlabel(xlabel, fontsize="small")
    for name, panel in zip(layers, panels[0], strict=True):
        panel.set_title(name)
    return figure, panels


def mark_as_fixed(panel: Axes) -> None:
    """Say in an empty panel that its layer has no stride over this axis, which keeps its resolution."""
    panel.text(0.5, 0.5, "not learned", transform=panel.transAxes, ha="center", fontsize="small")
    panel.set(xlabel="", xticks=[])


def add_legend(figure: Figure, styles: Mapping[str, LineStyle]) -> None:
    """Add a legend below the panels if there are at least two entries."""
    if len(styles) < 2:
        return
    labels = [textwrap.fill(name, 40) for name in styles]
    longest = max(len(line) for label in labels for line in label.splitlines())
    handles = [
        Line2D([], [], **style, label=label) for style, label in zip(styles.values(), labels, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(styles), 4, 96 // (longest + 6)))


def join_by_group(texts: Mapping[str, str]) -> str:
    """Join one text per group for an `alt`. The name of the group is added if there are several groups."""
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{text} ({name})" for name, text in texts.items())


def save_figures(figures: Sequence[NamedFigure], folder: Path) -> list[Path]:
    """Write each figure as NAME.png (150 dots per inch) and NAME.svg, and return the files.

    The same figure always gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for named in figures:
        png_file, svg_file = folder / f"{named.name}.png", folder / f"{named.name}.svg"
        _freeze_layout(named.figure)
        named.figure.savefig(png_file, dpi=_DPI)
        svg_file.write_text(svg(named.figure), encoding="utf-8")
        files += [png_file, svg_file]
    return files


def svg(figure: Figure) -> str:
    """Return a figure as an SVG document without references. Text is drawn as outlines and needs no fonts."""
    text = io.StringIO()
    _freeze_layout(figure)
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "audiostride"}):
        figure.savefig(text, format="svg", dpi=_DPI, metadata={"Date": None})
    return text.getvalue()


def _freeze_layout(figure: Figure) -> None:
    """Compute the layout once: the engine would move panels by fractions of a dot in each drawing."""
    if figure.get_layout_engine() is not None:
        figure.set_dpi(_DPI)  # the width of text, in inches, depends on the resolution
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def row_per_name(names: Sequence[str], columns: int) -> tuple[Figure, Sequence[Axes]]:
    """Make panels side by side that share a row per name, the first name at the top."""
    figure = Figure(figsize=(7.0, 1.5 + 0.4 * len(names)), layout="constrained")
    (panels,) = figure.subplots(1, columns, squeeze=False, sharey=True)
    panels[0].set_yticks(range(len(names)), [textwrap.fill(name, 28) for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    for panel in panels:
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="y", alpha=0.25, linewidth=0.6)
    return figure, panels


def text_right_of(panel: Axes, y: float, text: str) -> None:
    panel.text(1.02, y, text, transform=panel.get_yaxis_transform(), va="center", fontsize="small")
