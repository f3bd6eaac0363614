"""The figure of what networks cost over training, and in which of their parts."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from audiostride.analysis.figures import NamedFigure, add_legend, group_styles, ink, join_by_group
from audiostride.analysis.trained import TrainedRun
from audiostride.models.network_cost import macs_of_parts
from audiostride.report.learning_curves import metric_course
from audiostride.tables import cell


def draw_cost(runs: Sequence[TrainedRun], names: Sequence[str]) -> NamedFigure:
    """Draw the multiply-accumulates of networks over training, and those of their parts at the end.

    Args:
        runs: runs with a log or without.
        names: the group of each run. The runs of a group look alike.
    """
    styles = group_styles(names)
    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    course, parts = figure.subplots(1, 2, width_ratios=(1, 1.4))
    ends: dict[str, str] = {}
    for run, name in zip(runs, names, strict=True):
        steps, costs = metric_course(run, "cost/all")
        line = styles[name] | {"marker": "o" if len(steps) == 1 else ""}  # a line of one point is invisible
        course.plot(steps, costs, **line)
        if run.recipe.training.budget is not None and run.recipe_known:
            course.axhline(run.recipe.training.budget / 1e6, color=ink(), linewidth=0.8, linestyle="--")
        classifier = run.classifier
        macs = macs_of_parts(classifier.frontend, classifier.trunk, classifier.window_s)
        ends.setdefault(name, f"{cell(macs.pop('all') / 1e6)} million")
        parts.plot(list(macs), [value / 1e6 for value in macs.values()], **styles[name], markersize=4)
    _label(course, parts)
    add_legend(figure, styles)
    return NamedFigure("cost", figure, f"The networks end at {join_by_group(ends)} multiply-accumulates.")


def _label(course: Axes, parts: Axes) -> None:
    course.set(xlabel="step", ylabel="million multiply-accumulates", title="over training")
    course.set_xlim(left=0)
    course.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    parts.set(title="of each part")
    parts.tick_params(axis="x", rotation=90, labelsize="small")
    for panel in (course, parts):
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.25, linewidth=0.6, linestyle="-")
