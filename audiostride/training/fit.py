"""Trains a recipe in a run folder, and resumes it (see `audiostride.config.run_folder`)."""

import logging
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from audiostride.allocator import keep_freed_memory
from audiostride.config import yaml
from audiostride.config.differences import FREE, changed
from audiostride.config.input_kinds import check_images_named
from audiostride.config.recipe import read_config
from audiostride.config.run_folder import CHECKPOINTS, CONFIG, METRICS, TEST, checkpoint_path, last_checkpoint
from audiostride.config.settings import Recipe
from audiostride.data.datamodule import CorpusModule, check_tasks
from audiostride.data.selection import labels_of_tasks
from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.models.classifier import Classifier
from audiostride.models.loading import read_checkpoint
from audiostride.models.width import complete
from audiostride.training.callbacks import divergence_error
from audiostride.training.checkpoints import rank_of
from audiostride.training.initial_weights import check_frozen, load_source, take_over
from audiostride.training.inputs import open_data
from audiostride.training.lightning_module import ClassifierTraining
from audiostride.training.overfitting import overfitting
from audiostride.training.run_lock import lock_run
from audiostride.training.tensorboard import quiet_event_thread
from audiostride.training.trainer import (
    check_batch_size,
    make_trainer,
    out_of_memory_as_user_error,
    quiet_lightning,
    refused_settings,
    trainer_options,
)

logger = logging.getLogger(__name__)


class InterruptionError(UserError):
    """Someone interrupted the training, for example by Ctrl-C.

    Args:
        message: the sentence for the user of a command.
        step: number of steps done.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


def train(recipe: Recipe, run: Path, resume: bool | Literal["auto"] = False) -> int:
    """Train a recipe in a run folder.

    Args:
        recipe: what to train.
        run: the run folder. It is new or has no checkpoint yet, unless `resume` is set.
        resume: continue from the last checkpoint in `run`, with the same recipe; "auto": if there is one.

    Returns:
        The number of steps that the run has now: `training.steps`, unless a Trainer argument such as
        `max_epochs` stopped it earlier.

    Raises:
        UserError: if the folder holds another run or there is nothing to resume, if another process trains
            it, if the corpus or a setting is wrong, if training diverges, or if memory runs out.
        InterruptionError: if training is interrupted by Ctrl-C or SIGTERM.
    """
    keep_freed_memory()
    options, data = _check_names(recipe, run)
    recipe = complete(recipe)
    if not _check_selections(data):
        options = {"limit_val_batches": 0} | options
    if recipe.training.compile:
        _check_compiler(options["accelerator"])
    if resume is True and not last_checkpoint(run).is_file():
        what = f"{run} has no last checkpoint" if run.is_dir() else f"there is no run at {run}"
        raise UserError(f"{what} to resume from: leave --resume out to begin it")
    source = None if resume and last_checkpoint(run).exists() else _source(recipe)
    with quiet_lightning(), quiet_event_thread():
        trainer = make_trainer(options, run)
        check_batch_size(recipe.training.batch_size, trainer.world_size)
        with lock_run(run):
            resume = last_checkpoint(run).exists() if resume == "auto" else resume
            checkpoint = _checkpoint_to_resume(recipe, data, run) if resume else None
            if not resume:
                _check_no_checkpoint(run)
            module = _module(recipe, data, None if resume else source)
            _set_up_folder(recipe, run, fresh=not resume)
            rank_zero_only(_log_summary)(run, data, module, options)
            _fit(trainer, module, data, checkpoint, run)
            if sentence := overfitting(module, data.select("valid")):
                rank_zero_only(logger.warning)(sentence)
    return trainer.global_step


def _source(recipe: Recipe) -> Classifier | None:
    """Return the trained classifier that a recipe begins with, if it names one."""
    source = recipe.training.init_from
    return load_source(source, recipe) if source else None


def _module(recipe: Recipe, data: CorpusModule, source: Classifier | None) -> ClassifierTraining:
    """Return what a recipe trains, with the initial weights of the seed, or those of a trained classifier."""
    seed_everything(recipe.training.seed, verbose=False)
    classifier = Classifier(data.labels, recipe.model, recipe.data.window_s, recipe.frontend)
    if source is not None:
        for sentence in take_over(classifier, source, str(recipe.training.init_from)):
            rank_zero_only(logger.info)(sentence)
    if recipe.training.compile:
        # For feature maps of varying sizes, torch 2.11 generates CPU code that fails.
        classifier.trunk.compile(dynamic=False)
    return ClassifierTraining(classifier, recipe.training, recipe.augmentation)


def check(recipe: Recipe, run: Path) -> int:
    """Raise the errors that `train` would raise about a recipe's settings, without writing any file.

    Returns:
        The number of devices that `train` would use.
    """
    options, _ = _check_names(recipe, run)
    recipe = complete(recipe)
    if not last_checkpoint(run).exists():
        _source(recipe)
    with quiet_lightning():
        return make_trainer(options, run).world_size


def _check_names(recipe: Recipe, run: Path) -> tuple[dict[str, Any], CorpusModule]:
    """Return the Trainer's options and the data of a recipe, or raise an error about an unknown name."""
    options = trainer_options(recipe, run)
    check_images_named(recipe)
    data = open_data(recipe.data, recipe.training, recipe.frontend, recipe.augmentation)
    data.check_frontend(recipe.frontend)
    check_frozen(recipe.training)
    check_tasks("training.task_weights", recipe.training.task_weights, labels_of_tasks(data.stores))
    return options, data


def _check_selections(data: CorpusModule) -> bool:
    """Return whether there are recordings for validation. Raise an error if a task has none for training."""
    data.weights()
    train = data.select("train")
    for task in data.labels:
        if train.labelled(task) == 0:
            raise UserError(
                f"{' and '.join(data.data.corpora)} has no train {data.noun} of {task}: leave the task out "
                "with --data.leave_out, or prepare the whole corpus"
            )
    return len(data.select("valid").recordings) > 0


def _check_compiler(accelerator: str) -> None:
    if accelerator == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise UserError(
            "training.compile needs a C++ compiler on a CPU: install one (Debian: g++), or leave it out"
        )


def _check_no_checkpoint(run: Path) -> None:
    """Raise an error if training would overwrite a run."""
    if last_checkpoint(run).exists():
        raise UserError(f"{run} already holds a run: resume it with --resume, or choose another --out")
    if any((run / CHECKPOINTS).glob("*.ckpt")):
        raise UserError(
            f"{run} already holds a run, but not its last checkpoint ({last_checkpoint(run).name}), from "
            "which it could be resumed: move the run away, or choose another --out"
        )


def _checkpoint_to_resume(recipe: Recipe, data: CorpusModule, run: Path) -> Path:
    """Return the last checkpoint of a run. Raise an error if recipe or corpus are not those of the run."""
    checkpoint = checkpoint_path(run, "last")
    saved = read_checkpoint(checkpoint)
    rank_of(saved, checkpoint)
    # A learning-rate schedule, a narrowing ramp and a budget depend on the number of steps.
    training = recipe.training
    any_steps = (
        training.schedule == "constant" and training.smoothness_from is None and training.budget is None
    )
    free = (*FREE, "training.steps") if any_steps else FREE
    for name, (before, now) in changed(read_config(run), recipe).items():
        if not name.startswith(free):
            raise UserError(
                f"{run} was started with {name} {before}, not {now}: resume it with the same recipe and "
                "options, or choose another --out"
            )
    if folders := data.changed_corpora(saved):
        raise UserError(f"the corpus {folders} has changed since {run} was started: choose another --out")
    return checkpoint


@rank_zero_only
def _set_up_folder(recipe: Recipe, run: Path, fresh: bool) -> None:
    """Write the recipe, and remove files that a kill left: if `fresh`, all but those of the user."""
    (run / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    stale = [run / METRICS, run / TEST, *run.glob("events.out.tfevents.*")] if fresh else []
    for path in [*stale, *run.rglob("*.new")]:
        path.unlink(missing_ok=True)
    with replace_when_complete(run / CONFIG) as new:
        new.write_text(yaml.dump(asdict(recipe)), encoding="utf-8")


def _log_summary(run: Path, data: CorpusModule, module: ClassifierTraining, options: dict[str, Any]) -> None:
    """Log what is trained, on which recordings and on which hardware."""
    train, valid = data.select("train"), data.select("valid")
    for task, labels in data.labels.items():
        logger.info(
            f"{task}: {len(labels)} labels, {train.labelled(task)} {data.noun} for training, "
            f"{valid.labelled(task)} for validation "
            f"({data.split(task, 'train')}, {data.split(task, 'valid')})"
        )
    if options.get("limit_val_batches") == 0:
        logger.info(f"there are no {data.noun} for validation: the last checkpoint counts as the best")
    parameters = sum(p.numel() for p in module.parameters())
    logger.info(f"{run}: {parameters:,} parameters; on {options['accelerator']} in {options['precision']}")


def _fit(
    trainer: Trainer, module: ClassifierTraining, data: CorpusModule, checkpoint: Path | None, run: Path
) -> None:
    """Train, and raise what may go wrong as a `UserError`."""
    try:
        with out_of_memory_as_user_error():
            trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:  # Lightning raises it on Ctrl-C
        advice = (
            "continue with --resume (the demo: call it again)"
            if last_checkpoint(run).exists()
            else "there is no checkpoint to resume from yet"
        )
        step = trainer.global_step
        raise InterruptionError(f"interrupted at step {step}: {advice}", step) from error
    except OSError as error:
        error.filename = error.filename or str(run)  # on a full disk, the error of a write names no file
        raise
    except MisconfigurationException as error:
        raise refused_settings(error) from error
    except (ValueError, RuntimeError, MemoryError) as error:
        if not all(bool(p.isfinite().all()) for p in module.parameters()):
            raise divergence_error(trainer.global_step) from error
        raise
