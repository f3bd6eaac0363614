"""The images that a report embeds: figures as data URIs, in a light and a dark version."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from audiostride.analysis.confusion import draw_confusion
from audiostride.analysis.figures import NamedFigure, figure_style, svg
from audiostride.analysis.filter_figure import draw_filters
from audiostride.analysis.learning_figures import draw_stride_plane, draw_trajectories
from audiostride.analysis.resolution_figure import draw_resolution
from audiostride.analysis.stride_figures import draw_cutoffs, draw_downsampling
from audiostride.analysis.strided_layers import low_pass_layers
from audiostride.analysis.trained import TrainedRun
from audiostride.analysis.window_figure import draw_windows
from audiostride.report.cost_figure import draw_cost
from audiostride.report.examine import Examination
from audiostride.report.learning_curves import draw_learning_curves
from audiostride.training.evaluate import Evaluation

# Longest name of a group, in characters, for which a legend has room.
_LONGEST_NAME = 56
_PIXELS_PER_INCH = 96  # of CSS

Draw = Callable[[], Sequence[NamedFigure | None]]


class Image(NamedTuple):
    """A figure as data URIs.

    Attributes:
        name: name of the figure.
        light: the version for light pages.
        dark: the version for dark pages.
        alt: description for readers who cannot see the image.
        width: in CSS pixels.
        height: in CSS pixels.
    """

    name: str
    light: str
    dark: str
    alt: str
    width: int
    height: int


def comparison_images(examined: Sequence[Examination]) -> list[Image]:
    """Draw the figures that compare several runs."""
    runs, names = [one.run for one in examined], group_names(examined)
    return _light_and_dark(
        lambda: [draw_learning_curves(runs, names), draw_cost(runs, names), *_draw_strides(runs, names)]
    )


def run_images(one: Examination, alone: bool) -> list[Image]:
    """Draw the figures of one run, learning curves and cost first.

    Args:
        one: the run.
        alone: whether the report has no other run. Otherwise the comparison shows the strides.
    """
    runs, names, classifier = [one.run], [Path(one.run.name).name], one.run.classifier

    def draw() -> list[NamedFigure | None]:
        figures = [draw_learning_curves(runs, names, one.step), draw_cost(runs, names)]
        if low_pass_layers(classifier):
            figures.append(draw_windows(classifier, title=one.run.name))
        figures.append(draw_filters(classifier, one.run.name))
        return figures + (_draw_strides(runs, names) if alone else [])

    return _light_and_dark(draw)


def confusion_images(evaluation: Evaluation) -> list[Image]:
    """Draw a confusion matrix per task. The name of an image is that of the task."""
    return _light_and_dark(
        lambda: [
            draw_confusion(task, outcomes, evaluation.labels[task])
            for task, outcomes in evaluation.outcomes.items()
        ]
    )


def group_names(examined: Sequence[Examination]) -> list[str]:
    """Return the name of each run's group in figures.

    This is the title of the run. If a title is too long, groups are named by the folder of their first run,
    for example "a-0 and 2 more".
    """
    titles = [one.title for one in examined]
    if max(map(len, titles)) <= _LONGEST_NAME:
        return titles
    first = {one.title: one.run.name for one in reversed(examined)}
    folders = {title: Path(name).name for title, name in first.items()}
    short = folders if len({*folders.values()}) == len(folders) else first
    others = {title: titles.count(title) - 1 for title in titles}
    return [short[title] + (f" and {others[title]} more" if others[title] else "") for title in titles]


def _draw_strides(runs: Sequence[TrainedRun], names: Sequence[str]) -> list[NamedFigure | None]:
    return [
        draw_trajectories(runs, names),
        draw_resolution(runs, names),
        draw_cutoffs(runs, names),
        draw_stride_plane(runs, names),
        draw_downsampling(runs, names),
    ]


def _light_and_dark(draw: Draw) -> list[Image]:
    versions = []
    for dark in (False, True):
        with figure_style(dark):
            versions.append([figure for figure in draw() if figure])
    return [_image(light, dark) for light, dark in zip(*versions, strict=True)]


def _image(light: NamedFigure, dark: NamedFigure) -> Image:
    width, height = (round(_PIXELS_PER_INCH * inches) for inches in light.figure.get_size_inches())
    return Image(light.name, _data_uri(light.figure), _data_uri(dark.figure), light.alt, width, height)


def _data_uri(figure: Figure) -> str:
    """Embed a figure as SVG, which is sharp at any size and no larger than PNG."""
    # SVG draws text as outlines, which are a little wider than the text that the layout is computed with.
    figure.set_layout_engine("constrained", w_pad=0.1)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg(figure).encode()).decode()}"
