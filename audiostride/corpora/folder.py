"""A user's own sound files, sorted into one folder per class.

CLASS/FILE             any format that libsndfile reads, any rate and channel count
CLASS/GROUP/FILE       a group is a speaker, a site or another source whose recordings must not be in
                       different splits; folders with the same name are one group in all classes
SPLIT/CLASS/FILE       given splits: train, valid (or validation) and test
"""

import re
from collections.abc import Sequence
from pathlib import Path

from audiostride.corpora.base import Corpus, Dataset, Problem, Recording, check_folder, printable, sound_files
from audiostride.corpora.user_data import (
    SPLIT_NAMES,
    group_notes,
    source_of_splits,
    split_notes,
    with_splits,
)
from audiostride.errors import UserError

_REMEDY = "give a folder with one sub-folder of sound files per class"


def read(folder: Path, group: str | None = None, task: str | None = None) -> Corpus:
    r"""Read a folder with one sub-folder per class; names that begin with "_" or "." are skipped.

    Args:
        folder: The folder with the sub-folders.
        group: Regular expression for the path below the folder. Its first pair of brackets matches the group
            of the recording, such as '/([^_/]+)_[^/]*$' for the part of the file name before the first "_".
            By default, the folder below the class is the group; if there is none, each recording is a group
            by itself.
        task: Name of the task. By default the name of the folder.

    Raises:
        UserError: if the folder is missing or empty, has fewer than two classes, or has splits beside other
            folders; or if a path has no group.
    """
    check_folder(folder, _REMEDY)
    name = printable(folder.resolve().name)
    task = task or name
    paths = [path for path in sound_files(folder) if not path.startswith("_")]
    pattern = _compile(group)
    has_splits = _are_splits(folder, paths)
    recordings, problems = [], []
    for path in paths:
        parts = path.split("/")
        split = SPLIT_NAMES[parts.pop(0).lower()] if has_splits and len(parts) > 1 else ""
        if len(parts) < 2:
            problems.append(Problem(path, "file outside the folders of the classes"))
        elif not parts[0].startswith("_"):
            recordings.append(
                Recording(path, split, {task: printable(parts[0])}, _group(path, parts, pattern))
            )
    if pattern:
        _check_groups(folder, recordings, pattern)
    labels = sorted({recording.labels[task] for recording in recordings})
    if len(labels) < 2:
        found = f"only {labels[0]}" if labels else "none"
        raise UserError(
            f"{folder} must contain sound files of at least two classes, but contains {found}: {_REMEDY}"
        )
    notes: tuple[str, ...] = ()
    if not has_splits:
        recordings = with_splits(recordings, task)
        notes = group_notes(recordings, "sort them as CLASS/GROUP/FILE, or give --group")
    split = "given" if has_splits else source_of_splits(recordings)
    tasks = {task: labels}
    notes += split_notes(recordings, tasks)
    return Corpus(name, folder, split, tasks, recordings, notes, tuple(problems))


def _are_splits(folder: Path, paths: Sequence[str]) -> bool:
    """Whether the folders directly below `folder` are splits instead of classes."""
    top_folders = {path.split("/")[0] for path in paths if "/" in path}
    splits = sorted(top for top in top_folders if top.lower() in SPLIT_NAMES)
    others = sorted(top_folders.difference(splits))
    kinds = {SPLIT_NAMES[split.lower()] for split in splits}
    if others and "train" in kinds and len(kinds) > 1:
        raise UserError(
            f"{folder} contains splits ({', '.join(splits)}) beside other folders ({', '.join(others)}): "
            'move the others away, or let their names begin with "_"'
        )
    return bool(splits) and not others


def _compile(group: str | None) -> re.Pattern[str] | None:
    if group is None:
        return None
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(f"--group {group} is not a regular expression ({error})") from error
    if pattern.groups < 1:
        raise UserError(f"--group {group} has no brackets around the group: write it as '({group})'")
    return pattern


def _group(path: str, parts: list[str], pattern: re.Pattern[str] | None) -> str:
    """Return the group of a recording, or ''. `parts` are the class, the folders below it and the file."""
    if pattern is None:
        return parts[1] if len(parts) > 2 else ""
    found = pattern.search(path)
    return found[1] or "" if found else ""


def _check_groups(folder: Path, recordings: Sequence[Recording], pattern: re.Pattern[str]) -> None:
    """Raise an error about a recording without a group, unless it is a stray file that is no sound.

    Such a file, for example an empty one that a recorder has left, is left out when the corpus is packed.

    Raises:
        UserError: naming the first such recording; also if no recording has a group.
    """
    without = [recording.path for recording in recordings if not recording.group]
    all_without = len(without) == len(recordings)
    wrong = next((path for path in without if all_without or _is_sound(folder / path)), None)
    if wrong is not None:
        raise UserError(f"--group {pattern.pattern} finds no group in {wrong}: give one that fits every path")


def _is_sound(path: Path) -> bool:
    """Return whether the header of a file is that of a sound."""
    import soundfile

    try:
        return soundfile.info(str(path)).frames > 0
    except (soundfile.SoundFileError, OSError, RuntimeError, UnicodeError):
        return False


DATASET = Dataset("a folder with one sub-folder of sound files per class", read)
