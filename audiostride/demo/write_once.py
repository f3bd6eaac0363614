"""Corpora that are synthesised once and used again while their settings stay the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audiostride.errors import UserError


def write_once(
    folder: Path, settings: dict[str, Any], write: Callable[[Path], None], note: str = "rendered.json"
) -> bool:
    """Let `write` fill a folder, unless it was filled with the same settings before.

    The corpus is written to a folder beside `folder`, which is renamed when it is complete. It replaces a
    corpus that was written with other settings.

    Args:
        folder: folder of the corpus.
        settings: all that the corpus depends on, as JSON can hold it.
        write: a function that fills the empty folder it is given.
        note: name of the file in the folder that holds the settings. It marks the folder as written here.

    Returns:
        Whether the corpus was written.

    Raises:
        UserError: if `folder` exists but has no such file.
    """
    expected = json.dumps(settings).encode()
    if (folder / note).is_file() and (folder / note).read_bytes() == expected:
        return False
    if folder.exists() and not (folder / note).is_file():
        raise UserError(
            f"{folder} is in the way and was not made by the demo: move it away, or give another --folder"
        )
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        write(new)
        (new / note).write_bytes(expected)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return True
