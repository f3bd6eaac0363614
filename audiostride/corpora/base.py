"""What a dataset is for audiostride: recordings with labels and splits, found without reading their sound.

To add a dataset called pets, write `audiostride/corpora/pets.py`:

    from pathlib import Path

    from audiostride.corpora.base import Corpus, Dataset, Recording, check_folder, sound_files
    from audiostride.corpora.user_data import with_splits


    def read(folder: Path, task: str = "animal") -> Corpus:
        "Find the recordings, which have names such as dog_12.wav."
        check_folder(folder, "unpack the recordings of pets there")
        paths = list(sound_files(folder))
        recordings = [Recording(path, "train", {task: path.split("_")[0]}) for path in paths]
        labels = sorted({recording.labels[task] for recording in recordings})
        return Corpus("pets", folder, "by group", {task: labels}, with_splits(recordings, task))


    DATASET = Dataset("recordings of pets", read)

Then add `"pets": pets.DATASET` to `DATASETS` in `audiostride/corpora/__init__.py`. Now there is a command
`audiostride prepare pets FOLDER`. The parameters of `read` after the first become its options, so they need a
type and a default; their docstring becomes the help.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from audiostride.errors import UserError

SPLITS = ("train", "valid", "test")

# The formats of libsndfile, except files without a header.
SOUND_SUFFIXES = frozenset(
    ".wav .wave .flac .ogg .oga .opus .mp3 .aiff .aif .aifc .au .snd .caf .w64 .rf64".split()
)


@dataclass(frozen=True)
class Recording:
    """One sound file of a dataset.

    Attributes:
        path: path of the file with forward slashes, absolute or relative to the dataset's folder.
        split: one of `SPLITS`.
        labels: the label of each task; a task may be missing.
        group: the speaker, site or other source whose recordings must not be in different splits. If empty,
            the recording is a group by itself.
    """

    path: str
    split: str
    labels: dict[str, str]
    group: str = ""


@dataclass(frozen=True)
class Problem:
    """A fault of one file of a dataset, or of a row of its metadata.

    Attributes:
        path: path of the file, as in `Recording`.
        reason: the fault, in the same words for all that share it, such as "row without its file".
        detail: what is specific to this file or row, or an empty string.
    """

    path: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Corpus:
    """A dataset on disk, as its reader returns it.

    Attributes:
        name: name of the dataset, also the default name of the prepared corpus.
        folder: folder of the dataset.
        split: source of the splits: "official", "paper", "given", "by group" or "by file".
        tasks: the labels of each task, in the order of the logits.
        recordings: the recordings, in an order that does not depend on the machine.
        notes: sentences about this copy of the dataset that a user should read.
        problems: faults of single files and rows.
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
    """A file to download. Files named .tar.gz, .tgz, .tar and .zip are unpacked, others are stored unchanged.

    Attributes:
        url: URL of the file.
        name: name of the local file, and of the file on a mirror.
        into: sub-folder of the corpus's folder for the contents of the archive, or for the file itself.
        size: size in bytes, if known.
        checksum: "sha256:…" or "md5:…", if known.
    """

    url: str
    name: str
    into: str = "."
    size: int | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class Dataset:
    """How to download and read a dataset.

    Attributes:
        title: full name.
        read: function that takes the folder and options, and returns a `Corpus` or raises `UserError`.
        licence: the licence in one line, shown before a download.
        archives: files to download; empty if the dataset cannot be downloaded.
    """

    title: str
    read: Callable[..., Corpus]
    licence: str = ""
    archives: tuple[Archive, ...] = ()


def check_folder(folder: Path, remedy: str) -> None:
    """Raise `UserError` if a folder is missing or empty. `remedy` tells the user what to do."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: {remedy}")
    if not any(folder.iterdir()):
        raise UserError(f"the folder {folder} is empty: {remedy}")


def wrong_folder_error(folder: Path, title: str, reason: str, remedy: str) -> UserError:
    """Return the error for a folder that is not the dataset `title`. It lists what the folder contains."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    rest = [f"{len(names) - 4} more"] if len(names) > 5 else names[4:]
    found = ", ".join(names[:4] + rest) or "only hidden files"
    return UserError(f"{folder} is not {title}, because {reason} (it contains {found}): {remedy}")


def read_text(path: Path) -> str:
    """Return the text of a metadata file in UTF-8, with or without a byte order mark.

    Raises:
        UserError: if the file is missing or is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text: save it as UTF-8, or replace it by the original file"
        ) from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): make it readable, or replace it by the original file"
        ) from error


def sound_files(folder: Path, suffixes: frozenset[str] = SOUND_SUFFIXES) -> Iterator[str]:
    """Yield the paths of the sound files below a folder, in a fixed order, with forward slashes.

    The paths are relative to `folder`. Hidden files and folders are skipped. A folder that several links lead
    to is entered once.

    Raises:
        UserError: if a folder cannot be read.
    """
    visited = set()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=_raise_unreadable):
        real_path = os.path.realpath(here)
        if real_path in visited:
            folders.clear()
            continue
        visited.add(real_path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(here).relative_to(folder)
        for name in sorted(names):
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                yield (relative / name).as_posix()


def _raise_unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise UserError(
            f"the folder {error.filename} cannot be read ({error.strerror}): make it readable, or remove it"
        ) from error


def printable(name: str) -> str:
    """Return the name of a file or folder for use as a label, with bytes that are not UTF-8 as %XX."""
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in name)


def files_without_row(files: Iterable[str], rows: set[str]) -> tuple[Problem, ...]:
    """Return a problem for each file that no row of the metadata names."""
    return tuple(Problem(path, "file without its row") for path in files if path not in rows)
