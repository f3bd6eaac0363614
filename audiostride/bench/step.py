"""How the time of a training step divides into windows, frontend, network, optimiser and logging."""

import time
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch.profilers import Profiler
from torch.nn.functional import cross_entropy
from torch.optim import Adam

from audiostride.bench.noise_corpus import noise_corpus
from audiostride.bench.settings import StepBench
from audiostride.config import recipe as recipes
from audiostride.config.settings import Recipe
from audiostride.data.datamodule import WindowsModule
from audiostride.data.windows import TrainingWindows
from audiostride.models.classifier import Classifier
from audiostride.prepare.prepare import prepare
from audiostride.timing import autocast, in_turns
from audiostride.training.lightning_module import ClassifierTraining
from audiostride.training.tensorboard import EventLogger
from audiostride.training.trainer import make_trainer, quiet_lightning, trainer_options

# Steps from one log to the next; in training there are usually 50.
_LOG_EVERY = 10
# Steps that are not counted, the first log among them.
_WARM_UP = _LOG_EVERY + 1

_NOT_FUSED = "optimiser, not fused"


def bench_step(settings: StepBench) -> list[dict[str, Any]]:
    """Measure the parts of a training step, and the whole step in Lightning's trainer.

    Windows, frontend, network and optimiser are measured outside the trainer, in turns. Logging is measured
    inside it: all that callbacks and TensorBoard do in a step, without figures. It is logged every 10 steps,
    where training logs every 50. Adam that is not fused is no part of the step; its row is for comparison.

    Returns:
        One row per part: "part", "ms", and "percent" of the whole step.
    """
    with TemporaryDirectory() as folder:
        recipe = _recipe(settings, Path(folder))
        parts = _time_parts(recipe, settings)
        step_ms, logging_ms = _time_training(recipe, Path(folder) / "run")
    not_fused = {_NOT_FUSED: parts.pop(_NOT_FUSED)}
    times = {**parts, "logging": logging_ms, "whole step": step_ms, **not_fused}
    return [{"part": part, "ms": ms, "percent": 100 * ms / step_ms} for part, ms in times.items()]


def _recipe(settings: StepBench, folder: Path) -> Recipe:
    """Return the recipe to measure, over a corpus of noise in `folder`."""
    recipe = recipes.load(settings.recipe)
    prepare(noise_corpus(folder / "noise", 500, 1.0), folder / "prepared")
    recipe.data.corpus, recipe.data.tasks = str(folder / "prepared"), None
    recipe.training.batch_size = settings.batch_size
    recipe.training.steps = recipe.training.validate_every = settings.steps
    recipe.training.smoothness_from = None  # all steps take the same time
    recipe.trainer = {
        "log_every_n_steps": _LOG_EVERY,
        "precision": "bf16-mixed" if settings.precision == "bf16" else "32-true",
        "limit_val_batches": 0,
        "enable_progress_bar": False,
    }
    return recipe


def _time_parts(recipe: Recipe, settings: StepBench) -> dict[str, float]:
    """Return median milliseconds of each part, measured without the trainer."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = WindowsModule(recipe.data, recipe.training, recipe.augmentation)
    classifier = Classifier(data.labels, recipe.model).to(device)
    windows = TrainingWindows(data.select("train"), settings.batch_size, data.window)
    fused, not_fused = (Adam(classifier.parameters(), 0.0, fused=fused) for fused in (True, False))
    batch, numbers = windows[0], count(1)
    labels = batch["labels"]["noise"].to(device)

    def frontend() -> torch.Tensor:
        return classifier.spectrogram(batch["waveform"].to(device))

    spectrogram = frontend()

    def network() -> None:
        classifier.zero_grad()
        with autocast(spectrogram, settings.precision):
            loss = cross_entropy(classifier.classify(spectrogram)["noise"], labels)
        loss.backward()

    work: dict[str, Callable[[], Any]] = {
        "windows": lambda: windows[next(numbers)],
        "frontend": frontend,
        "network, forward and backward": network,
        "optimiser": fused.step,
        _NOT_FUSED: not_fused.step,
    }
    return in_turns(work, settings.steps)


class _StepProfiler(Profiler):
    """Notes when each step begins, and sums the time that logging takes in the steps after the warm-up.

    Logging is every `on_train_batch_end` of a callback, and whatever runs within ``profile("logging")``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.step_starts: list[float] = []
        self.logging_seconds = 0.0
        self.nesting = 0  # callbacks call the logger: only the outermost action counts

    def start(self, action_name: str) -> None:
        if action_name == "run_training_batch":
            self.step_starts.append(time.perf_counter())
        elif _is_logging(action_name):
            self.nesting += 1
            if self.nesting == 1:
                self.logging_start = time.perf_counter()

    def stop(self, action_name: str) -> None:
        if _is_logging(action_name):
            self.nesting -= 1
            if self.nesting == 0 and len(self.step_starts) > _WARM_UP:
                self.logging_seconds += time.perf_counter() - self.logging_start


def _is_logging(action_name: str) -> bool:
    of_callback = action_name.startswith("[Callback]") and action_name.endswith(".on_train_batch_end")
    return of_callback or action_name == "logging"


class _ProfiledTraining(ClassifierTraining):
    """Profiles every `log`."""

    profiler: Profiler

    def log(self, *args: Any, **kwargs: Any) -> None:
        with self.profiler.profile("logging"):
            super().log(*args, **kwargs)


class _ProfiledEvents(EventLogger):
    """Profiles what is written for TensorBoard."""

    def __init__(self, recipe: Recipe, run: Path, profiler: Profiler) -> None:
        super().__init__(recipe, run)
        self.profiler = profiler

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        with self.profiler.profile("logging"):
            super().log_metrics(*args, **kwargs)

    def save(self) -> None:
        with self.profiler.profile("logging"):
            super().save()


def _time_training(recipe: Recipe, run: Path) -> tuple[float, float]:
    """Return milliseconds of a training step (median) and of its logging (mean), after the warm-up."""
    data = WindowsModule(recipe.data, recipe.training, recipe.augmentation)
    module = _ProfiledTraining(Classifier(data.labels, recipe.model), recipe.training, recipe.augmentation)
    module.profiler = profiler = _StepProfiler()
    run.mkdir()
    with quiet_lightning():
        logger = _ProfiledEvents(recipe, run, profiler)
        options = trainer_options(recipe, run) | {"profiler": profiler, "logger": logger}
        make_trainer(options, run).fit(module, data)
    starts = profiler.step_starts[_WARM_UP:]
    steps = [1000 * (after - before) for before, after in pairwise(starts)]
    return median(steps), 1000 * profiler.logging_seconds / len(starts)
