"""The prepared corpus: every recording of a dataset in one memory-mapped file, ready to be cut.

waveforms.i16    all recordings one after another, 16-bit, little-endian
index.npz        per recording: where it begins, its split, its label of each task, its group, its name
card.json        what it is: tasks and labels, counts, seconds, settings, where it comes from, a hash
problems.csv     files and rows that were left out, or that someone should look at
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from audiostride.corpora.base import SPLITS, Recording
from audiostride.corpora.splits import hashes
from audiostride.errors import UserError

FORMAT = 2
SAMPLE_RATE = 16000  # in Hz; that of the frontend
WAVEFORMS, INDEX, CARD, PROBLEMS = "waveforms.i16", "index.npz", "card.json", "problems.csv"


@dataclass(frozen=True)
class Store:
    """A prepared corpus, opened.

    Attributes:
        folder: that holds it.
        card: the contents of card.json.
        waveforms: all samples, int16, memory-mapped.
        starts: (recordings + 1,), where each recording begins in `waveforms`, then the end of the last.
        splits: (recordings,), index into `SPLITS`.
        labels: from task to (recordings,), index into `card["tasks"][task]`, −1 for none.
        groups: (recordings,), hash of what must not be torn apart by a split.
    """

    folder: Path
    card: dict[str, Any]
    waveforms: NDArray[np.int16]
    starts: NDArray[np.int64]
    splits: NDArray[np.int8]
    labels: dict[str, NDArray[np.int64]]
    groups: NDArray[np.uint64]
    packed_names: NDArray[np.uint8]

    def __reduce__(self) -> Any:
        """Processes that load batches map the file again instead of copying it."""
        return open_store, (self.folder,)

    @property
    def sample_rate(self) -> int:
        return self.card["sample_rate"]

    @property
    def tasks(self) -> dict[str, list[str]]:
        return self.card["tasks"]

    @cached_property
    def names(self) -> NDArray[np.str_]:
        """(recordings,), the file that each recording came from."""
        text = self.packed_names.tobytes().decode("utf-8", "surrogateescape")
        return np.array(text.split("\0"))

    @cached_property
    def identity(self) -> str:
        """The same for corpora with the same recordings, splits and labels, wherever they lie."""
        digest = hashlib.sha256(json.dumps([self.tasks, self.card["hash"]]).encode())
        parts: list[NDArray[Any]] = [self.starts, self.splits, self.packed_names, *self.labels.values()]
        for part in parts:
            digest.update(part.tobytes())
        return digest.hexdigest()


def open_store(folder: Path) -> Store:
    """Open a prepared corpus.

    Raises:
        UserError: where there is none, or one that another version wrote, or a damaged one.
    """
    if not (folder / CARD).is_file():
        raise UserError(f"there is no prepared corpus in {folder}: make it with audiostride prepare")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if card["format"] == FORMAT:
            return _open(folder, card)
    except (OSError, EOFError, LookupError, TypeError, ValueError, BadZipFile) as error:
        raise UserError(f"the prepared corpus in {folder} is damaged ({error}): prepare it again") from error
    raise UserError(f"{folder} was prepared by another version of audiostride: prepare it again")


def _open(folder: Path, card: dict[str, Any]) -> Store:
    with np.load(folder / INDEX) as index:
        labels = {task: index[f"label/{number}"] for number, task in enumerate(card["tasks"])}
        starts, splits, groups, names = (index[name] for name in ("starts", "splits", "groups", "names"))
    # Read-only: a private map that could be written counts as memory, however little of it is touched.
    waveforms = np.memmap(folder / WAVEFORMS, dtype="<i2", mode="r")
    if len(waveforms) != starts[-1]:
        raise ValueError(f"{WAVEFORMS} is cut")
    return Store(folder, card, waveforms, starts, splits, labels, groups, names)


def write_index(
    folder: Path, recordings: Sequence[Recording], lengths: Sequence[int], tasks: dict[str, list[str]]
) -> dict[str, dict[str, dict[str, int]]]:
    """Write index.npz, and return how many recordings there are of each split, task and label."""
    splits = np.array([SPLITS.index(r.split) for r in recordings], dtype=np.int8)
    labels = {task: _numbers(recordings, task, names) for task, names in tasks.items()}
    text = "\0".join(r.path for r in recordings).encode("utf-8", "surrogateescape")
    np.savez(
        folder / INDEX,
        allow_pickle=False,
        starts=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        splits=splits,
        groups=hashes(r.group or r.path for r in recordings),
        names=np.frombuffer(text, np.uint8),
        **{f"label/{number}": values for number, values in enumerate(labels.values())},
    )
    return {
        split: {
            task: dict(zip(names, _count(labels[task][splits == place], len(names)), strict=True))
            for task, names in tasks.items()
        }
        for place, split in enumerate(SPLITS)
    }


def _numbers(recordings: Sequence[Recording], task: str, names: list[str]) -> NDArray[np.int64]:
    number = {name: place for place, name in enumerate(names)}
    return np.array([number[r.labels[task]] if task in r.labels else -1 for r in recordings])


def _count(labels: NDArray[np.int64], classes: int) -> list[int]:
    return np.bincount(labels[labels >= 0], minlength=classes).tolist()
