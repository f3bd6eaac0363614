"""The runs of a study: which are done, training the others, or the commands that would.

Several processes may train one study into one folder. Each run has a lock beside it, OUT/.NAME.lock, while
a process is on it; the others leave it out.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from audiostride.config import recipe as recipes
from audiostride.config.arguments import command_line, options
from audiostride.config.run_folder import last_checkpoint
from audiostride.errors import UserError
from audiostride.models.classifier import read_checkpoint
from audiostride.studies.plan import Run, Study
from audiostride.training.fit import InterruptionError, check, train

logger = logging.getLogger(__name__)


def train_all(runs: Sequence[Run]) -> None:
    """Train what is not done of a study, run after run, telling of each on standard error.

    A run that was broken off goes on from its last checkpoint. One that fails is told, and the others still
    run.

    Raises:
        UserError: where a setting or a corpus is wrong, before anything is trained; when all runs have had
            their turn and some of them failed; when someone interrupts.
    """
    for run in runs:
        _check(run)
    failed = 0
    for number, run in enumerate(runs, 1):
        place = f"[{number}/{len(runs)}] {run.name}"
        try:
            _take(run, place)
        except (InterruptionError, KeyboardInterrupt) as error:
            raise UserError(f"interrupted in {run.name}: the same command goes on from there") from error
        except UserError as error:
            failed += 1
            logger.error(f"{place}: failed: {error}")
    if failed:
        raise UserError(
            f"{failed} of {len(runs)} runs failed, as told above: the same command tries them again"
        )


def _check(run: Run) -> None:
    try:
        devices = check(run.recipe, run.folder)
    except UserError as error:
        raise UserError(f"{error} (in the run {run.name})") from error
    if devices > 1:
        # Lightning starts this command again for each device, and they would not agree on what is done.
        raise UserError(
            f"a study trains on one device, not on {devices}: add --trainer.devices 1 and start it once per "
            "device, or run the commands of --print"
        )


def _take(run: Run, place: str) -> None:
    """Train a run, unless it is done or another process is on it."""
    if steps_done(run) >= run.steps:
        logger.info(f"{place}: done already")
        return
    with _lock(run) as mine:
        if not mine:
            logger.info(f"{place}: left to another process")
            return
        step = steps_done(run)  # another process may just have been on it
        logger.info(f"{place}: goes on from step {step}" if step else place)
        torch.compiler.reset()  # what was compiled for other runs counts against a limit of torch's
        reached = train(run.recipe, run.folder, resume=step > 0)
    if reached < run.steps:
        logger.info(f"{place}: stopped at step {reached} of {run.steps}")


def steps_done(run: Run) -> int:
    """The step of a run's last checkpoint, 0 where there is none.

    Raises:
        UserError: where the checkpoint is damaged, or has all steps but of another recipe.
    """
    last = last_checkpoint(run.folder)
    if not last.is_file():
        return 0
    step = read_checkpoint(last)["global_step"]
    if step >= run.steps:
        for name, (before, now) in recipes.changed(recipes.read_config(run.folder), run.recipe).items():
            if not name.startswith(recipes.FREE):
                raise UserError(
                    f"{run.folder} was trained with {name} {before}, not {now}: move it away, or choose "
                    "another folder with --out"
                )
    return step


def readable(runs: Sequence[Run]) -> Iterator[tuple[Run, int]]:
    """Runs with their `steps_done`; one that is broken is told on standard error and left out."""
    for run in runs:
        try:
            yield run, steps_done(run)
        except UserError as error:
            logger.warning(f"{error}; left out")


def commands(study: Study, runs: Sequence[Run]) -> Iterator[str]:
    """Of each run that is not done the command that trains it as the study would.

    A run that is broken, or that another process is on, is told on standard error and left out.
    """
    below = recipes.load(study.recipe)
    for run, step in readable(runs):
        if step >= run.steps:
            continue
        if _is_taken(run):
            logger.warning(f"another process is on {run.name}; left out")
            continue
        resume = ["--resume"] if step else []
        yield command_line("train", study.recipe, *options(run.recipe, below), f"--out={run.folder}", *resume)


@contextmanager
def _lock(run: Run) -> Iterator[bool]:
    """Whether this process has a run's folder for itself; for as long as it says so."""
    file = _lock_file(run)
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):  # some systems do not remove what is open
            file.unlink()
        lock.release()


def _is_taken(run: Run) -> bool:
    if not _lock_file(run).exists():  # nothing is written in order to look
        return False
    with _lock(run) as mine:
        return not mine


def _lock_file(run: Run) -> Path:
    return run.folder.parent / f".{run.name}.lock"
