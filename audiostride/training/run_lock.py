"""The lock of a run folder: only one process trains a run at a time.

The system releases the lock when the process ends, however it ends. The lock file stays.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

from audiostride.config.run_folder import LOCK
from audiostride.errors import UserError


class RunInUseError(UserError):
    """Another process trains the run."""


def lock_run(run: Path) -> AbstractContextManager[object]:
    """Lock a run folder, made if it does not exist. Return a context that releases the lock at its end.

    A process may lock the same run several times. Of the processes that train one model together, only the
    first one locks it.

    Raises:
        RunInUseError: another process holds the lock.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:
        return nullcontext()
    run.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(run / LOCK, timeout=0, is_singleton=True).acquire()
    except Timeout as error:
        raise RunInUseError(
            f"another process trains {run}: wait until it has finished, or choose another --out"
        ) from error


def is_locked(run: Path) -> bool:
    """Return whether a process trains a run, without making any file."""
    if not (run / LOCK).exists():
        return False
    try:
        with lock_run(run):
            return False
    except RunInUseError:
        return True
