"""The LightningModule of a run: connects classifier, objective, stride schedule, optimiser and metrics."""

from dataclasses import asdict
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from audiostride.config.settings import AugmentationSettings, Recipe, TrainingSettings
from audiostride.data.augmentation import BatchAugmentation
from audiostride.data.datamodule import CorpusModule
from audiostride.layers import freeze_, parameter_groups
from audiostride.models.classifier import Classifier
from audiostride.models.network_cost import macs_of_parts
from audiostride.training.batches import as_batch
from audiostride.training.checkpoints import CHECKPOINT_RANK, checkpoint_rank
from audiostride.training.devices import device_count, sum_over_devices
from audiostride.training.inputs import augmentation_for
from audiostride.training.metrics import RecordingLogits, WindowLogits, scores
from audiostride.training.objective import add_complexity, summed_cross_entropy, weighted_sum
from audiostride.training.optimizers import make_optimizer, make_schedule
from audiostride.training.stride_schedule import StrideSchedule


class ClassifierTraining(LightningModule):
    """Trains a `Classifier`, with Lightning's Trainer.

    Batches are those of a `CorpusModule`, or come from any DataLoader whose items are pairs of waveforms
    (windows, samples) and labels, see `audiostride.training.batches.as_batch`; or of images (images, colours,
    height, width) and labels, if the classifier takes images. The Trainer's `max_steps` is
    the number of steps that learning rates and ramps are planned for.

    Logs loss and accuracy of each task. In training they are means over windows; in validation and test
    each recording counts once, by the mean logits of its windows, and macro F1 and the area under the ROC
    curve (with two classes) are added. A validation also logs the million multiply-accumulates of each part
    of the network, and of all, as cost/PART.

    Args:
        classifier: the classifier to train or to evaluate.
        settings: objective, optimiser and stride schedule.
        augmentation: of the training windows or images, by default none. Windows of other DataLoaders are not
            shifted.

    Attributes:
        outcomes: from task to (recordings, 2), label and prediction of each recording, after an evaluation.
        logits: from task to (recordings, classes), mean logits of each recording, after a test.
        trained_windows: from task to (2,), the numbers of right and of labelled windows of all devices in the
            last interval of training between validations.

    >>> from audiostride import ModelSettings
    >>> from lightning.pytorch import Trainer
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> settings = ModelSettings(channels=(4, 8), strides=((2, 2), (2, 2)))
    >>> classifier = Classifier({"word": ["yes", "no"]}, settings)
    >>> sounds = TensorDataset(torch.randn(8, 16000) / 10, torch.tensor([0, 1] * 4))
    >>> module = ClassifierTraining(classifier, TrainingSettings(learning_rate=1e-3))
    >>> quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    >>> trainer = Trainer(max_steps=2, enable_model_summary=False, **quiet)
    >>> trainer.fit(module, DataLoader(sounds, batch_size=4), DataLoader(sounds, batch_size=8))
    >>> 0 <= trainer.callback_metrics["valid/accuracy/word"] <= 1
    tensor(True)
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
        self.stride_schedule = StrideSchedule(classifier, settings)
        self.outcomes: dict[str, Tensor] = {}
        self.logits: dict[str, Tensor] = {}
        self.trained_windows: dict[str, Tensor] = {}
        self.last_logged: dict[str, Tensor] = {}
        self.collected: RecordingLogits | WindowLogits = WindowLogits()

    def setup(self, stage: str) -> None:
        """Make the trunk constant if the settings say so, before distributed training looks for gradients."""
        if stage == "fit" and self.settings.freeze_trunk:
            for part in (self.classifier.frontend, self.classifier.trunk):
                part.requires_grad_(False)
                freeze_(part)

    def on_fit_start(self) -> None:
        self.stride_schedule.steps = self.planned_steps
        self.train()  # a loaded classifier is in evaluation mode, and Lightning leaves modes as they are

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the classifier; a frozen trunk stays in evaluation mode."""
        super().train(mode)
        if self.settings.freeze_trunk:
            for part in (self.classifier.frontend, self.classifier.normalise, self.classifier.trunk):
                part.eval()
        return self

    def on_train_epoch_start(self) -> None:
        self.trained_windows = {}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.stride_schedule.before_step(self.trainer.global_step)
        # A network may draw numbers, for dropout or to skip blocks: the same ones in a run that is resumed.
        torch.manual_seed(int(self._seeds(3).generate_state(1)[0]))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch = as_batch(batch, list(self.classifier.labels))
        draws = batch.get("draws") or self._draw(batch["waveform"])
        waveform = self._augmentation.augment(batch["waveform"], draws) if draws else batch["waveform"]
        # A gain before the level is normalised only clips; see augmentation.gain_db.
        gain = draws["gain"][: len(waveform)] if "gain" in draws else None
        spectrogram = self.classifier.spectrogram(waveform, gain)
        spectrogram = self._augmentation.mask(spectrogram, draws, waveform.shape[-1])
        totals, figures = {}, []
        for task, logits in self.classifier.classify(spectrogram).items():
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            labels = batch["labels"][task]
            totals[task], count = summed_cross_entropy(logits, labels, draws)
            own = labels[: len(logits)]
            correct, labelled = (logits.argmax(1) == own).sum(), (own >= 0).sum()
            figures.append(torch.stack([totals[task].detach(), count, correct, labelled]))
        loss = self._global_loss(totals, sum_over_devices(torch.stack(figures)))
        if self.settings.complexity > 0:
            strides = self.classifier.strides
            loss, cost = add_complexity(loss, strides, self.settings.complexity)
            self.log("train/complexity", cost)
        return loss

    def _draw(self, waveform: Tensor) -> dict[str, Tensor]:
        """Return random numbers for the augmentation of windows or images that came without."""
        if not self.augmentation.draws:
            return {}
        rng = np.random.default_rng(self._seeds(2))
        draws = self._augmentation.draw(rng, *waveform.shape)
        return {name: values.to(waveform.device) for name, values in draws.items()}

    def _seeds(self, purpose: int) -> np.random.SeedSequence:
        """Return the seeds of this batch on this device, for one purpose."""
        number = self.trainer.fit_loop.epoch_loop.total_batch_idx * self.trainer.world_size
        return np.random.SeedSequence((self.settings.seed, purpose, number + self.global_rank))

    @cached_property
    def _augmentation(self) -> BatchAugmentation:
        return augmentation_for(self.augmentation, self.classifier.frontend)

    def _global_loss(self, totals: dict[str, Tensor], figures: Tensor) -> Tensor:
        """Log loss and accuracy over all devices, and return this device's share of the loss.

        Distributed training takes the mean of the devices' gradients, and thus of their shares.

        Args:
            totals: from task to the sum of the cross-entropy over this device's windows.
            figures: (tasks, 4), over all devices: the same sum, the number of labels in it, and the numbers
                of right and of labelled windows.
        """
        shares, losses = {}, {}
        for task, (total, count, correct, labelled) in zip(totals, figures, strict=True):
            windows = torch.stack([correct, labelled])
            self.trained_windows[task] = self.trained_windows.get(task, 0) + windows
            count = count.clamp(min=1)  # the mean over zero windows would be NaN
            shares[task], losses[task] = device_count() * totals[task] / count, total / count
            self._log_where(labelled > 0, f"train/loss/{task}", losses[task])
            self._log_where(labelled > 0, f"train/accuracy/{task}", correct / labelled.clamp(min=1))
        self.log("train/loss", weighted_sum(losses, self.settings.task_weights))
        return weighted_sum(shares, self.settings.task_weights)

    def _log_where(self, condition: Tensor, name: str, value: Tensor) -> None:
        """Log `value` if `condition` holds, otherwise the last such value, without waiting for the device."""
        before = self.last_logged.get(name, torch.full_like(value, torch.nan))
        self.last_logged[name] = torch.where(condition, value.detach(), before)
        self.log(name, self.last_logged[name])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.stride_schedule.before_optimizer_step()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.stride_schedule.after_optimizer_step()

    def configure_optimizers(self) -> Any:
        # Fused is faster, but in mixed precision Lightning does not clip its gradients.
        fused = not (self.trainer.gradient_clip_val and str(self.trainer.precision).endswith("-mixed"))
        optimizer = make_optimizer(self._parameter_groups(), self.settings, fused)
        schedule = make_schedule(optimizer, self.settings, self.planned_steps)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def planned_steps(self) -> int:
        """Number of steps of the training: the Trainer's `max_steps`, or else that of the settings."""
        return self.trainer.max_steps if self.trainer.max_steps > 0 else self.settings.steps

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Return the groups of parameters with rates of their own: those of heads, trunk and strides."""
        trunk_rate, stride_rate = self.settings.trunk_learning_rate, self.settings.stride_learning_rate
        heads = {"params": list(self.classifier.heads.parameters())}
        if self.settings.freeze_trunk:
            return [heads]
        if trunk_rate is None:
            return parameter_groups(self.classifier, stride_lr=stride_rate)
        stride_rate = trunk_rate if stride_rate is None else stride_rate
        body = nn.ModuleList([self.classifier.frontend, self.classifier.trunk])
        return [heads, *parameter_groups(body, stride_lr=stride_rate, lr=trunk_rate)]

    def on_validation_epoch_start(self) -> None:
        self._start_evaluation(self.trainer.val_dataloaders)

    def on_test_epoch_start(self) -> None:
        self._start_evaluation(self.trainer.test_dataloaders)

    def _start_evaluation(self, loader: Any) -> None:
        selection = getattr(getattr(loader, "dataset", None), "selection", None)
        self.collected = (
            RecordingLogits(len(selection.recordings)) if selection is not None else WindowLogits()
        )

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        batch = as_batch(batch, list(self.classifier.labels))
        self.collected.update(batch, self.classifier(batch["waveform"]))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        mean_accuracy = self._log_evaluation("valid")
        classifier = self.classifier
        parts = macs_of_parts(classifier.frontend, classifier.trunk, classifier.window_s)
        for part, macs in parts.items():
            self.log(f"cost/{part.replace(' ', '_')}", macs / 1e6)
        self.log(CHECKPOINT_RANK, checkpoint_rank(mean_accuracy, self.stride_schedule.is_final))

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test")

    def _log_evaluation(self, split: str) -> Tensor:
        """Log the scores of each task and their summary, keep the outcomes, and return the mean accuracy."""
        accuracies, losses = [], {}
        for task in self.collected.tasks:
            logits, labels = self.collected.mean(task)
            if len(labels) == 0:
                continue
            task_scores = scores(logits, labels)
            for name, value in task_scores.items():
                self.log(f"{split}/{name}/{task}", value)
            accuracies.append(task_scores["accuracy"])
            losses[task] = task_scores["loss"]
            self.outcomes[task] = torch.stack([labels, logits.argmax(1)], 1)
            if split == "test":
                self.logits[task] = logits
        mean_accuracy = torch.stack(accuracies).mean()
        self.log(f"{split}/accuracy", mean_accuracy)
        self.log(f"{split}/loss", weighted_sum(losses, self.settings.task_weights))
        return mean_accuracy

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.stride_schedule.load_state(checkpoint.get("budget", {}))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["classifier"] = self.classifier.configuration()
        checkpoint["budget"] = self.stride_schedule.state()
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, CorpusModule):
            recipe = Recipe(
                self.classifier.settings,
                data.data,
                self.settings,
                self.augmentation,
                frontend=self.classifier.frontend_settings,
            )
            checkpoint["recipe"] = asdict(recipe)  # config.yaml is compared with it
