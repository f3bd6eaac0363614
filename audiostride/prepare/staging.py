"""The folder .NAME.part beside a prepared corpus, in which the next one is made.

lock             held by the process that prepares
journal.jsonl    which files are packed so far
waveforms.i16    their samples
corpus/          becomes NAME in one step when it is whole
old/             what was NAME, until that step is done

So whatever happens there is either the old corpus, or the new one, or none, and the next call goes on.
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

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def workshop_folder(out: Path) -> Path:
    return out.parent / f".{out.name}.part"


@contextmanager
def workshop(out: Path) -> Iterator[Path]:
    """The folder .NAME.part for this process alone. It is removed in the end, or when the disk is full; after
    any other failure it stays, for the next call to go on from.

    Raises:
        UserError: where another process works in it; for an interruption or a full disk inside.
    """
    part = workshop_folder(out)
    try:
        part.mkdir(parents=True, exist_ok=True)
        with FileLock(part / "lock", timeout=0):
            try:
                _mend(part, out)
                yield part
            except BaseException as error:
                _mend(part, out)
                if isinstance(error, OSError) and error.errno in _DISK_FULL:
                    _clear(part)
                raise
            _clear(part)
    except Timeout as error:
        raise UserError(f"another process is preparing {out} just now: wait until it is done") from error
    except KeyboardInterrupt as error:
        raise UserError("interrupted: the same command goes on from here") from error
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        with suppress(OSError):
            part.rmdir()  # where there was no room even for the lock
        raise UserError(
            f"the disk of {out.parent} is full: free some space and prepare again (nothing was left behind)"
        ) from error


def put_in_place(part: Path, out: Path) -> None:
    """Make part/corpus the corpus, once all of it is on the disk."""
    for path in (part / "corpus").iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    if out.exists():
        out.rename(part / "old")
    (part / "corpus").rename(out)


def _mend(part: Path, out: Path) -> None:
    """Undo the last steps where they were broken off: the old corpus back in its place, samples back beside
    their journal."""
    if (part / "old").exists() and not out.exists():
        (part / "old").rename(out)
    if (part / "corpus" / WAVEFORMS).exists() and not (part / WAVEFORMS).exists():
        (part / "corpus" / WAVEFORMS).rename(part / WAVEFORMS)
    for name in ("old", "corpus"):
        shutil.rmtree(part / name, ignore_errors=True)


def _clear(part: Path) -> None:
    """Remove the folder, its lock last: while that is there no other process begins."""
    for path in part.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()
    with suppress(OSError):  # another process may knock just now
        (part / "lock").unlink()
        part.rmdir()
