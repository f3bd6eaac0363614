"""What the readers of a user's own sound files share: names of splits, and splits by group."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from audiostride.corpora.base import Recording
from audiostride.corpora.splits import by_group
from audiostride.errors import UserError

# What users call the splits, in lower case.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


def with_splits(recordings: Sequence[Recording], task: str) -> list[Recording]:
    """Return the recordings with new splits: 80 % train, 10 % valid, 10 % test, each group in one split.

    Args:
        recordings: recordings, whose own splits are ignored.
        task: task whose labels are distributed evenly over the splits.

    Raises:
        UserError: if there are too few groups.
    """
    splits = by_group(recordings, task)
    if len(set(splits)) < 3:
        groups = len({recording.group or recording.path for recording in recordings})
        raise UserError(
            f"too few groups of recordings ({groups}) for training, validation and test: give a label "
            f"of {task} at least three groups (three recordings, if there are no groups), or give the split"
        )
    return [replace(r, split=split) for r, split in zip(recordings, splits, strict=True)]


def source_of_splits(recordings: Sequence[Recording]) -> str:
    """Return how `with_splits` has split recordings: "by group", or "by file" if there are no groups."""
    return "by group" if any(recording.group for recording in recordings) else "by file"


def group_notes(recordings: Sequence[Recording], remedy: str) -> tuple[str, ...]:
    """Return a note if no recording has a group although the splits are to keep groups whole.

    Args:
        recordings: the recordings, with splits that `with_splits` has chosen.
        remedy: how to give groups.
    """
    if source_of_splits(recordings) == "by group":
        return ()
    return (
        "no groups are given, so recordings of one speaker or of another common source may be in both "
        f"training and test, which inflates the accuracy: {remedy}",
    )


def split_notes(recordings: Sequence[Recording], tasks: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return notes on labels without train or test recordings."""
    notes = []
    for task, labels in tasks.items():
        for split in ("train", "test"):
            present = {r.labels[task] for r in recordings if r.split == split and task in r.labels}
            missing = [label for label in labels if label not in present]
            if missing:
                notes.append(f"no {split} recordings of {task} {', '.join(missing)}")
    return tuple(notes)
