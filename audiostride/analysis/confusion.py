"""Confusion matrices: which labels a model mistakes for which."""

from collections.abc import Sequence

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from audiostride.analysis.figures import NamedFigure

# With more labels there is no room for their names, or for a count in each cell.
_MOST_NAMES, _MOST_COUNTS = 40, 12


def confusion_counts(outcomes: Tensor, classes: int) -> Tensor:
    """Count the recordings of each label and prediction.

    Args:
        outcomes: (recordings, 2), number of the label and number of the prediction of each recording.
        classes: number of labels.

    Returns:
        (classes, classes), a row per label and a column per prediction.
    """
    labels, predictions = outcomes.cpu().T
    return torch.bincount(labels * classes + predictions, minlength=classes**2).view(classes, classes)


def draw_confusion(task: str, outcomes: Tensor, labels: Sequence[str]) -> NamedFigure:
    """Draw the fraction of the recordings of each label that got each prediction.

    Args:
        task: name of the task and of the figure.
        outcomes: (recordings, 2), number of the label and number of the prediction of each recording.
        labels: names of all labels. Only those that occur as a label or prediction are drawn.
    """
    counts = confusion_counts(outcomes, len(labels))
    # Labels of earlier versions may be names of folders that are not UTF-8.
    labels = [label.encode("utf-8", "replace").decode() for label in labels]
    alt = (
        f"Confusion matrix of {task}: {int(counts.diagonal().sum())} of {len(outcomes)} correct"
        f"{_most_frequent_mistakes(counts, labels)}."
    )
    present = outcomes.unique().tolist()
    return NamedFigure(task, _draw(counts[present][:, present], [labels[n] for n in present]), alt)


def _draw(counts: Tensor, names: Sequence[str]) -> Figure:
    fractions = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    size = min(7.0, 2.2 + 0.3 * len(names))
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    panel = figure.subplots()
    light = sum(to_rgb(matplotlib.rcParams["axes.facecolor"])) > 1.5
    matrix = panel.imshow(fractions.numpy(), cmap="Blues" if light else "Blues_r", vmin=0, vmax=1)
    figure.colorbar(matrix, label="fraction of the label's recordings", shrink=0.8)
    panel.set_xlabel("prediction")
    panel.set_ylabel("label")
    shown = names if len(names) <= _MOST_NAMES else []
    panel.set_xticks(range(len(shown)), shown, rotation=90)
    panel.set_yticks(range(len(shown)), shown)
    if len(names) <= _MOST_COUNTS:
        _write_counts(panel, counts, (fractions > 0.5) == light)
    return figure


def _write_counts(panel: Axes, counts: Tensor, white: Tensor) -> None:
    """Write the count into each cell, in white where `white` is true and else in black."""
    for row, column in torch.cartesian_prod(*map(torch.arange, counts.shape)).tolist():
        colour = "white" if white[row, column] else "black"
        text = str(int(counts[row, column]))
        panel.text(column, row, text, ha="center", va="center", color=colour, fontsize="small")


def _most_frequent_mistakes(counts: Tensor, labels: Sequence[str], most: int = 3) -> str:
    per_label = counts.sum(1)
    mistakes = counts.clone().fill_diagonal_(0)
    places = mistakes.flatten().topk(min(most, mistakes.numel())).indices.tolist()
    texts = [
        f"{labels[row]} taken for {labels[column]} ({int(mistakes[row, column])} of {int(per_label[row])})"
        for row, column in (divmod(place, len(labels)) for place in places)
        if mistakes[row, column]
    ]
    return f"; most often {', '.join(texts)}" if texts else ""
