"""The sound files that a command line names. This module does not import torch."""

import os
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import BinaryIO

from audiostride.corpora.base import sound_files
from audiostride.errors import UsageError


def find_sounds(names: Sequence[str], listed: BinaryIO) -> list[Path]:
    """Return the files that arguments name, in the order of the arguments, each once.

    Args:
        names: paths of files; folders, whose sound files are taken with those in folders below; patterns such
            as ``calls/**/*.wav``; or "-" for a list of files and folders on standard input.
        listed: standard input: one path per line, or paths that end with a zero byte, as ``find -print0``
            writes them.

    Returns:
        The files. A path that does not exist is among them, so that it is reported like any other bad file.

    Raises:
        UsageError: if there is no file.
        UserError: if a folder cannot be read.
    """
    files = list(dict.fromkeys(file for name in names for file in _find(name, listed)))
    if not files:
        raise UsageError(f"there are no sound files in {', '.join(names)}: give files, folders or patterns")
    return files


def _find(name: str, listed: BinaryIO) -> Iterator[Path]:
    if name == "-":
        for path in _read_list(listed):
            yield from expand(path)
    elif has_magic(name) and not os.path.lexists(name):
        # A pattern without a match is reported as a missing file, as in a shell.
        for path in sorted(glob(name, recursive=True)) or [name]:  # noqa: PTH207  pathlib takes no absolute patterns
            yield from expand(path)
    else:
        yield from expand(name)


def expand(path: str) -> Iterator[Path]:
    """Yield the sound files below a folder, or the path itself if it is no folder."""
    if not Path(path).is_dir():
        yield Path(path)
        return
    for name in sound_files(Path(path)):
        yield Path(path, name)


def _read_list(listed: BinaryIO) -> list[str]:
    content = listed.read()
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(line) for line in lines if line]
