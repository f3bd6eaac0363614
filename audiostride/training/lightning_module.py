"""A classifier, its loss and its optimiser."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_f1_score,
)

from audiostride.config.settings import AugmentationSettings, TrainingSettings
from audiostride.data.augmentation import augment, mask
from audiostride.data.windows import Batch
from audiostride.layers import complexity, freeze_
from audiostride.layers.diffstride import DiffStrideNd
from audiostride.models.classifier import Classifier

# Share of the steps over which ramps narrow from training.smoothness_from to model.smoothness.
_NARROWING = 0.5


class RecordingLogits:
    """Sums the logits of windows over the recordings that they were cut from."""

    def __init__(self, recordings: int) -> None:
        self.recordings = recordings
        self.sums: dict[str, Tensor] = {}
        self.labels: dict[str, Tensor] = {}
        self.windows: Tensor | None = None

    def update(self, batch: Batch, logits: dict[str, Tensor]) -> None:
        where = batch["recording"]
        if self.windows is None:
            self.windows = torch.zeros(self.recordings, dtype=torch.float32, device=where.device)
        self.windows.index_add_(0, where, torch.ones_like(where, dtype=self.windows.dtype))
        for task in batch["labels"]:
            values = logits[task]
            if task not in self.sums:
                self.sums[task] = values.new_zeros(self.recordings, values.shape[1], dtype=torch.float32)
                self.labels[task] = torch.full((self.recordings,), -1, device=where.device)
            self.sums[task].index_add_(0, where, values.float())
            self.labels[task][where] = batch["labels"][task]

    def mean(self, task: str) -> tuple[Tensor, Tensor]:
        """Of the recordings with a label, logits (recordings, classes) averaged over windows, and labels."""
        assert self.windows is not None
        labelled = self.labels[task] >= 0
        return (self.sums[task] / self.windows[:, None])[labelled], self.labels[task][labelled]


def mean_cross_entropy(logits: Tensor, labels: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """Mean over the windows with a label, −1 being none; with mixup, over the shares of the two labels."""
    if "partner" not in draws:
        # The mean over no window at all would be NaN.
        count = (labels >= 0).sum().clamp(min=1)
        return cross_entropy(logits, labels, ignore_index=-1, reduction="sum") / count
    total, count = logits.new_zeros(()), logits.new_zeros(())
    pairs = ((labels, draws["weight"]), (labels[draws["partner"]], 1 - draws["weight"]))
    for targets, weight in pairs:
        total = total + (weight * cross_entropy(logits, targets, ignore_index=-1, reduction="none")).sum()
        count = count + (weight * (targets >= 0)).sum()
    return total / count.clamp(min=1)


def _share_right(logits: Tensor, labels: Tensor) -> Tensor:
    """Of the rows with a label, the share whose highest logit is the label's."""
    return (logits.argmax(1) == labels).sum() / (labels >= 0).sum().clamp(min=1)


def _scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Mean over classes of F1, and of two classes that both occur the area under the ROC curve."""
    classes = logits.shape[1]
    scores = {"macro_f1": multiclass_f1_score(logits, labels, classes, average="macro")}
    if classes == 2 and labels.unique().numel() == 2:
        # By rank: probabilities of a confident model are all but 0 and 1, and tie.
        ranks = (logits[:, 1] - logits[:, 0]).unique(return_inverse=True)[1]
        scores["roc_auc"] = binary_auroc(ranks.double() / len(ranks), labels)
    return scores


class ClassifierTraining(LightningModule):
    """Trains a `Classifier`: the weighted sum of its tasks' cross-entropies, plus λ·J, by Adam.

    Logs loss and accuracy of each task in training (over windows), validation and test (over recordings, by
    the mean of their windows' logits; there with the macro F1 score and, of two classes, the area under the
    ROC curve), and the strides of every block.

    Attributes:
        outcomes: after an evaluation, from task to (recordings, 2): the label of each, and the prediction.
    """

    def __init__(
        self,
        classifier: Classifier,
        settings: TrainingSettings,
        augmentation: AugmentationSettings | None = None,
    ) -> None:
        super().__init__()
        self.classifier, self.settings = classifier, settings
        self.augmentation = augmentation or AugmentationSettings()
        self.outcomes: dict[str, Tensor] = {}
        self.latest: dict[str, Tensor] = {}
        self.frozen = False
        self.wider = 0.0  # of the way from the final ramp to the first one

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self._narrow()
        after = self.settings.freeze_strides_after
        if after is not None and self.trainer.global_step >= after and not self.frozen:
            self.frozen = True
            freeze_(self.classifier)

    def _narrow(self) -> None:
        begins, ends = self.settings.smoothness_from, self.classifier.settings.smoothness
        trunk = self.classifier.trunk
        if begins is None or trunk.downsampling != "diffstride" or not begins > ends > 0:
            return
        done, until = self.trainer.global_step, round(_NARROWING * self.settings.steps)
        self.wider = max(0.0, 1 - done / until) if until else 0.0
        trunk.set_smoothness_(ends + (begins - ends) * self.wider)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        draws = batch.get("draws", {})
        waveform = augment(batch["waveform"], draws) if draws else batch["waveform"]
        spectrogram = mask(self.classifier.spectrogram(waveform), draws, self.augmentation)
        losses = []
        for task, values in self.classifier.classify(spectrogram).items():
            labels = batch["labels"][task]
            loss = mean_cross_entropy(values, labels, draws)
            losses.append(self._weight(task) * loss)
            there = (labels >= 0).any()
            self._log_where(there, f"train/loss/{task}", loss)
            self._log_where(there, f"train/accuracy/{task}", _share_right(values, labels))
        loss = torch.stack(losses).sum()
        self.log("train/loss", loss)
        if self.settings.complexity > 0:
            cost = complexity(self.classifier.trunk.strides)
            self.log("train/complexity", cost)
            loss = loss + self.settings.complexity * cost
        if self.frozen:  # several processes wait for a gradient of every parameter
            loss = loss + 0 * self.classifier.trunk.strides.sum()
        return loss

    def _weight(self, task: str) -> float:
        return self.settings.task_weights.get(task, 1.0)

    def _log_where(self, there: Tensor, name: str, value: Tensor) -> None:
        """Log a value of this batch, or if the batch has none of the task the last one; without waiting."""
        before = self.latest.get(name, torch.full_like(value, torch.nan))
        self.latest[name] = torch.where(there, value.detach(), before)
        self.log(name, self.latest[name])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Adam would move frozen strides by the momentum that they had."""
        for layer in self._stride_layers() if self.frozen else ():
            layer.stride.grad = None

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.classifier.trunk.project_()

    def configure_optimizers(self) -> Any:
        rates = {False: self.settings.learning_rate, True: self._stride_rate()}
        strides = {id(layer.stride) for layer in self._stride_layers()}
        parameters = {
            learned: [p for p in self.parameters() if (id(p) in strides) == learned] for learned in rates
        }
        optimizer = Adam(
            [{"params": parameters[k], "lr": rate} for k, rate in rates.items() if parameters[k]],
            # One pass over all weights. With a gradient scaler Lightning could not clip gradients then.
            fused=self.trainer.precision != "16-mixed",
        )
        if self.settings.schedule == "constant":
            return optimizer
        schedule = OneCycleLR(optimizer, [g["lr"] for g in optimizer.param_groups], self.settings.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _stride_layers(self) -> list[DiffStrideNd]:
        return [module for module in self.modules() if isinstance(module, DiffStrideNd)]

    def _stride_rate(self) -> float:
        rate = self.settings.stride_learning_rate
        return self.settings.learning_rate if rate is None else rate

    def on_validation_epoch_start(self) -> None:
        self._start(self.trainer.val_dataloaders)

    def on_test_epoch_start(self) -> None:
        self._start(self.trainer.test_dataloaders)

    def _start(self, loader: Any) -> None:
        self.scores = RecordingLogits(len(loader.dataset.selection.recordings))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.scores.update(batch, self.classifier(batch["waveform"]))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.scores.update(batch, self.classifier(batch["waveform"]))

    def on_validation_epoch_end(self) -> None:
        self._report("valid")

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def _report(self, split: str) -> None:
        """Log loss and accuracy of each task, and the mean accuracy that picks the best checkpoint."""
        accuracies, losses = [], []
        for task in self.scores.sums:
            logits, labels = self.scores.mean(task)
            if len(labels) == 0:
                continue
            accuracies.append(_share_right(logits, labels))
            loss = cross_entropy(logits, labels)
            losses.append(self._weight(task) * loss)
            self.log(f"{split}/accuracy/{task}", accuracies[-1])
            self.log(f"{split}/loss/{task}", loss)
            for name, value in _scores(logits, labels).items():
                self.log(f"{split}/{name}/{task}", value)
            self.outcomes[task] = torch.stack([labels, logits.argmax(1)], 1)
        accuracy = torch.stack(accuracies).mean()
        self.log(f"{split}/accuracy", accuracy)
        if split == "valid":
            # A model with wider ramps than asked for is no choice where there is one without.
            self.log("valid/choice", accuracy - float(self.wider > 0))
        self.log(f"{split}/loss", torch.stack(losses).sum())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["classifier"] = self.classifier.configuration()
