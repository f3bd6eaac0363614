"""What every dataset reader gives: recordings with labels and splits, without touching their sound."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Recording:
    """One sound file of a dataset.

    Attributes:
        path: of the file, relative to the dataset's folder, with forward slashes.
        split: one of `SPLITS`.
        labels: from task to label; a task may be missing.
    """

    path: str
    split: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Corpus:
    """A dataset as it lies on disk.

    Attributes:
        name: as given to `audiostride prepare`.
        folder: that holds it.
        sample_rate: in Hz, of every recording.
        tasks: from task to its labels in the order of the logits.
        recordings: in a fixed order.
        notes: one sentence each on what a user should know about this copy, such as files missing from it.
    """

    name: str
    folder: Path
    sample_rate: int
    tasks: dict[str, list[str]]
    recordings: list[Recording]
    notes: tuple[str, ...] = ()


Reader = Callable[[Path], Corpus]
