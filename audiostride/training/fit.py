"""Training a recipe in the folder of a run (see `audiostride.config.run_folder`)."""

import inspect
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from audiostride.config import yaml
from audiostride.config.recipe import FREE, changed, read_config
from audiostride.config.run_folder import CHECKPOINTS, CONFIG, METRICS, checkpoint_path, last_checkpoint
from audiostride.config.settings import Recipe
from audiostride.data.datamodule import WindowsModule, check_tasks
from audiostride.data.windows import known_labels
from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.models.classifier import Classifier, read_checkpoint
from audiostride.training.callbacks import (
    KeepCheckpoint,
    MetricsLog,
    Progress,
    StopWhenDiverged,
    diverged,
)
from audiostride.training.lightning_module import ClassifierTraining
from audiostride.training.tensorboard import Events, Pictures, StrideLog

logger = logging.getLogger(__name__)

# Settings of the Trainer that a recipe has under another name, and what a run decides itself.
_OWNED = {
    "max_steps": "training.steps",
    "fast_dev_run": "training.steps",
    "val_check_interval": "training.validate_every",
    "check_val_every_n_epoch": "training.validate_every",
    "default_root_dir": "--out",
    "logger": None,
    "callbacks": None,
    "enable_checkpointing": None,
    "reload_dataloaders_every_n_epochs": None,
    "use_distributed_sampler": None,
    "plugins": None,
    "num_sanity_val_steps": None,
}


class InterruptionError(UserError):
    """Someone has stopped the training."""


def train(recipe: Recipe, run: Path, resume: bool = False) -> int:
    """Train a recipe in the folder `run`.

    Args:
        recipe: what to train.
        run: a folder that is new, or holds no checkpoint yet, unless `resume`.
        resume: go on from the last checkpoint in `run`, with the same recipe.

    Returns:
        The number of steps that the run has now: those of the recipe, unless an argument of the Trainer made
        it stop before.

    Raises:
        UserError: where the folder holds another run, or nothing to resume; where the corpus or a setting is
            wrong; where training diverges or is interrupted.
    """
    options, data = _checked(recipe, run)
    checkpoint = _checkpoint_to_resume(recipe, data, run) if resume else None
    if not resume and last_checkpoint(run).exists():
        raise UserError(
            f"{run} holds a run already: go on with --resume, or choose another folder with --out"
        )
    validates = _check_selections(data) and recipe.trainer.get("limit_val_batches", 1.0) != 0
    if not validates:
        options = {"limit_val_batches": 0} | options
    seed_everything(recipe.training.seed, verbose=False)
    classifier = Classifier(data.labels, recipe.model)
    if recipe.training.compile:
        _check_compiler(options["accelerator"])
        # For maps of sizes that vary, inductor 2.11 makes code for a CPU that fails.
        classifier.trunk.compile(dynamic=False)
    module = ClassifierTraining(classifier, recipe.training, recipe.augmentation)
    with quiet():
        trainer = make_trainer(options, run, validates)
        _begin(recipe, run, fresh=not resume)
        rank_zero_only(_introduce)(run, data, module, options)
        _fit(trainer, module, data, checkpoint, run)
    return trainer.global_step


def check(recipe: Recipe, run: Path) -> int:
    """Raise the errors that `train` would raise on a recipe before it begins, without leaving a trace.

    Returns:
        On how many devices it would train.
    """
    options, _ = _checked(recipe, run)
    with quiet():
        return make_trainer(options, run, validates=True).world_size


def _checked(recipe: Recipe, run: Path) -> tuple[dict[str, Any], WindowsModule]:
    """The trainer's options and the data of a recipe, whose names are all known."""
    options = trainer_options(recipe, run)
    data = WindowsModule(recipe.data, recipe.training, recipe.augmentation)
    check_tasks("training.task_weights", recipe.training.task_weights, known_labels(data.stores))
    return options, data


def _check_compiler(accelerator: str) -> None:
    if accelerator == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise UserError(
            "training.compile needs a C++ compiler on a CPU: install one (Debian: g++), or leave it out"
        )


def _check_selections(data: WindowsModule) -> bool:
    """Raise an error where a task has nothing to train on; tell whether any has something to validate."""
    data.shares()
    train = data.select("train")
    for task in data.labels:
        if train.labelled(task) == 0:
            raise UserError(
                f"{' and '.join(data.data.corpora)} has no train recordings of {task}: leave the task out "
                "with --data.leave_out, or prepare the corpus whole"
            )
    return len(data.select("valid").recordings) > 0


def _introduce(run: Path, data: WindowsModule, module: ClassifierTraining, options: dict[str, Any]) -> None:
    """Tell what is about to be trained, on what."""
    train, valid = data.select("train"), data.select("valid")
    parameters = sum(p.numel() for p in module.parameters())
    for task, labels in data.labels.items():
        logger.info(
            f"{task}: {len(labels)} labels, {train.labelled(task)} recordings to train on, "
            f"{valid.labelled(task)} to validate ({data.split(task, 'train')}, {data.split(task, 'valid')})"
        )
    if options.get("limit_val_batches") == 0:
        logger.info("nothing to validate on: the last checkpoint counts as the best")
    logger.info(f"{run}: {parameters:,} parameters; on {options['accelerator']} in {options['precision']}")


def _fit(
    trainer: Trainer, module: ClassifierTraining, data: WindowsModule, checkpoint: Path | None, run: Path
) -> None:
    """Train, with what may go wrong told in a sentence."""
    try:
        with memory_told():
            trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        kept = (
            "go on with --resume (the demo: call it again)"
            if last_checkpoint(run).exists()
            else "nothing to resume yet"
        )
        raise InterruptionError(f"interrupted at step {trainer.global_step}: {kept}") from error
    except MisconfigurationException as error:
        raise _refused(error) from error
    except (ValueError, RuntimeError, MemoryError) as error:
        if not all(bool(p.isfinite().all()) for p in module.parameters()):
            raise diverged(trainer.global_step) from error
        raise


def trainer_options(recipe: Recipe, run: Path) -> dict[str, Any]:
    """Arguments of Lightning's Trainer for a run.

    Raises:
        UserError: for an argument that does not exist, or that a run sets itself.
    """
    known = inspect.signature(Trainer).parameters
    for name in recipe.trainer:
        if name not in known:
            raise UserError(f"trainer.{name} is no argument of Lightning's Trainer")
        if name in _OWNED:
            instead = f": set {_OWNED[name]} instead" if _OWNED[name] else ", which a run sets itself"
            raise UserError(f"trainer.{name} cannot be set{instead}")
    every = recipe.trainer.get("log_every_n_steps", 1)
    if not isinstance(every, int) or every < 1:
        raise UserError(f"trainer.log_every_n_steps must be a whole number, at least 1, but is {every}")
    # A choice of other hardware, by --trainer.accelerator, brings back plain float32.
    cuda = torch.cuda.is_available() and recipe.trainer.get("accelerator", "cuda") in ("cuda", "gpu", "auto")
    defaults = {
        "accelerator": "cuda" if cuda else "cpu",
        "precision": "bf16-mixed" if cuda else "32-true",
        "max_steps": recipe.training.steps,
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        "log_every_n_steps": min(50, recipe.training.validate_every),
        "default_root_dir": run,
        "logger": Events(recipe, run),
        # One of Lightning's epochs lasts from one validation to the next.
        "reload_dataloaders_every_n_epochs": 1,
        "use_distributed_sampler": False,
        "plugins": [_SafeCheckpoints()],
    }
    return defaults | recipe.trainer


def make_trainer(options: dict[str, Any], run: Path, validates: bool, *more: Callback) -> Trainer:
    """The trainer of a run, with all that a run keeps and tells."""
    callbacks = [*_callbacks(run, options["log_every_n_steps"], validates), *more]
    if not options.get("enable_progress_bar", True):
        callbacks = [callback for callback in callbacks if not isinstance(callback, Progress)]
    try:
        return Trainer(callbacks=callbacks, **options)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise _refused(error) from error


def _refused(error: Exception) -> UserError:
    return UserError(f"Lightning's Trainer refuses its settings: {' '.join(str(error).split())}")


def _callbacks(run: Path, log_every: int, validates: bool) -> list[Callback]:
    last = KeepCheckpoint(run, "last")
    best = KeepCheckpoint(run, "best", monitor="valid/choice" if validates else None)
    return [Progress(), StopWhenDiverged(), StrideLog(log_every), MetricsLog(run), Pictures(), last, best]


def _checkpoint_to_resume(recipe: Recipe, data: WindowsModule, run: Path) -> Path:
    checkpoint = checkpoint_path(run, "last")
    # Without a schedule or a ramp that narrows there is no end to move.
    endless = recipe.training.schedule == "constant" and recipe.training.smoothness_from is None
    free = (*FREE, "training.steps") if endless else FREE
    for name, (before, now) in changed(read_config(run), recipe).items():
        if not name.startswith(free):
            raise UserError(
                f"{run} was begun with {name} {before}, not {now}: resume it with the same recipe and "
                "options, or choose another folder with --out"
            )
    if read_checkpoint(checkpoint).get("WindowsModule") != data.state_dict():
        raise UserError(
            f"the corpus {' or '.join(recipe.data.corpora)} has changed since {run} was begun: choose "
            "another --out"
        )
    return checkpoint


@rank_zero_only
def _begin(recipe: Recipe, run: Path, fresh: bool) -> None:
    """Write down the recipe. A fresh run is not mixed with what one without a checkpoint left behind."""
    (run / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    stale = [run / METRICS, *run.glob("events.out.tfevents.*"), *(run / CHECKPOINTS).iterdir()]
    for path in stale if fresh else ():
        path.unlink(missing_ok=True)
    (run / CONFIG).write_text(yaml.dump(asdict(recipe)), encoding="utf-8")


class _SafeCheckpoints(TorchCheckpointIO):
    """Replaces a checkpoint only by a whole one, also where the system's temporary folder is another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with replace_when_complete(Path(path)) as new:
            super().save_checkpoint(checkpoint, new, storage_options)


@contextmanager
def memory_told() -> Iterator[None]:
    """Says in a sentence that memory has run out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        starved = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if starved or "allocate memory" in str(error):  # as torch says it on a CPU
            raise UserError(
                "there is not enough memory for a batch: lower training.batch_size or data.window_s"
            ) from error
        raise


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's banners and hints; warnings of ours and of torch stay."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
