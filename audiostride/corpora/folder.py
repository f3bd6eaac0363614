"""Sound files of one's own, sorted into one folder per class.

CLASS/FILE             of any format that libsndfile reads, of any rate and channel count
CLASS/GROUP/FILE       where no group, such as a speaker or a site, may fall on two sides of a split; folders
                       of one name are one group, whatever the class
SPLIT/CLASS/FILE       where the split is given; SPLIT is train, valid (or validation) or test
"""

import re
from collections.abc import Sequence
from pathlib import Path

from audiostride.corpora.base import Corpus, Dataset, Problem, Recording, check_folder, sound_files
from audiostride.corpora.user_data import SPLIT_WORDS, remarks, with_splits
from audiostride.errors import UserError

_REMEDY = "give a folder with one sub-folder of sound files per class"


def read(folder: Path, group: str | None = None, task: str | None = None) -> Corpus:
    r"""Find the classes and their recordings; names that begin with "_" or "." are passed over.

    Args:
        folder: that holds one folder per class.
        group: a regular expression whose first bracket finds a recording's group in its path below the
            folder, such as '/([^_/]+)_[^/]*$' for the part of the file name before the first "_". By default
            the folder below that of the class, or each recording for itself.
        task: name of what the classes tell apart. By default the folder's own name.

    Raises:
        UserError: where the folder is missing, empty, holds fewer than two classes, or splits beside other
            folders; for a group that is not found in every path.
    """
    check_folder(folder, _REMEDY)
    name = folder.resolve().name
    task = task or name
    pattern = _compile(group)
    paths = [path for path in sound_files(folder) if not path.startswith("_")]
    has_splits = _has_splits(folder, paths)
    recordings, problems = [], []
    for path in paths:
        parts = path.split("/")
        split = SPLIT_WORDS[parts.pop(0).lower()] if has_splits and len(parts) > 1 else ""
        if len(parts) < 2:
            problems.append(Problem(path, "file outside the folders of the classes"))
        elif not parts[0].startswith("_"):
            recordings.append(Recording(path, split, {task: parts[0]}, _group(path, parts, pattern)))
    labels = sorted({recording.labels[task] for recording in recordings})
    if len(labels) < 2:
        found = f"only {labels[0]}" if labels else "none"
        raise UserError(
            f"{folder} must hold sound files of at least two classes, but holds {found}: {_REMEDY}"
        )
    if not has_splits:
        recordings = with_splits(recordings, task)
    split = "given" if has_splits else "by group"
    tasks = {task: labels}
    return Corpus(name, folder, split, tasks, recordings, remarks(recordings, tasks), tuple(problems))


def _has_splits(folder: Path, paths: Sequence[str]) -> bool:
    """Whether the folders below `folder` are splits rather than classes."""
    tops = {path.split("/")[0] for path in paths if "/" in path}
    splits = sorted(top for top in tops if top.lower() in SPLIT_WORDS)
    others = sorted(tops.difference(splits))
    sides = {SPLIT_WORDS[split.lower()] for split in splits}
    if others and "train" in sides and len(sides) > 1:
        raise UserError(
            f"{folder} holds splits ({', '.join(splits)}) beside other folders ({', '.join(others)}): move "
            'the others away, or begin their names with "_"'
        )
    return bool(splits) and not others


def _compile(group: str | None) -> re.Pattern[str] | None:
    if group is None:
        return None
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(f"--group {group} is no regular expression ({error})") from error
    if pattern.groups < 1:
        raise UserError(
            f"--group {group} has no bracket around what names the group: write it as '({group})'"
        )
    return pattern


def _group(path: str, parts: list[str], pattern: re.Pattern[str] | None) -> str:
    """The group of a recording; `parts` are the class, folders below it and the file."""
    if pattern is None:
        return parts[1] if len(parts) > 2 else ""
    found = pattern.search(path)
    if found is None or not found[1]:
        raise UserError(f"--group {pattern.pattern} finds no group in {path}: give one that fits every path")
    return found[1]


DATASET = Dataset("a folder with one sub-folder of sound files per class", read)
