"""The figure of loss and accuracy over training."""

import textwrap
from collections.abc import Sequence
from statistics import mean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from audiostride.analysis.figures import LineStyle, NamedFigure, add_legend, ink
from audiostride.analysis.trained import TrainedRun

# The data that a metric was computed on: its name in the legend, and its line style.
_DATA = {"valid": ("validation", "-"), "train": ("training, last batch", ":")}
# Factor from the logged value of a metric to the drawn one.
_METRICS = {"loss": 1, "accuracy": 100}
_CHECKPOINT: LineStyle = {"linewidth": 0.8, "linestyle": "--", "marker": "", "alpha": 0.7}


def draw_learning_curves(
    runs: Sequence[TrainedRun], names: Sequence[str], step: int | None = None
) -> NamedFigure | None:
    """Draw loss and accuracy of each task, on the validation split and on the last training batch before it.

    Args:
        runs: runs with a log or without.
        names: the group of each run. The runs of a group have the same colour.
        step: step of the checkpoint, which a vertical line marks.

    Returns:
        None if no run has a log.
    """
    logged = [(run, name) for run, name in zip(runs, names, strict=True) if run.log]
    if not logged:
        return None
    tasks = list(dict.fromkeys(task for run, _ in logged for task in run.classifier.labels))
    palette = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    groups = list(dict.fromkeys(name for _, name in logged))
    colours = {name: palette[number % len(palette)] for number, name in enumerate(groups)}
    figure = Figure(figsize=(max(7.0, 1.4 * len(tasks)), 4.2), layout="constrained")
    panels = figure.subplots(2, len(tasks), squeeze=False, sharex=True, sharey="row")
    for row, (metric, factor) in zip(panels, _METRICS.items(), strict=True):
        for panel, task in zip(row, tasks, strict=True):
            for run, name in logged:
                _draw_metric(panel, run, f"{metric}/{task}", factor, colours[name])
            if step is not None:
                panel.axvline(step, color=ink(), **_CHECKPOINT)
    _label_axes(panels, tasks)
    add_legend(figure, _legend_styles(colours, step is not None))
    return NamedFigure("learning_curves", figure, _alt(logged, tasks))


def metric_course(run: TrainedRun, metric: str) -> tuple[list[int], list[float]]:
    """Return the steps at which a metric, for example "valid/loss/TASK", was logged, and its values."""
    logged = [line for line in run.log if metric in line.get("metrics", {})]
    return [line["step"] for line in logged], [line["metrics"][metric] for line in logged]


def _draw_metric(panel: Axes, run: TrainedRun, metric: str, factor: float, colour: str) -> None:
    for data, (_, line) in _DATA.items():
        steps, values = metric_course(run, f"{data}/{metric}")
        marker = "o" if len(steps) == 1 else ""  # a line through a single point is invisible
        panel.plot(steps, [factor * v for v in values], color=colour, linestyle=line, marker=marker)


def _label_axes(panels: Any, tasks: Sequence[str]) -> None:
    for panel, task in zip(panels[0], tasks, strict=True):
        panel.set_title(textwrap.fill(task, 20))
    panels[0, 0].set_ylabel("loss")
    panels[0, 0].set_ylim(bottom=0)
    panels[1, 0].set_ylabel("accuracy in %")
    panels[1, 0].set_ylim(0, 102)
    panels[0, 0].set_xlim(left=0)
    for panel in panels[1]:
        panel.set_xlabel("step", fontsize="small")
        panel.xaxis.set_major_locator(MaxNLocator(2 if len(tasks) > 3 else 6, integer=True))
    for panel in panels.flat:
        panel.grid(alpha=0.25, linewidth=0.6, linestyle="-")


def _legend_styles(colours: dict[str, str], with_checkpoint: bool) -> dict[str, LineStyle]:
    """Return a line per group if there are several, one per kind of data, and one for the checkpoint."""
    several = len(colours) > 1
    styles: dict[str, LineStyle] = {name: {"color": c} for name, c in colours.items()} if several else {}
    data_colour = ink() if several else next(iter(colours.values()))
    styles |= {name: {"color": data_colour, "linestyle": line} for name, line in _DATA.values()}
    if with_checkpoint:
        styles["checkpoint"] = _CHECKPOINT | {"color": ink()}
    return {name: {"marker": "", "linestyle": "-"} | style for name, style in styles.items()}


def _alt(logged: Sequence[tuple[TrainedRun, str]], tasks: Sequence[str]) -> str:
    """Describe the figure by the last validation accuracy of each task, a mean over the runs of a group."""
    several = len({name for _, name in logged}) > 1
    last: dict[str, list[float]] = {}
    for task in tasks:
        for run, name in logged:
            _, values = metric_course(run, f"valid/accuracy/{task}")
            if values:
                last.setdefault(f"{task}, {name}" if several else task, []).append(100 * values[-1])
    accuracies = "; ".join(f"{mean(values):.1f} % ({name})" for name, values in last.items())
    end = f"validation accuracy ends at {accuracies}" if last else "no validation accuracy is logged"
    return f"Loss and accuracy of each task over the steps of training and validation; {end}."
