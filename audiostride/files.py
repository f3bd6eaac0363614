"""Files that are replaced only when the new one is complete."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_when_complete(path: Path) -> Iterator[Path]:
    """Write a file beside `path` and rename it to `path` at the end, so that `path` is never half written.

    After an error the new file is removed and `path` stays as it was. The error of a full disk names `path`.

    Args:
        path: the file to write or replace. Its folder exists.

    Yields:
        The file to write to, ``NAME.new`` in the same folder.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        yield new
        new.replace(path)
    except OSError as error:
        if error.errno and not error.filename:  # the error of a write names no file
            error.filename = str(path)
        raise
    finally:
        new.unlink(missing_ok=True)
