"""What a run writes for TensorBoard in addition to its metrics: settings, strides, cut-offs, figures."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch.utils.tensorboard.summary import hparams

from audiostride.analysis.confusion import draw_confusion
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.figures import figure_style
from audiostride.analysis.filter_figure import draw_filters
from audiostride.analysis.listen import draw_low_pass, invertible, spectrograms
from audiostride.analysis.resolution import learns_resolution, resolution
from audiostride.analysis.strided_layers import FRONTEND, low_pass_layers
from audiostride.analysis.window_figure import draw_windows
from audiostride.config.differences import flat
from audiostride.config.settings import Recipe
from audiostride.data.datamodule import WindowsModule
from audiostride.data.windows import EvaluationWindows
from audiostride.models.classifier import Classifier
from audiostride.training.lightning_module import ClassifierTraining

logger = logging.getLogger(__name__)

# Largest fraction of the training time that drawing may take, not counting the final figures.
_DRAWING_FRACTION = 0.01


class EventLogger(TensorBoardLogger):
    """Writes a run's metrics for TensorBoard, without Lightning's hparams.yaml: see config.yaml instead.

    If the disk is full, it warns once: a run is worth more than its events.
    """

    def __init__(self, recipe: Recipe, run: Path) -> None:
        super().__init__(run, name="", version="", default_hp_metric=False)
        self.recipe = recipe
        self.trainer: Trainer | None = None
        self.warned = False

    @rank_zero_only
    def begin(self, trainer: Trainer) -> None:
        """Write the settings for TensorBoard's table of hyperparameters, with accuracy in validation.

        In a resumed run TensorBoard drops what was written after the checkpoint that the run continues from.
        """
        self.trainer = trainer
        settings = flat(self.recipe).items()
        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in settings}
        with self._warn_of_errors():
            restart = Event(session_log=SessionLog(status=SessionLog.START))
            self.experiment.file_writer.add_event(restart, trainer.global_step + 1)
            for part in hparams(plain, {"valid/accuracy": 0.0}):
                self.experiment.file_writer.add_summary(part)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write metrics under the number of optimiser steps, as in metrics.jsonl. Lightning's is 1 lower."""
        assert self.trainer is not None
        kept = {name: value for name, value in metrics.items() if name != "epoch"}
        with self._warn_of_errors():
            super().log_metrics(kept, self.trainer.global_step)

    def save(self) -> None:
        with self._warn_of_errors():
            self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        with self._warn_of_errors():
            super().finalize(status)

    @contextmanager
    def _warn_of_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            cause = error.__cause__ or error  # Lightning takes any error for a metric of a wrong type
            if not isinstance(cause, OSError):
                raise
            if not self.warned:
                logger.warning(f"cannot write to {self.log_dir} for TensorBoard: {cause.strerror}")
            self.warned = True


@contextmanager
def quiet_event_thread() -> Iterator[None]:
    """Hide errors of the thread that writes events: the next call of its writer raises them again."""
    hook = threading.excepthook

    def hide(arguments: threading.ExceptHookArgs) -> None:
        if not type(arguments.thread).__module__.startswith("tensorboard."):
            hook(arguments)

    threading.excepthook = hide
    try:
        yield
    finally:
        threading.excepthook = hook


class StrideLog(Callback):
    """Writes the strides of every layer and their cut-offs to TensorBoard.

    If the frontend learns its resolution, its hop and its number of mel channels are written too.

    Args:
        every: steps from one log to the next.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.last_step = -1  # with accumulated gradients a step has several batches

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(trainer.logger, EventLogger):
            trainer.logger.begin(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning counts a step too many when a run is resumed, and then logs at other steps.
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        step = trainer.global_step
        if step % self.every or step == self.last_step or trainer.logger is None:
            return
        self.last_step = step
        assert isinstance(pl_module, ClassifierTraining)
        trainer.logger.log_metrics(_stride_scalars(pl_module.classifier), step)


def _stride_scalars(classifier: Classifier) -> dict[str, float]:
    """Return strides, cut-offs and what the frontend has learned, by their names in TensorBoard."""
    scalars = {}
    for row in stride_table(classifier):
        layer = "frontend" if row["layer"] == FRONTEND else f"block{row['layer']}"
        scalars[f"stride/{layer}/{row['axis']}"] = row["stride"]
        if row["pass_band"] is not None:
            scalars[f"cutoff/{layer}/{row['axis']}"] = row["pass_band"]
    if learns_resolution(classifier.frontend):
        learned = resolution(classifier.sound_frontend, classifier.window_s)
        scalars |= {f"frontend/{name}": learned[name] for name in ("hop_ms", "mel_channels")}
    return scalars


class FigureLog(Callback):
    """Draws low-pass windows, a spectrogram before and after the first, filters, confusion matrices.

    It draws at the end, and before that at validations as long as drawing takes at most 1 % of the time.
    """

    def __init__(self) -> None:
        self.drawing_seconds, self.expected_seconds = 0.0, 2.0
        self.warned = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        at_end = trainer.global_step >= (trainer.max_steps or 0)
        allowed = _DRAWING_FRACTION * (time.monotonic() - self.started)
        if at_end or self.drawing_seconds + self.expected_seconds <= allowed:
            try:
                self._draw(trainer, pl_module)
            except Exception as error:  # a run is worth more than its figures
                if not self.warned:
                    logger.warning(f"cannot draw figures for TensorBoard: {error}")
                self.warned = True

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(trainer.logger, TensorBoardLogger) or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ClassifierTraining)
        started = time.monotonic()
        with figure_style():
            for name, figure in _figures(trainer, pl_module).items():
                pixels = _pixels(figure)
                trainer.logger.experiment.add_image(name, pixels, trainer.global_step, dataformats="HWC")
        seconds = time.monotonic() - started
        self.drawing_seconds += seconds
        self.expected_seconds = max(seconds, 0.5 * self.expected_seconds)


def _figures(trainer: Trainer, module: ClassifierTraining) -> dict[str, Figure]:
    """Return the figures of a run by their names in TensorBoard."""
    figures = {}
    classifier = module.classifier
    if low_pass_layers(classifier):
        figures["windows"] = draw_windows(classifier).figure
        if invertible(classifier.frontend):
            figures["low_pass"] = _low_pass_figure(classifier, trainer)
    if filters := draw_filters(classifier):
        figures["filters"] = filters.figure
    for task, outcomes in module.outcomes.items():
        figures[f"confusion/{task}"] = draw_confusion(task, outcomes, classifier.labels[task]).figure
    return figures


def _low_pass_figure(classifier: Classifier, trainer: Trainer) -> Figure:
    """Draw a recording before and after the first low-pass, from validation if it has any, else training."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, WindowsModule)
    split = "valid" if len(data.select("valid").recordings) else "train"
    waveform = EvaluationWindows(data.select(split), 1, data.window)[0]["waveform"][0]
    device = next(classifier.parameters()).device
    before, after = spectrograms(classifier, waveform.to(device))
    return draw_low_pass(classifier, before.cpu(), after.cpu()).figure


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    """Return (height, width, 3), the colours of a drawn figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
