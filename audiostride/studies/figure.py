"""A figure of a study's accuracies against the cost of its models."""

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
            return save_figures([accuracy_against_cost(tables[table.title])], folder)
    raise UserError(f"{study.file} has no accuracies to draw: leave --plot out, or add 'show: accuracy'")


def accuracy_against_cost(rows: Rows, dark: bool = False) -> NamedFigure:
    """Draw a point per row of a table of accuracies, with bars of one standard deviation; a panel per cost.

    Args:
        rows: the columns that identify a row, task, accuracy_percent, mega_macs_with_frontend and perhaps
            training_ms, see `results.tables`.
        dark: see `figure_style`.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    costs = [cost for cost in _COSTS if cost in rows[0]]
    with figure_style(dark):
        figure = Figure(figsize=(7, 4.5 * len(costs)), layout="constrained")
        (panels,) = figure.subplots(len(costs), 1, squeeze=False).T
        for panel, cost in zip(panels, costs, strict=True):
            for task in tasks:
                _draw_task(panel, [row for row in rows if row["task"] == task], task, cost)
            _label_axes(panel, cost)
        if len(tasks) > 1:
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    points = (
        f"{_name(row)} {cell(row['accuracy_percent'])} % at {cell(row['mega_macs_with_frontend'])}"
        for row in rows
    )
    alt = f"Test accuracy against million multiply-accumulates for one window: {'; '.join(points)}."
    return NamedFigure("accuracy_against_cost", figure, alt)


def _label_axes(panel: Axes, cost: str) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.margins(x=0.1, y=0.1)
    panel.set_xlabel(_COSTS[cost])
    panel.set_ylabel("test accuracy in %")


def _draw_task(panel: Axes, rows: Rows, task: str, cost: str) -> None:
    costs, accuracies = ([row[name] for row in rows] for name in (cost, "accuracy_percent"))
    panel.errorbar(
        [cost.mean for cost in costs],
        [accuracy.mean for accuracy in accuracies],
        xerr=[cost.deviation or 0 for cost in costs],
        yerr=[accuracy.deviation or 0 for accuracy in accuracies],
        linestyle="",
        elinewidth=0.8,
        label=task,
    )
    for row, x, y in zip(rows, costs, accuracies, strict=True):
        name = _name(row).removesuffix(f" {task}")
        panel.annotate(name, (x.mean, y.mean), (5, 4), textcoords="offset points", size="small")


def _name(row: dict[str, Any]) -> str:
    """Return the columns that identify a row: those up to its task."""
    names = list(row)
    return " ".join(str(row[name]) for name in names[: names.index("task") + 1])
