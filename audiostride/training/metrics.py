"""Scores of a classifier: logits averaged per recording, accuracy, macro F1, area under the ROC curve."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import binary_auroc, multiclass_f1_score

from audiostride.data.selection import Batch


class WindowLogits:
    """Collects the logits of windows, each of which counts as a recording."""

    def __init__(self) -> None:
        self.logits: dict[str, list[Tensor]] = {}
        self.labels: dict[str, list[Tensor]] = {}

    @property
    def tasks(self) -> list[str]:
        """The tasks that have logits."""
        return list(self.logits)

    def update(self, batch: Batch, logits: dict[str, Tensor]) -> None:
        """Add the windows of a batch. `logits` maps each task to (windows, classes)."""
        for task, labels in batch["labels"].items():
            self.logits.setdefault(task, []).append(logits[task].float())
            self.labels.setdefault(task, []).append(labels)

    def mean(self, task: str) -> tuple[Tensor, Tensor]:
        """Return logits (windows, classes) and labels (windows,), of labelled windows."""
        logits, labels = torch.cat(self.logits[task]), torch.cat(self.labels[task])
        return logits[labels >= 0], labels[labels >= 0]


class RecordingLogits:
    """Averages the logits of windows over the recordings that the windows were cut from.

    Args:
        recordings: number of recordings in the split.
    """

    def __init__(self, recordings: int) -> None:
        self.recordings = recordings
        self.sums: dict[str, Tensor] = {}
        self.labels: dict[str, Tensor] = {}
        self.windows: Tensor | None = None

    @property
    def tasks(self) -> list[str]:
        """The tasks that have logits."""
        return list(self.sums)

    def update(self, batch: Batch, logits: dict[str, Tensor]) -> None:
        """Add the windows of a batch. `logits` maps each task to (windows, classes)."""
        recording = batch["recording"]
        if self.windows is None:
            self.windows = torch.zeros(self.recordings, dtype=torch.float32, device=recording.device)
        self.windows.index_add_(0, recording, torch.ones_like(recording, dtype=self.windows.dtype))
        for task, labels in batch["labels"].items():
            values = logits[task]
            if task not in self.sums:
                self.sums[task] = values.new_zeros(self.recordings, values.shape[1], dtype=torch.float32)
                self.labels[task] = torch.full((self.recordings,), -1, device=recording.device)
            self.sums[task].index_add_(0, recording, values.float())
            self.labels[task][recording] = labels

    def mean(self, task: str) -> tuple[Tensor, Tensor]:
        """Return mean logits (recordings, classes) and labels (recordings,), of labelled recordings."""
        assert self.windows is not None
        labelled = self.labels[task] >= 0
        return (self.sums[task] / self.windows[:, None])[labelled], self.labels[task][labelled]


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the fraction of labelled rows whose highest logit is that of their label.

    Args:
        logits: (rows, classes).
        labels: (rows,), −1 where a row has no label.
    """
    return (logits.argmax(1) == labels).sum() / (labels >= 0).sum().clamp(min=1)


def scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return accuracy, loss (mean cross-entropy) and macro F1, each a scalar.

    If there are two classes and both occur, the area under the ROC curve ("roc_auc") is added.

    Args:
        logits: (recordings, classes).
        labels: (recordings,), each ≥ 0.
    """
    classes = logits.shape[1]
    values = {
        "accuracy": accuracy(logits, labels),
        "loss": cross_entropy(logits, labels),
        "macro_f1": multiclass_f1_score(logits, labels, classes, average="macro"),
    }
    if classes == 2 and labels.unique().numel() == 2:
        # Of ranks, not of probabilities: those of a confident model round to 0 and 1, and tie.
        ranks = (logits[:, 1] - logits[:, 0]).unique(return_inverse=True)[1]
        values["roc_auc"] = binary_auroc(ranks.double() / len(ranks), labels)
    return values
