"""Lightning's Trainer for a run: its options, their defaults, and what a run sets itself."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from audiostride.config.run_folder import CHECKPOINTS
from audiostride.config.settings import Recipe
from audiostride.config.trainer_arguments import check_trainer_arguments
from audiostride.errors import UserError
from audiostride.training.callbacks import MetricsLog, Progress, StopOnSigterm, StopWhenDiverged
from audiostride.training.checkpoints import KeepCheckpoints, SafeCheckpointIO
from audiostride.training.devices import SyncBatchNorms
from audiostride.training.tensorboard import EventLogger, FigureLog, StrideLog

# A run's profile is written to its folder. Lightning would print it as a log message.
_PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def trainer_options(recipe: Recipe, run: Path) -> dict[str, Any]:
    """Return the arguments of Lightning's Trainer for a run: defaults, then those of the recipe.

    Raises:
        UserError: if the recipe sets an argument that does not exist or that a run sets itself, or gives one
            a value of the wrong kind.
    """
    try:
        check_trainer_arguments(recipe.trainer)
    except ValueError as error:
        raise UserError(str(error)) from error
    # --trainer.accelerator cpu on a machine with a GPU also selects float32.
    cuda = torch.cuda.is_available() and recipe.trainer.get("accelerator", "cuda") in ("cuda", "gpu", "auto")
    synchronise = recipe.trainer.get("sync_batchnorm", True)
    defaults: dict[str, Any] = {
        "accelerator": "cuda" if cuda else "cpu",
        "precision": "bf16-mixed" if cuda else "32-true",
        "max_steps": recipe.training.steps,
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        "log_every_n_steps": min(50, recipe.training.validate_every),
        # Lightning looks here for checkpoints of its own: a run has none.
        "default_root_dir": run / CHECKPOINTS,
        "logger": EventLogger(recipe, run),
        # One of Lightning's epochs lasts from one validation to the next.
        "reload_dataloaders_every_n_epochs": 1,
        "use_distributed_sampler": False,
        "plugins": [SafeCheckpointIO(), *([SyncBatchNorms()] if synchronise else [])],
    }
    options = defaults | recipe.trainer
    if options.get("profiler"):
        options["profiler"] = _PROFILERS[options["profiler"]](dirpath=run, filename="profile")
    return options


def make_trainer(options: dict[str, Any], run: Path) -> Trainer:
    """Make the Trainer of a run, with the callbacks that log, show progress and save checkpoints.

    Args:
        options: see `trainer_options`.
        run: the run folder.

    Raises:
        UserError: if Lightning refuses the options.
    """
    callbacks: list[Callback] = [
        StopOnSigterm(),
        StopWhenDiverged(),
        StrideLog(options["log_every_n_steps"]),
        MetricsLog(run),
        FigureLog(),
        KeepCheckpoints(run),
    ]
    if options.get("enable_progress_bar", True):
        callbacks.insert(0, Progress())
    try:
        trainer = Trainer(callbacks=callbacks, **options | {"plugins": [*options["plugins"], *_slurm()]})
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise refused_settings(error) from error
    _check_processes(trainer)
    return trainer


def _slurm() -> list[SLURMEnvironment]:
    """Return the environment of a SLURM job, if this is one.

    Lightning would answer SLURM's signals by checkpoints of its own, and begin the next run in this folder
    with them, whatever its settings. A job that SLURM restarts resumes by --auto_resume instead.
    """
    is_slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if is_slurm else []


def _check_processes(trainer: Trainer) -> None:
    """Raise an error if several processes were started, but each would train on its own."""
    for launcher, variable in (("torchrun", "WORLD_SIZE"), ("srun", "SLURM_STEP_NUM_TASKS")):
        started = int(os.environ.get(variable, 1))
        if started > 1 == trainer.world_size:
            raise UserError(
                f"{launcher} started {started} processes, but this training uses one: give "
                f"--trainer.devices (processes per node; {started} on one node) and --trainer.num_nodes"
            )


def refused_settings(error: Exception) -> UserError:
    """Return the error for settings that Lightning's Trainer refuses."""
    return UserError(f"Lightning's Trainer refuses its settings: {' '.join(str(error).split())}")


def check_batch_size(batch_size: int, devices: int) -> None:
    """Raise `UserError` if a batch cannot be divided evenly among the devices."""
    if batch_size % devices:
        raise UserError(
            f"training.batch_size is {batch_size}, which {devices} devices cannot share evenly: give a "
            f"multiple of {devices}, or set --trainer.devices"
        )


@contextmanager
def out_of_memory_as_user_error() -> Iterator[None]:
    """Raise a `UserError` with advice if memory runs out, on a GPU or a CPU."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        out_of_memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if out_of_memory or "allocate memory" in str(error):  # torch's message on a CPU
            raise UserError(
                "there is not enough memory for a batch: lower training.batch_size, or data.window_s "
                "(of images frontend.image_size)"
            ) from error
        raise


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's banners, hints and warnings. Other warnings stay."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
