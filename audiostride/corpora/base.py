"""What a dataset is to audiostride: recordings with labels and splits, found without touching their sound.

A new dataset is one file with a `read` function and a `Dataset` that names it, added to `DATASETS` in
`audiostride.corpora`. `read` takes the dataset's folder and returns a `Corpus`; what else it takes, with a
type and a default, becomes an option of `audiostride prepare NAME`, and its docstring the help.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audiostride.errors import UserError

SPLITS = ("train", "valid", "test")

# What libsndfile reads, but for files without a header.
SOUND_SUFFIXES = frozenset(
    ".wav .wave .flac .ogg .oga .opus .mp3 .aiff .aif .aifc .au .snd .caf .w64 .rf64".split()
)


@dataclass(frozen=True)
class Recording:
    """One sound file of a dataset.

    Attributes:
        path: of the file, relative to the dataset's folder, with forward slashes; or absolute.
        split: one of `SPLITS`.
        labels: from task to label; a task may be missing.
        group: what must stay on one side of a split, such as a speaker or a site; by default the recording.
    """

    path: str
    split: str
    labels: dict[str, str]
    group: str = ""


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file of a dataset, or with a row about it.

    Attributes:
        path: of the file, as in `Recording`.
        reason: in the same words for all that share it, such as "row without its file".
        detail: what is particular to this one, or nothing.
    """

    path: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Corpus:
    """A dataset as it lies on disk.

    Attributes:
        name: as given to `audiostride prepare`.
        folder: that holds it.
        split: where the splits come from: "official", "paper", or words to that effect.
        tasks: from task to its labels in the order of the logits.
        recordings: in a fixed order.
        notes: one sentence each on what a user should know about this copy.
        problems: of single rows and files, such as a row without its file.
    """

    name: str
    folder: Path
    split: str
    tasks: dict[str, list[str]]
    recordings: list[Recording]
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Archive:
    """A file to fetch: .tar.gz, .tgz, .tar and .zip are unpacked, anything else is put in place as it is.

    Args:
        url: where it is.
        name: file name that it is saved under, also looked for on a mirror.
        into: sub-folder of the corpus's folder that its contents (or the file itself) go into.
        size: bytes, where known.
        checksum: "sha256:…" or "md5:…", where known.
    """

    url: str
    name: str
    into: str = "."
    size: int | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class Dataset:
    """How a dataset is got and read.

    Attributes:
        title: its full name.
        read: from its folder, and options of its own, to a `Corpus`; raises `UserError`.
        licence: in one line, shown before a download.
        archives: to download, or none.
    """

    title: str
    read: Callable[..., Corpus]
    licence: str = ""
    archives: tuple[Archive, ...] = ()


def check_folder(folder: Path, remedy: str) -> None:
    """Raise `UserError` where a folder is missing or empty; `remedy` says what to do about it."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: {remedy}")
    if not any(folder.iterdir()):
        raise UserError(f"the folder {folder} is empty: {remedy}")


def unlike(folder: Path, title: str, reason: str, remedy: str) -> UserError:
    """That a folder is not the dataset it was said to be; `reason` and `remedy` are parts of the sentence."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    rest = [f"{len(names) - 4} more"] if len(names) > 5 else names[4:]
    held = ", ".join(names[:4] + rest) or "nothing but hidden files"
    return UserError(f"{folder} is not {title}, {reason} (it holds {held}): {remedy}")


def read_text(path: Path) -> str:
    """A metadata file, with or without a byte order mark.

    Raises:
        UserError: where it is missing or no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text: save it as UTF-8, or put the original there") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): make it readable, or put the original there"
        ) from error


def sound_files(folder: Path, suffixes: frozenset[str] = SOUND_SUFFIXES) -> Iterator[str]:
    """Paths of the sound files below a folder, relative to it, in a fixed order, with forward slashes.

    Hidden files and folders are passed over; a folder that is there by several links is entered once.
    """
    seen = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(here)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(here).relative_to(folder)
        for name in sorted(names):
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                yield (inside / name).as_posix()


def without_row(files: Iterable[str], rows: set[str]) -> tuple[Problem, ...]:
    """The files that no row of the metadata speaks of."""
    return tuple(Problem(path, "file without its row") for path in files if path not in rows)
