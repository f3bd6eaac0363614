"""Where the time of a training step goes."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch.optim import Adam

from audiostride.bench.noise_corpus import noise_corpus
from audiostride.bench.settings import StepBench
from audiostride.config import recipe as recipes
from audiostride.config.settings import Recipe
from audiostride.data.datamodule import WindowsModule
from audiostride.data.windows import TrainingWindows
from audiostride.models.classifier import Classifier
from audiostride.prepare.prepare import prepare
from audiostride.timing import in_turns
from audiostride.training.fit import make_trainer, quiet, trainer_options
from audiostride.training.lightning_module import ClassifierTraining

# Steps from log to log, where training has fifty; and steps that do not count, a log among them.
_LOG_EVERY = 10
_WARM = _LOG_EVERY + 1


def bench_step(settings: StepBench) -> list[dict[str, Any]]:
    """One row per part: milliseconds, and percent of a whole step in the trainer.

    Windows, frontend, network and optimiser are measured by themselves, in turns; logging within the trainer:
    all that is spent in a step's logs, in callbacks and on TensorBoard, pictures aside, with a log in every
    ten steps where training has one in fifty. Plain Adam is no part, but there to compare with the fused one.
    """
    with TemporaryDirectory() as folder:
        recipe = _recipe(settings, Path(folder))
        parts = _parts(recipe, settings)
        whole, logging = _whole(recipe, Path(folder) / "run")
    plain = parts.pop("optimiser, not fused")
    rows = {**parts, "logging": logging, "whole step": whole, "optimiser, not fused": plain}
    return [{"part": name, "ms": taken, "percent": 100 * taken / whole} for name, taken in rows.items()]


def _recipe(settings: StepBench, folder: Path) -> Recipe:
    file = recipes.find(settings.recipe)
    recipe = recipes.build(recipes.read(file), file)
    prepare(noise_corpus(folder / "noise", 500, 1.0), folder / "prepared")
    recipe.data.corpus, recipe.data.tasks = str(folder / "prepared"), None
    recipe.training.batch_size = settings.batch_size
    recipe.training.steps = recipe.training.validate_every = settings.steps
    recipe.training.smoothness_from = None  # all steps cost the same
    precision = "bf16-mixed" if settings.precision == "bf16" else "32-true"
    recipe.trainer = {
        "log_every_n_steps": _LOG_EVERY,
        "precision": precision,
        "limit_val_batches": 0,
        "enable_progress_bar": False,
    }
    return recipe


def _parts(recipe: Recipe, settings: StepBench) -> dict[str, float]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = WindowsModule(recipe.data, recipe.training, recipe.augmentation)
    classifier = Classifier(data.labels, recipe.model).to(device)
    windows = TrainingWindows(data.select("train"), settings.batch_size, data.window)
    optimizers = {fused: Adam(classifier.parameters(), 0.0, fused=fused) for fused in (True, False)}
    batch = windows[0]
    labels = batch["labels"]["noise"].to(device)

    def frontend() -> torch.Tensor:
        return classifier.spectrogram(batch["waveform"].to(device))

    spectrogram = frontend()

    def network() -> None:
        classifier.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            logits = classifier.classify(spectrogram)["noise"]
            loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()

    numbers = iter(range(1, 1000 * settings.steps))
    work: dict[str, Callable[[], Any]] = {
        "windows": lambda: windows[next(numbers)],
        "frontend": frontend,
        "network, there and back": network,
        "optimiser": optimizers[True].step,
        "optimiser, not fused": optimizers[False].step,
    }
    return in_turns(work, settings.steps)


class _Clock(Callback):
    """When each step began, and what logging has taken once all of it has been done."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.logging = 0.0

    def on_train_batch_start(self, *args: Any) -> None:
        self.began.append(time.perf_counter())

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            result = function(*args, **kwargs)
            self.logging += (time.perf_counter() - begun) * (len(self.began) > _WARM)
            return result

        return run


def _whole(recipe: Recipe, run: Path) -> tuple[float, float]:
    """Milliseconds of a step in the trainer, the median, and of its logs, the mean; without the first."""
    data = WindowsModule(recipe.data, recipe.training, recipe.augmentation)
    module = ClassifierTraining(Classifier(data.labels, recipe.model), recipe.training, recipe.augmentation)
    clock = _Clock()
    run.mkdir()
    with quiet():
        trainer = make_trainer(trainer_options(recipe, run), run, False, clock)
        module.log = clock.timed(module.log)  # type: ignore[method-assign]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            callback.on_train_batch_end = clock.timed(callback.on_train_batch_end)
        connector: Any = trainer._logger_connector
        connector.update_train_step_metrics = clock.timed(connector.update_train_step_metrics)
        trainer.fit(module, data)
    steps = [1000 * (after - before) for before, after in pairwise(clock.began[_WARM:])]
    return median(steps), 1000 * clock.logging / len(steps)
