"""How the time of a training step divides into windows, frontend, network, optimiser and logging.

And what the step costs in page faults and memory, with and without `audiostride.allocator`.
"""

import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import count, pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch.profilers import Profiler
from torch.nn.functional import cross_entropy
from torch.optim import Adam

from audiostride import allocator
from audiostride.bench.noise_corpus import noise_corpus
from audiostride.bench.prepare import peak_mb
from audiostride.bench.settings import StepBench
from audiostride.config import recipe as recipes
from audiostride.config.run_folder import CHECKPOINTS
from audiostride.config.settings import PrepareSettings, Recipe
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
_GIVEN_BACK = "whole step, freed memory given back"


def bench_step(settings: StepBench) -> list[dict[str, Any]]:
    """Measure the parts of a training step, and the whole step in Lightning's trainer.

    Windows, frontend, network and optimiser are measured outside the trainer, in turns; a frontend that
    learns with its backward pass. Logging is measured inside it: all that callbacks and TensorBoard do in a
    step, without figures. It is logged every 10 steps, where training logs every 50. Two rows are for
    comparison: Adam that is not fused, and the step of a process whose allocator gives freed memory back to
    the system (see `audiostride.allocator`).

    Returns:
        One row per part: "part", "ms", and "percent" of the whole step. Whole steps, each measured in a fresh
        process, have the number of page faults per step, the percentage of their time that the system takes,
        most of it for page faults, and the peak memory of the process in MB.
    """
    with TemporaryDirectory() as folder:
        recipe = _recipe(settings, Path(folder))
        parts = _time_parts(recipe, settings)
        kept, given_back = (
            _in_fresh_process(recipe, Path(folder) / name, keep)
            for name, keep in (("kept", True), ("given back", False))
        )
    not_fused = {_NOT_FUSED: parts.pop(_NOT_FUSED)}
    times = {**parts, "logging": kept["logging_ms"], "whole step": kept["ms"], **not_fused}
    times[_GIVEN_BACK] = given_back["ms"]
    whole = {"whole step": kept, _GIVEN_BACK: given_back}
    return [
        {"part": part, "ms": ms, "percent": 100 * ms / kept["ms"]}
        | {name: whole.get(part, {}).get(name) for name in ("page_faults", "system_percent", "peak_mb")}
        for part, ms in times.items()
    ]


def _in_fresh_process(recipe: Recipe, run: Path, keep_freed_memory: bool) -> dict[str, float]:
    """Return what `_measure_training` returns in a process that keeps freed memory, or does not."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_measure_training, recipe, run, keep_freed_memory).result()


def _recipe(settings: StepBench, folder: Path) -> Recipe:
    """Return the recipe to measure, over a corpus of noise in `folder`."""
    recipe = recipes.load(settings.recipe)
    rate = recipe.frontend.sample_rate
    noise = noise_corpus(folder / "noise", 500, 1.0, sample_rate=rate)
    prepare(noise, folder / "prepared", PrepareSettings(sample_rate=rate))
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
    classifier = Classifier(data.labels, recipe.model, frontend=recipe.frontend).to(device)
    windows = TrainingWindows(data.select("train"), settings.batch_size, data.window)
    fused, not_fused = (Adam(classifier.parameters(), 0.0, fused=fused) for fused in (True, False))
    batch, numbers = windows[0], count(1)
    labels = batch["labels"]["noise"].to(device)

    def frontend() -> torch.Tensor:
        spectrogram = classifier.spectrogram(batch["waveform"].to(device))
        if spectrogram.requires_grad:  # the frontend learns: its backward pass counts
            classifier.zero_grad()
            spectrogram.sum().backward()
        return spectrogram.detach()

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
        self.usages: list[resource.struct_rusage] = []  # of this process, when each step begins
        self.logging_seconds = 0.0
        self.nesting = 0  # callbacks call the logger: only the outermost action counts

    def start(self, action_name: str) -> None:
        if action_name == "run_training_batch":
            self.step_starts.append(time.perf_counter())
            self.usages.append(resource.getrusage(resource.RUSAGE_SELF))
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


def _measure_training(recipe: Recipe, run: Path, keep_freed_memory: bool) -> dict[str, float]:
    """Train, and return figures of the steps after the warm-up.

    Returns:
        Milliseconds of a step (median) and of its logging (mean), page faults per step (median), percentage
        of the time that this process spends in the system, and its peak memory in MB.
    """
    if keep_freed_memory:
        allocator.keep_freed_memory()
    data = WindowsModule(recipe.data, recipe.training, recipe.augmentation)
    module = _ProfiledTraining(
        Classifier(data.labels, recipe.model, frontend=recipe.frontend), recipe.training, recipe.augmentation
    )
    module.profiler = profiler = _StepProfiler()
    (run / CHECKPOINTS).mkdir(parents=True)
    with quiet_lightning():
        logger = _ProfiledEvents(recipe, run, profiler)
        options = trainer_options(recipe, run) | {"profiler": profiler, "logger": logger}
        make_trainer(options, run).fit(module, data)
    starts, usages = profiler.step_starts[_WARM_UP:], profiler.usages[_WARM_UP:]
    seconds, system = starts[-1] - starts[0], usages[-1].ru_stime - usages[0].ru_stime
    return {
        "ms": median(1000 * (after - before) for before, after in pairwise(starts)),
        "logging_ms": 1000 * profiler.logging_seconds / len(starts),
        "page_faults": median(after.ru_minflt - before.ru_minflt for before, after in pairwise(usages)),
        "system_percent": 100 * system / seconds,
        "peak_mb": peak_mb(),
    }
