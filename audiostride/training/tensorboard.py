"""What a run writes for TensorBoard beside its metrics: settings, strides, cut-offs, pictures."""

import time
import warnings
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
from torch.utils.tensorboard.summary import hparams

from audiostride.analysis.confusion import draw_confusion
from audiostride.analysis.cutoffs import has_low_pass, stride_table
from audiostride.analysis.figures import figure_style
from audiostride.analysis.listen import draw_low_pass, spectrograms
from audiostride.analysis.window_figure import draw_windows
from audiostride.config.recipe import flat
from audiostride.config.settings import Recipe
from audiostride.data.datamodule import WindowsModule
from audiostride.data.windows import EvaluationWindows
from audiostride.models.classifier import Classifier
from audiostride.training.lightning_module import ClassifierTraining

# Of the time that training takes, what drawing may take; the last pictures come on top.
_SHARE = 0.01


class Events(TensorBoardLogger):
    """The log of a run. Without the hparams.yaml that Lightning adds: config.yaml holds the settings."""

    def __init__(self, recipe: Recipe, run: Path) -> None:
        super().__init__(run, name="", version="", default_hp_metric=False)
        self.recipe = recipe

    @rank_zero_only
    def log_settings(self) -> None:
        """For TensorBoard's table of hyperparameters, with the metric that picks the best checkpoint."""
        settings = flat(self.recipe).items()
        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in settings}
        for part in hparams(plain, {"valid/accuracy": 0.0}):
            self.experiment.file_writer.add_summary(part)

    def save(self) -> None:
        self.experiment.flush()


class StrideLog(Callback):
    """Writes every layer's strides, and the cut-offs that they mean, to TensorBoard, every so many steps."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.logged = -1  # a step lasts several batches where gradients are accumulated

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(trainer.logger, Events):
            trainer.logger.log_settings()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        step = trainer.global_step
        if step % self.every or step == self.logged or trainer.logger is None:
            return
        self.logged = step
        assert isinstance(pl_module, ClassifierTraining)
        scalars = {}
        for row in stride_table(pl_module.classifier, _frames(trainer)):
            where = f"block{row['layer']}/{row['axis']}"
            scalars[f"stride/{where}"] = row["stride"]
            if row["pass_band"] is not None:
                scalars[f"cutoff/{where}"] = row["pass_band"]
        trainer.logger.log_metrics(scalars, step)


class Pictures(Callback):
    """Draws the low-pass windows, a spectrogram before and after the first of them, and confusion matrices.

    At validations, as often as a hundredth of the training time allows, and at the end.
    """

    def __init__(self) -> None:
        self.drawing, self.longest = 0.0, 2.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        ending = trainer.global_step >= (trainer.max_steps or 0)
        trained = time.monotonic() - self.started
        if ending or self.drawing + self.longest <= _SHARE * trained:
            try:
                self._draw(trainer, pl_module)
            except Exception as error:  # no picture is worth a run
                warnings.warn(f"no pictures for TensorBoard: {error}", stacklevel=1)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(trainer.logger, TensorBoardLogger) or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ClassifierTraining)
        begun = time.monotonic()
        with figure_style():
            for name, figure in _figures(trainer, pl_module).items():
                picture = _pixels(figure)
                trainer.logger.experiment.add_image(name, picture, trainer.global_step, dataformats="HWC")
        taken = time.monotonic() - begun
        self.drawing, self.longest = self.drawing + taken, max(taken, 0.5 * self.longest)


def _figures(trainer: Trainer, module: ClassifierTraining) -> dict[str, Figure]:
    figures = {}
    classifier = module.classifier
    if has_low_pass(classifier):
        figures["windows"] = draw_windows(classifier, classifier.settings.strides, _frames(trainer)).figure
        figures["low_pass"] = _sample_through(classifier, trainer)
    for task, outcomes in module.outcomes.items():
        figures[f"confusion/{task}"] = draw_confusion(task, outcomes, classifier.labels[task]).figure
    return figures


def _frames(trainer: Trainer) -> int:
    """Of the windows that the network sees."""
    return trainer.datamodule.data.frames  # type: ignore[attr-defined]


def _sample_through(classifier: Classifier, trainer: Trainer) -> Figure:
    """A recording that validates (or else one that trains), before and after the first layer's low-pass."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, WindowsModule)
    frames = _frames(trainer)
    split = "valid" if len(data.select("valid").recordings) else "train"
    sound = EvaluationWindows(data.select(split), 1, data.window)[0]["waveform"][0]
    was = classifier.training
    classifier.eval()  # whose normalisation only reads its statistics
    try:
        before, after = spectrograms(classifier, sound.to(next(classifier.parameters()).device), frames)
    finally:
        classifier.train(was)
    return draw_low_pass(classifier, before.cpu(), after.cpu(), frames).figure


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    """(height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
