"""The prepared corpus: all recordings of a dataset in one memory-mapped file, from which windows are cut.

waveforms.i16    all recordings one after another, 16-bit, little-endian
index.npz        for each recording: first sample, split, label of each task, group, name, digest
card.json        description: tasks and labels, counts, seconds, settings, source, a hash of all digests
problems.csv     files and rows that were left out, or that should be checked

Opening a corpus checks the card, the index and the samples of a few recordings; `damaged` checks all samples.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from audiostride.corpora import DATASETS
from audiostride.corpora.base import SPLITS, Recording
from audiostride.corpora.splits import hashes
from audiostride.data.examples import Examples
from audiostride.errors import UserError

FORMAT = 2
# Each time a corpus is opened, this many recordings are checked, as far as they have so many bytes together.
_SAMPLED, _SAMPLED_BYTES = 8, 1 << 22
# What reading damaged JSON, zip and npy files raises.
_DAMAGE = (
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    RuntimeError,
    MemoryError,
    BadZipFile,
    struct.error,
    zlib.error,
)
WAVEFORMS, INDEX, CARD, PROBLEMS = "waveforms.i16", "index.npz", "card.json", "problems.csv"


@dataclass(frozen=True)
class Store(Examples):
    """An open prepared corpus.

    Attributes:
        folder: the folder of the prepared corpus.
        card: the contents of card.json.
        waveforms: (samples,), the samples of all recordings, int16, memory-mapped.
        starts: (recordings + 1,), first sample of each recording in `waveforms`, then the end of the last.
        splits: (recordings,), index into `SPLITS`.
        labels: from task to (recordings,), index into `tasks[task]`, −1 for none.
        groups: (recordings,), hash of the group of each recording. A split keeps groups whole.
        packed_names: (bytes,), the names of all recordings as UTF-8, separated by zero bytes.
        digests: (recordings, 16), `digest` of the samples of each recording as bytes; None in a corpus of an
            older version of audiostride.
    """

    folder: Path
    card: dict[str, Any]
    waveforms: NDArray[np.int16]
    starts: NDArray[np.int64]
    splits: NDArray[np.int8]
    labels: dict[str, NDArray[np.int64]]
    groups: NDArray[np.uint64]
    packed_names: NDArray[np.uint8]
    digests: NDArray[np.uint8] | None = None

    def __reduce__(self) -> Any:
        """Let processes that load batches map the file again instead of copying it."""
        return open_store, (self.folder,)

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return self.card["sample_rate"]

    @cached_property
    def names(self) -> NDArray[np.str_]:
        """(recordings,), path of the sound file of each recording."""
        text = self.packed_names.tobytes().decode("utf-8", "surrogateescape")
        return np.array(text.split("\0"))

    @cached_property
    def identity(self) -> str:
        """A hash of recordings, splits and labels. It does not depend on the folder."""
        digest = hashlib.sha256(json.dumps([self.tasks, self.card["hash"]]).encode())
        parts: list[NDArray[Any]] = [self.starts, self.splits, self.packed_names, *self.labels.values()]
        for part in parts:
            digest.update(part.tobytes())
        return digest.hexdigest()

    def keys(self, chosen: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return hashes of the names and lengths of recordings, the same in all their corpora."""
        names, lengths = self.names[chosen], np.diff(self.starts)[chosen]
        return hashes(f"{name} {length}" for name, length in zip(names, lengths, strict=True))

    def facts(self) -> dict[str, Any]:
        card = self.card
        return {
            "corpus": str(self.folder),
            "recordings": card["recordings"],
            "sample_rate": self.sample_rate,
            "minutes": card["seconds"] / 60,
            "left_out": card["left_out"],
            "problems": ", ".join(f"{n} × {reason}" for reason, n in card["problems"].items()) or None,
            "made_of": card["folder"],
            "hash": card["hash"][:12],
        }

    def card_row(self) -> dict[str, Any]:
        name, dataset = self.card["corpus"], DATASETS.get(self.card["corpus"])
        return {
            "corpus": dataset.title if dataset else name,
            "recordings": self.card["recordings"],
            "minutes": self.card["seconds"] / 60,
            "license": (dataset.licence if dataset else "") or None,
        }

    def samples(self, recording: int) -> NDArray[np.int16]:
        """Return (samples,), the samples of one recording."""
        return self.waveforms[self.starts[recording] : self.starts[recording + 1]]

    def is_damaged(self, recording: int) -> bool:
        """Return whether the samples of a recording are other ones than those that were packed."""
        assert self.digests is not None
        return digest(self.samples(recording)) != self.digests[recording].tobytes().hex()


def digest(samples: NDArray[np.int16]) -> str:
    """Return a hash of samples, 32 hexadecimal digits."""
    return hashlib.blake2b(samples.astype("<i2", copy=False).data, digest_size=16).hexdigest()


def joint_hash(digests: Sequence[str]) -> str:
    """Return the hash of a corpus, made of those of its recordings."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def damaged(folder: Path) -> list[str]:
    """Read a whole prepared corpus, and return the names of the recordings whose samples are damaged.

    A corpus of an older version of audiostride has one hash for all recordings. If it is wrong, the result is
    the name of the file of the waveforms.

    Raises:
        UserError: see `open_store`.
    """
    store = open_store(folder, sample=False)
    recordings = range(len(store.splits))
    if store.digests is not None:
        return [str(store.names[recording]) for recording in recordings if store.is_damaged(recording)]
    found = joint_hash([digest(store.samples(recording)) for recording in recordings])
    return [] if found == store.card["hash"] else [WAVEFORMS]


def open_store(folder: Path, sample: bool = True) -> Store:
    """Open a prepared corpus.

    Args:
        folder: folder of the prepared corpus.
        sample: also check the samples of a few recordings, other ones each time.

    Raises:
        UserError: if there is none in the folder, or if it is damaged or from another version of audiostride.
    """
    if not (folder / CARD).is_file():
        raise UserError(f"there is no prepared corpus in {folder}: make it with audiostride prepare")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if card["format"] == FORMAT:
            return _open(folder, card, sample)
    except _DAMAGE as error:
        raise UserError(
            f"the prepared corpus in {folder} is damaged ({error}): delete it and prepare it again"
        ) from error
    raise UserError(f"{folder} was prepared by another version of audiostride: prepare it again")


def _open(folder: Path, card: dict[str, Any], sample: bool) -> Store:
    if card.get("checksum") not in (None, _checksum(card)):
        raise ValueError(f"{CARD} has another checksum")
    with np.load(folder / INDEX) as index:
        labels = {task: index[f"label/{number}"] for number, task in enumerate(card["tasks"])}
        starts, splits, groups, names = (index[name] for name in ("starts", "splits", "groups", "names"))
        digests = index.get("digests")
    if digests is not None and "checksum" not in card:  # older corpora have neither
        raise ValueError(f"{CARD} has no checksum")
    # Read-only: the whole of a writable private map counts as used memory.
    waveforms = np.memmap(folder / WAVEFORMS, dtype="<i2", mode="r")
    if len(waveforms) != starts[-1]:
        raise ValueError(f"{WAVEFORMS} has the wrong length")
    store = Store(folder, card, waveforms, starts, splits, labels, groups, names, digests)
    if sample and digests is not None:
        _check_some(store)
    return store


def _check_some(store: Store) -> None:
    """Raise `ValueError` if one of a few recordings is damaged."""
    left = _SAMPLED_BYTES
    for recording in np.random.default_rng().integers(len(store.splits), size=_SAMPLED):
        left -= store.samples(recording).nbytes
        if left >= 0 and store.is_damaged(recording):
            raise ValueError(f"{WAVEFORMS} has other samples of {store.names[recording]}")


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write card.json, with a checksum."""
    content = json.dumps(card | {"checksum": _checksum(card)}, indent=2)
    (folder / CARD).write_text(content + "\n", encoding="utf-8")


def _checksum(card: dict[str, Any]) -> str:
    content = {key: value for key, value in card.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def write_index(
    folder: Path,
    recordings: Sequence[Recording],
    lengths: Sequence[int],
    digests: Sequence[str],
    tasks: dict[str, list[str]],
) -> dict[str, dict[str, dict[str, int]]]:
    """Write index.npz. Return the number of recordings of each split, task and label."""
    splits = np.array([SPLITS.index(r.split) for r in recordings], dtype=np.int8)
    labels = {task: _label_indices(recordings, task, names) for task, names in tasks.items()}
    text = "\0".join(r.path for r in recordings).encode("utf-8", "surrogateescape")
    np.savez(
        folder / INDEX,
        allow_pickle=False,
        starts=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        splits=splits,
        groups=hashes(r.group or r.path for r in recordings),
        names=np.frombuffer(text, np.uint8),
        digests=np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 16),
        **{f"label/{number}": values for number, values in enumerate(labels.values())},
    )
    return {
        split: {
            task: dict(zip(names, _count(labels[task][splits == index], len(names)), strict=True))
            for task, names in tasks.items()
        }
        for index, split in enumerate(SPLITS)
    }


def _label_indices(recordings: Sequence[Recording], task: str, names: list[str]) -> NDArray[np.int64]:
    """Return (recordings,), index of each recording's label of the task, −1 for none."""
    index_of = {name: index for index, name in enumerate(names)}
    return np.array([index_of[r.labels[task]] if task in r.labels else -1 for r in recordings])


def _count(labels: NDArray[np.int64], classes: int) -> list[int]:
    return np.bincount(labels[labels >= 0], minlength=classes).tolist()
