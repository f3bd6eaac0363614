"""Which labels a model takes for which."""

from collections.abc import Sequence

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

# More labels than these have no room for a name each, or for a number in each cell.
_NAMED, _NUMBERED = 40, 12


def confusion_counts(outcomes: Tensor, classes: int) -> Tensor:
    """(recordings, 2) with each one's label and prediction to (classes, classes), how many of each pair."""
    labels, predicted = outcomes.cpu().T
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def draw_confusion(outcomes: Tensor, labels: Sequence[str]) -> Figure:
    """Of the recordings of each label, the share with each prediction.

    Args:
        outcomes: (recordings, 2), the number of the label and that of the prediction.
        labels: their names. Only those that occur, on either side, are drawn.
    """
    present = outcomes.unique().tolist()
    counts = confusion_counts(outcomes, len(labels))[present][:, present].double()
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    names = [labels[number] for number in present]
    size = min(7.0, 2.2 + 0.3 * len(names))
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    panel = figure.subplots()
    map_ = (
        "Blues" if sum(matplotlib.colors.to_rgb(matplotlib.rcParams["axes.facecolor"])) > 1.5 else "Blues_r"
    )
    image = panel.imshow(shares.numpy(), cmap=map_, vmin=0, vmax=1)
    figure.colorbar(image, label="share of the label's recordings", shrink=0.8)
    panel.set_xlabel("prediction")
    panel.set_ylabel("label")
    named = len(names) <= _NAMED
    panel.set_xticks(range(len(names)), names, rotation=90) if named else panel.set_xticks([])
    panel.set_yticks(range(len(names)), names) if named else panel.set_yticks([])
    if len(names) <= _NUMBERED:
        for row, line in enumerate(counts.long().tolist()):
            for column, count in enumerate(line):
                ink = "white" if (shares[row, column] > 0.5) == (map_ == "Blues") else "black"
                panel.text(column, row, str(count), ha="center", va="center", color=ink, fontsize="small")
    return figure
