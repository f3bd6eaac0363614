"""Training the runs of a study one after the other, or printing the commands that train them.

Several processes may train the same study in the same folder. While a process trains a run, it holds the
run's lock, and the other processes skip that run.
"""

import logging
from collections.abc import Iterator, Sequence

import torch

from audiostride.config import recipe as recipes
from audiostride.config.arguments import command_line, options
from audiostride.config.differences import FREE, changed
from audiostride.config.run_folder import last_checkpoint
from audiostride.errors import UserError
from audiostride.models.loading import read_checkpoint
from audiostride.models.width import complete
from audiostride.studies.plan import Run, Study
from audiostride.training.fit import InterruptionError, check, train
from audiostride.training.run_lock import RunInUseError, is_locked, lock_run

logger = logging.getLogger(__name__)


def train_all(runs: Sequence[Run]) -> None:
    """Train the runs of a study that are not done, one after the other.

    A run that was interrupted is resumed from its last checkpoint. If a run fails, the others are trained
    nevertheless.

    Raises:
        UserError: if a setting or a corpus is wrong, before anything is trained; if training is interrupted;
            or, after all runs, if some of them failed.
    """
    for run in runs:
        _check(run)
    failed = 0
    for number, run in enumerate(runs, 1):
        label = f"[{number}/{len(runs)}] {run.name}"
        try:
            _train_unless_done(run, label)
        except (InterruptionError, KeyboardInterrupt) as error:
            raise UserError(f"interrupted in {run.name}: repeat the command to resume") from error
        except UserError as error:
            failed += 1
            logger.error(f"{label}: failed: {error}")
    if failed:
        raise UserError(f"{failed} of {len(runs)} runs failed (see above): repeat the command to retry them")


def _check(run: Run) -> None:
    try:
        devices = check(run.recipe, run.folder)
    except UserError as error:
        raise UserError(f"{error} (in run {run.name})") from error
    if devices > 1:
        # Lightning starts this command again for each device, and the processes could not agree on the runs.
        raise UserError(
            f"a study trains on one device, not on {devices}: add --trainer.devices 1 and start it once per "
            "device, or run the commands of --print"
        )


def _train_unless_done(run: Run, label: str) -> None:
    if steps_done(run) >= run.steps:
        logger.info(f"{label}: done already")
        return
    try:
        with lock_run(run.folder):
            step = steps_done(run)  # read again: another process may have trained it until now
            logger.info(f"{label}: resumed at step {step}" if step else label)
            torch.compiler.reset()  # networks that were compiled for other runs count against torch's limit
            reached = train(run.recipe, run.folder, resume="auto")
    except RunInUseError:
        logger.info(f"{label}: skipped, another process trains it")
        return
    if reached < run.steps:
        logger.info(f"{label}: stopped at step {reached} of {run.steps}")


def steps_done(run: Run) -> int:
    """Return the step of a run's last checkpoint, or 0 if there is none.

    Raises:
        UserError: if the checkpoint is damaged, or the run is finished but has other settings.
    """
    last = last_checkpoint(run.folder)
    if not last.is_file():
        return 0
    step = read_checkpoint(last)["global_step"]
    if step >= run.steps:
        now_complete = complete(run.recipe)
        for name, (before, now) in changed(recipes.read_config(run.folder), now_complete).items():
            if not name.startswith(FREE):
                raise UserError(
                    f"{run.folder} was trained with {name} {before}, not {now}: move it away, or choose "
                    "another folder with --out"
                )
    return step


def readable(runs: Sequence[Run]) -> Iterator[tuple[Run, int]]:
    """Yield each run with its `steps_done`. A broken run is left out with a warning."""
    for run in runs:
        try:
            yield run, steps_done(run)
        except UserError as error:
            logger.warning(f"{error}; left out")


def commands(study: Study, runs: Sequence[Run]) -> Iterator[str]:
    """Yield for each run that is not done the command that trains it as the study would.

    A run that is broken, or that another process trains, is left out with a warning.
    """
    below = recipes.load(study.recipe)
    for run, step in readable(runs):
        if step >= run.steps:
            continue
        if is_locked(run.folder):
            logger.warning(f"another process trains {run.name}; left out")
            continue
        out = f"--out={run.folder}"
        yield command_line("train", study.recipe, *options(run.recipe, below), "--auto_resume", out)
