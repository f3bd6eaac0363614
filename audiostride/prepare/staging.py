"""The staging folder .NAME.part beside a prepared corpus, in which the next version of it is built.

lock             held by the process that prepares
journal.jsonl    the files packed so far
waveforms.i16    their samples
corpus/          the new corpus; renamed to NAME when it is complete
old/             the former NAME, until that renaming is done

A process that is killed at any moment leaves the old corpus, the new one, or none. The next call continues
from the staging folder.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from audiostride.data.store import WAVEFORMS
from audiostride.errors import UserError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def staging_folder(out: Path) -> Path:
    """Return the path of the staging folder that belongs to the prepared corpus `out`."""
    return out.parent / f".{out.name}.part"


@contextmanager
def open_staging(out: Path) -> Iterator[Path]:
    """Create or reopen the staging folder of `out`, for this process alone.

    The folder is removed at the end, and also when the disk is full. After any other failure it stays, so
    that the next call can continue.

    Args:
        out: folder of the prepared corpus.

    Yields:
        The path of the staging folder.

    Raises:
        UserError: if another process uses the folder, or if the body is interrupted or fills the disk.
    """
    staging = staging_folder(out)
    try:
        staging.mkdir(parents=True, exist_ok=True)
        with FileLock(staging / "lock", timeout=0):
            try:
                _roll_back(staging, out)
                yield staging
            except BaseException as error:
                _roll_back(staging, out)
                if isinstance(error, OSError) and error.errno in DISK_FULL:
                    _remove(staging)
                raise
            _remove(staging)
    except Timeout as error:
        raise UserError(f"another process is preparing {out}: wait until it has finished") from error
    except KeyboardInterrupt as error:
        raise UserError("interrupted: run the same command again to continue") from error
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        with suppress(OSError):
            staging.rmdir()  # empty if there was no space even for the lock
        raise UserError(
            f"the disk of {out.parent} is full: free some space and prepare again (no files were left behind)"
        ) from error


def publish(staging: Path, out: Path) -> None:
    """Flush staging/corpus to the disk and rename it to `out`, in place of an older corpus."""
    for path in (staging / "corpus").iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    if out.exists():
        out.rename(staging / "old")
    (staging / "corpus").rename(out)


def _roll_back(staging: Path, out: Path) -> None:
    """Undo the renamings of a process that stopped between them.

    The old corpus returns to `out`, and the samples return to the folder of their journal.
    """
    if (staging / "old").exists() and not out.exists():
        (staging / "old").rename(out)
    if (staging / "corpus" / WAVEFORMS).exists() and not (staging / WAVEFORMS).exists():
        (staging / "corpus" / WAVEFORMS).rename(staging / WAVEFORMS)
    for name in ("old", "corpus"):
        shutil.rmtree(staging / name, ignore_errors=True)


def _remove(staging: Path) -> None:
    """Remove the staging folder, the lock last, because no other process starts while the lock exists."""
    for path in staging.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()
    with suppress(OSError):  # another process may try the lock at this moment
        (staging / "lock").unlink()
        staging.rmdir()
