"""The pictures of a report, in light and dark: learning curves, confusion matrices, and those of strides."""

import base64
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from audiostride.analysis.confusion import confusion_counts, draw_confusion
from audiostride.analysis.plots import (
    Picture,
    downsampling,
    first_layer_cutoffs,
    has_window,
    stride_plane,
    styled,
    svg,
    trajectories,
    windows,
)
from audiostride.analysis.trained import TrainedRun
from audiostride.report.examine import Findings
from audiostride.training.evaluate import Evaluation

# Of each part of a run its name in the legend, and its line.
_PARTS = {"valid": ("validation", "-"), "train": ("training, last batch", ":")}
# Letters of a name that there is room for.
_LONGEST = 56
_METRICS = {"loss": 1, "accuracy": 100}
_MARK: dict[str, Any] = {"linewidth": 0.8, "linestyle": "--", "marker": "", "alpha": 0.7}


class Image(NamedTuple):
    """A picture for light pages and for dark ones, as data URIs, with its size in CSS pixels."""

    name: str
    light: str
    dark: str
    alt: str
    width: int
    height: int


def of_all(found: Sequence[Findings], frames: int) -> list[Image]:
    """What is best seen of several runs at once.

    Args:
        found: of each run.
        frames: of the windows that they are drawn for, 100 to the second.
    """
    runs, names = [one.run for one in found], group_names(found)
    return _in_both_looks(lambda: [learning_curves(runs, names), *_of_strides(runs, names, frames)])


def group_names(found: Sequence[Findings]) -> list[str]:
    """What pictures call the group of each run: its title, or where there is a long one the folders of runs.

    "a-0 and 2 more"
    """
    names = [one.title for one in found]
    if max(map(len, names)) <= _LONGEST:
        return names
    first = {one.title: one.run.name for one in reversed(found)}
    folders = {title: Path(name).name for title, name in first.items()}
    short = folders if len({*folders.values()}) == len(folders) else first
    more = {title: names.count(title) - 1 for title in names}
    return [short[title] + (f" and {more[title]} more" if more[title] else "") for title in names]


def of_one(one: Findings, alone: bool) -> list[Image]:
    """What a run has to show besides confusion matrices, learning curves first where it has a log.

    Args:
        one: of the run.
        alone: whether it is the only one; of one among several there is not again what is drawn of all.
    """
    runs, names = [one.run], [Path(one.run.name).name]

    def draw() -> list[Picture | None]:
        more = [windows(one.run, one.run.recipe.data.frames)] if has_window(one.run.classifier) else []
        strides = _of_strides(runs, names, one.run.recipe.data.frames) if alone else []
        return [learning_curves(runs, names, one.step), *more, *strides]

    return _in_both_looks(draw)


def _of_strides(runs: Sequence[TrainedRun], names: Sequence[str], frames: int) -> list[Picture | None]:
    return [
        trajectories(runs, names),
        first_layer_cutoffs(runs, names, frames),
        stride_plane(runs, names),
        downsampling(runs, names, frames),
    ]


def confusions(tested: Evaluation) -> list[Image]:
    """A confusion matrix per task, by the name of the task."""
    outcomes = tested.outcomes.items()
    return _in_both_looks(lambda: [_confusion(task, pairs, tested.labels[task]) for task, pairs in outcomes])


def _in_both_looks(draw: Callable[[], Sequence[Picture | None]]) -> list[Image]:
    looks = []
    for dark in (False, True):
        with styled(dark):
            looks.append([picture for picture in draw() if picture])
    return [_image(light, dark) for light, dark in zip(*looks, strict=True)]


def _image(light: Picture, dark: Picture) -> Image:
    width, height = (round(96 * inches) for inches in light.figure.get_size_inches())
    return Image(light.name, _uri(light.figure), _uri(dark.figure), light.alt, width, height)


def _uri(figure: Figure) -> str:
    """Drawn in lines, which are sharp at any size, and no larger than dots."""
    # Outlined letters are a little wider than those that a layout is made with.
    figure.set_layout_engine("constrained", w_pad=0.1)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg(figure).encode()).decode()}"


def _confusion(task: str, outcomes: Tensor, labels: Sequence[str]) -> Picture:
    """With what is taken for something else most often."""
    counts = confusion_counts(outcomes, len(labels))
    right, of_label = counts.diagonal().clone(), counts.sum(1)
    wrong = counts.fill_diagonal_(0)
    most_often = wrong.flatten().topk(min(3, wrong.numel())).indices.tolist()
    mistakes = [
        f"{labels[label]} taken for {labels[other]} ({int(wrong[label, other])} of {int(of_label[label])})"
        for label, other in (divmod(place, len(labels)) for place in most_often)
        if wrong[label, other]
    ]
    most = f"; most often {', '.join(mistakes)}" if mistakes else ""
    alt = f"Confusion matrix of {task}: {int(right.sum())} of {len(outcomes)} right{most}."
    return Picture(task, draw_confusion(outcomes, labels), alt)


def learning_curves(
    runs: Sequence[TrainedRun], names: Sequence[str], step: int | None = None
) -> Picture | None:
    """Loss and accuracy of each task at every validation: of what validates, and of the last training batch
    before it.

    Args:
        runs: with a log or without.
        names: of each run the name of its group, whose runs look alike.
        step: to mark, where the checkpoint was written.

    Returns:
        None where no run has a log.
    """
    logged = [(run, name) for run, name in zip(runs, names, strict=True) if run.log]
    if not logged:
        return None
    tasks = list(dict.fromkeys(task for run, _ in logged for task in run.classifier.labels))
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    groups = list(dict.fromkeys(name for _, name in logged))
    colours = {name: cycle[number % len(cycle)] for number, name in enumerate(groups)}
    figure = Figure(figsize=(max(7.0, 1.4 * len(tasks)), 4.2), layout="constrained")
    panels = figure.subplots(2, len(tasks), squeeze=False, sharex=True, sharey="row")
    for row, (metric, scale) in zip(panels, _METRICS.items(), strict=True):
        for panel, task in zip(row, tasks, strict=True):
            for run, name in logged:
                _draw(panel, run, f"{metric}/{task}", scale, colours[name])
            if step is not None:
                panel.axvline(step, color=matplotlib.rcParams["text.color"], **_MARK)
    _label(panels, tasks)
    _legend(figure, colours, step is not None)
    return Picture("learning_curves", figure, _told(logged, tasks))


def course(run: TrainedRun, metric: str) -> tuple[list[int], list[float]]:
    """Steps at which a metric was logged, and its values: "valid/loss/TASK", say."""
    logged = [line for line in run.log if metric in line.get("metrics", {})]
    return [line["step"] for line in logged], [line["metrics"][metric] for line in logged]


def _draw(panel: Axes, run: TrainedRun, metric: str, scale: float, colour: str) -> None:
    for part, (_, line) in _PARTS.items():
        steps, values = course(run, f"{part}/{metric}")
        # A single point makes no line.
        marker = "o" if len(steps) == 1 else ""
        panel.plot(steps, [scale * v for v in values], color=colour, linestyle=line, marker=marker)


def _label(panels: Any, tasks: Sequence[str]) -> None:
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


def _legend(figure: Figure, colours: dict[str, str], marked: bool) -> None:
    several, ink = len(colours) > 1, matplotlib.rcParams["text.color"]
    looks: dict[str, dict[str, Any]] = {}
    if several:
        looks = {textwrap.fill(name, 40): {"color": c, "linestyle": "-"} for name, c in colours.items()}
    plain = ink if several else next(iter(colours.values()))
    looks |= {name: {"color": plain, "linestyle": line} for name, line in _PARTS.values()}
    looks |= {"checkpoint": _MARK | {"color": ink}} if marked else {}
    handles = [Line2D([], [], **({"marker": ""} | look), label=name) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3))


def _told(logged: Sequence[tuple[TrainedRun, str]], tasks: Sequence[str]) -> str:
    """The accuracy that each task ends at, a mean over the runs of a group."""
    several = len({name for _, name in logged}) > 1
    ends: dict[str, list[float]] = {}
    for task in tasks:
        for run, name in logged:
            _, values = course(run, f"valid/accuracy/{task}")
            if values:
                ends.setdefault(f"{task}, {name}" if several else task, []).append(100 * values[-1])
    told = "; ".join(f"{mean(values):.1f} % ({name})" for name, values in ends.items())
    what = "Loss and accuracy of each task over the steps of training and validation"
    return f"{what}; validation accuracy ends at {told}." if told else f"{what}; nothing was validated."
