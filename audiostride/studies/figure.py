"""The figure of a study: accuracies against the cost of its models, or side by side along an axis."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from audiostride.analysis.figures import NamedFigure, figure_style, save_figures
from audiostride.errors import UserError
from audiostride.studies.plan import Study
from audiostride.studies.results import Rows
from audiostride.tables import cell

_COSTS = {
    "mega_macs_with_frontend": "million multiply-accumulates for one window, with the frontend",
    "training_ms": "milliseconds of a training step, 32 windows",
}


def draw(study: Study, tables: dict[str, Rows], folder: Path) -> list[Path]:
    """Draw the first table of accuracies of a study, and return the PNG and SVG file.

    Args:
        study: the study.
        tables: the rows of its tables, see `results.tables`.
        folder: folder of the files.

    Raises:
        UserError: if there is no table of accuracies.
    """
    for table in study.tables:
        if table.show == "accuracy" and table.title in tables:
            rows = tables[table.title]
            columns = dict(zip(table.axes(study.grid), rows[0], strict=False))  # the first ones of a row
            lines = columns[table.lines] if table.lines else None
            if table.across:
                return save_figures([accuracy_across(rows, columns[table.across], lines)], folder)
            return save_figures([accuracy_against_cost(rows, lines)], folder)
    raise UserError(f"{study.file} has no accuracies to draw: leave --plot out, or add 'show: accuracy'")


def accuracy_against_cost(rows: Rows, lines: str | None = None, dark: bool = False) -> NamedFigure:
    """Draw a point per row of a table of accuracies, with bars of one standard deviation; a panel per cost.

    Args:
        rows: the columns that identify a row, task, accuracy_percent, mega_macs_with_frontend and perhaps
            training_ms, see `results.tables`.
        lines: column whose values are the lines, which join points in the order of their costs. By default
            each point has its name beside it.
        dark: see `figure_style`.
    """
    costs = [cost for cost in _COSTS if cost in rows[0]]
    with figure_style(dark):
        figure = Figure(figsize=(7, 4.5 * len(costs)), layout="constrained")
        (panels,) = figure.subplots(len(costs), 1, squeeze=False).T
        for panel, cost in zip(panels, costs, strict=True):
            for name, members in _lines(rows, lines).items():
                members = sorted(members, key=lambda row: row[cost].mean) if lines else members
                x = [row[cost].mean for row in members]
                xerr = [row[cost].deviation or 0 for row in members]
                _draw_line(panel, x, members, name, xerr=xerr, joined=bool(lines))
                if not lines:
                    _annotate(panel, x, members)
            _label_costs(panel, cost)
        _add_legend(figure, panels[0])
    points = (
        f"{_name(row)} {cell(row['accuracy_percent'])} % at {cell(row['mega_macs_with_frontend'])}"
        for row in rows
    )
    alt = f"Test accuracy against million multiply-accumulates for one window: {'; '.join(points)}."
    return NamedFigure("accuracy_against_cost", figure, alt)


def accuracy_across(rows: Rows, across: str, lines: str | None = None, dark: bool = False) -> NamedFigure:
    """Draw accuracies with bars of one standard deviation, side by side for the values of a column.

    Args:
        rows: see `accuracy_against_cost`.
        across: column whose values are side by side.
        lines: column whose values are the lines; by default all columns that remain.
        dark: see `figure_style`.
    """
    values = list(dict.fromkeys(row[across] for row in rows))
    with figure_style(dark):
        figure = Figure(figsize=(7, 4), layout="constrained")
        panel = figure.subplots()
        named = _lines(rows, lines, across)
        for number, (name, members) in enumerate(named.items()):
            # Points of one value stand beside each other, so that their bars do not overlap.
            shift = 0.5 * ((number + 0.5) / len(named) - 0.5)
            _draw_line(panel, [values.index(row[across]) + shift for row in members], members, name)
        panel.set_xticks(range(len(values)), values)
        panel.set_xlabel(across)
        panel.set_ylabel("test accuracy in %")
        panel.grid(axis="y", linewidth=0.3)
        _add_legend(figure, panel)
    points = (f"{_name(row)} {cell(row['accuracy_percent'])} %" for row in rows)
    return NamedFigure("accuracy_side_by_side", figure, f"Test accuracy: {'; '.join(points)}.")


def _lines(rows: Rows, lines: str | None, across: str | None = None) -> dict[str, Rows]:
    """Return the rows of each line by its name: a value of `lines` and, if there are several, a task.

    Without `lines`, it is the task alone, or with `across` all columns but that one.
    """
    several = len({row["task"] for row in rows}) > 1
    found: dict[str, Rows] = {}
    for row in rows:
        if lines:
            words = [row[lines], *([row["task"]] if several else [])]
        elif across:
            words = [row[name] for name in _identity(row) if name != across and (name != "task" or several)]
        else:
            words = [row["task"]]
        found.setdefault(" ".join(words), []).append(row)
    return found


def _draw_line(
    panel: Axes, x: list[float], rows: Rows, name: str, xerr: list[float] | None = None, joined: bool = False
) -> None:
    accuracies = [row["accuracy_percent"] for row in rows]
    y, yerr = [one.mean for one in accuracies], [one.deviation or 0 for one in accuracies]
    style: dict[str, Any] = {} if joined else {"linestyle": ""}
    panel.errorbar(x, y, xerr=xerr, yerr=yerr, elinewidth=0.8, label=name, **style)


def _annotate(panel: Axes, x: list[float], rows: Rows) -> None:
    for row, place in zip(rows, x, strict=True):
        name = _name(row).removesuffix(f" {row['task']}")
        at = (place, row["accuracy_percent"].mean)
        panel.annotate(name, at, (5, 4), textcoords="offset points", size="small")


def _label_costs(panel: Axes, cost: str) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.margins(x=0.1, y=0.1)
    panel.set_xlabel(_COSTS[cost])
    panel.set_ylabel("test accuracy in %")


def _add_legend(figure: Figure, panel: Axes) -> None:
    handles, labels = panel.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=3)


def _name(row: dict[str, Any]) -> str:
    """Return the columns that identify a row: those up to its task."""
    return " ".join(str(row[name]) for name in _identity(row))


def _identity(row: dict[str, Any]) -> list[str]:
    names = list(row)
    return names[: names.index("task") + 1]
