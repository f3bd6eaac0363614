"""What the readers of people's own sound files share: names of splits, and splits where none is given."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from audiostride.corpora.base import Recording
from audiostride.corpora.splits import by_group
from audiostride.errors import UserError

SPLIT_WORDS = {
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
    """Of ten recordings eight train, one validates and one tests; no group is on two sides.

    Args:
        recordings: whose splits are still to be filled in.
        task: whose labels are spread evenly.

    Raises:
        UserError: where there are too few groups.
    """
    splits = by_group(recordings, task)
    if len(set(splits)) < 3:
        groups = len({recording.group or recording.path for recording in recordings})
        raise UserError(
            f"too few groups of recordings ({groups}) to train, validate and test on: give a label of {task} "
            "at least three (without groups, three recordings), or give the split"
        )
    return [replace(r, split=split) for r, split in zip(recordings, splits, strict=True)]


def remarks(recordings: Sequence[Recording], tasks: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Notes on labels that cannot be learned or tested, and on groups that are on two sides of a split."""
    splits = defaultdict(set)
    for recording in recordings:
        splits[recording.group or recording.path].add(recording.split)
    torn = sum(len(sides) > 1 for sides in splits.values())
    notes = [f"groups on two sides of the split, which flatters the accuracy: {torn}"] if torn else []
    for task, labels in tasks.items():
        for split in ("train", "test"):
            heard = {r.labels[task] for r in recordings if r.split == split and task in r.labels}
            lacking = [label for label in labels if label not in heard]
            if lacking:
                notes.append(f"no {split} recordings of {task} {', '.join(lacking)}")
    return tuple(notes)
