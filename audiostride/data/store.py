"""The prepared corpus: every recording of a dataset in one memory-mapped file, ready to be cut.

waveforms.i16    all recordings one after another, 16-bit, little-endian
index.npz        per recording: where it begins, its split, its label of each task, its name
card.json        what it is: tasks and labels, counts, seconds, sample rate, where it comes from
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from audiostride.corpora.base import SPLITS, Corpus
from audiostride.errors import UserError

FORMAT = 1
_WAVEFORMS, _INDEX, _CARD = "waveforms.i16", "index.npz", "card.json"


@dataclass(frozen=True)
class Store:
    """A prepared corpus, opened.

    Attributes:
        folder: that holds it.
        card: the contents of card.json.
        waveforms: all samples, int16, memory-mapped.
        starts: (recordings + 1,), where each recording begins in `waveforms`, then its end.
        splits: (recordings,), index into `SPLITS`.
        labels: from task to (recordings,), index into `card["tasks"][task]`, −1 for none.
        names: (recordings,), the file that each recording came from.
    """

    folder: Path
    card: dict[str, Any]
    waveforms: NDArray[np.int16]
    starts: NDArray[np.int64]
    splits: NDArray[np.int8]
    labels: dict[str, NDArray[np.int64]]
    names: NDArray[np.str_]

    @property
    def sample_rate(self) -> int:
        return self.card["sample_rate"]

    @property
    def tasks(self) -> dict[str, list[str]]:
        return self.card["tasks"]

    def identity(self) -> str:
        """The same for corpora with the same recordings, lengths, splits and labels, wherever they lie."""
        digest = hashlib.sha256(json.dumps(self.tasks).encode())
        parts: list[NDArray[Any]] = [self.starts, self.splits, self.names, *self.labels.values()]
        for part in parts:
            digest.update(part.tobytes())
        return digest.hexdigest()


def open_store(folder: Path) -> Store:
    """Open a prepared corpus.

    Raises:
        UserError: where there is none, or one that another version wrote, or a damaged one.
    """
    if not (folder / _CARD).is_file():
        raise UserError(f"there is no prepared corpus in {folder}: make it with audiostride prepare")
    try:
        card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        if card["format"] != FORMAT:
            raise UserError(f"{folder} was prepared by another version of audiostride: prepare it again")
        with np.load(folder / _INDEX) as index:
            labels = {task: index[f"label/{task}"] for task in card["tasks"]}
            starts, splits, names = index["starts"], index["splits"], index["names"]
        waveforms = np.memmap(folder / _WAVEFORMS, dtype="<i2", mode="r")
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"the prepared corpus in {folder} is damaged ({error}): prepare it again") from error
    if len(waveforms) != starts[-1]:
        raise UserError(f"the prepared corpus in {folder} is damaged ({_WAVEFORMS} is cut): prepare it again")
    return Store(folder, card, waveforms, starts, splits, labels, names)


def prepare(corpus: Corpus, out: Path) -> Store:
    """Pack a corpus into `out`, or do nothing where it lies there already, unchanged.

    It is written aside and renamed when whole, so an interruption leaves either the old state or the new.

    Raises:
        UserError: where a recording cannot be used, or `out` holds something else.
    """
    source = _fingerprint(corpus)
    if out.exists() and not (out / _CARD).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is in the way and is no prepared corpus: move it, or choose another --out")
    if (out / _CARD).is_file() and _is_current(out, source):
        return open_store(out)
    with _written_aside(out) as folder:
        starts = _pack(corpus, folder / _WAVEFORMS)
        _write_index(corpus, starts, folder / _INDEX)
        card = json.dumps(_card(corpus, starts, source), indent=2, ensure_ascii=False)
        (folder / _CARD).write_text(card + "\n", encoding="utf-8")
    return open_store(out)


def _is_current(out: Path, source: str) -> bool:
    try:
        return open_store(out).card.get("source") == source
    except UserError:
        return False


def _fingerprint(corpus: Corpus) -> str:
    """Changes with any file's name, size or time, and with the labels and splits."""
    digest = hashlib.sha256(repr((FORMAT, corpus.name, corpus.sample_rate, corpus.tasks)).encode())
    for recording in corpus.recordings:
        stat = (corpus.folder / recording.path).stat()
        digest.update(repr((recording, stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()


@contextmanager
def _written_aside(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes its place if all goes well, and vanishes if not."""
    aside, old = (out.parent / f".{out.name}.{kind}-{os.getpid()}" for kind in ("new", "old"))
    missing = [parent for parent in out.parents if not parent.exists()]
    aside.mkdir(parents=True)
    try:
        yield aside
        if out.exists():
            out.rename(old)
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)
        for parent in missing:
            with suppress(OSError):  # it is not empty: all went well
                parent.rmdir()


def _pack(corpus: Corpus, target: Path) -> NDArray[np.int64]:
    """Write all samples; tell where each recording begins, and where the last one ends."""
    ends, bad = [0], []
    with target.open("wb") as file:
        for recording in tqdm(corpus.recordings, desc=f"preparing {corpus.name}", unit=" files"):
            try:
                samples = read_mono(corpus.folder / recording.path, corpus.sample_rate)
            except UserError as error:
                bad.append(str(error))
                continue
            file.write(samples.astype("<i2").tobytes())
            ends.append(ends[-1] + len(samples))
    if bad:
        others = f" (and {len(bad) - 1} more recordings cannot be used)" if len(bad) > 1 else ""
        raise UserError(f"{bad[0]}{others}")
    return np.array(ends, dtype=np.int64)


def read_mono(path: Path, sample_rate: int) -> NDArray[np.int16]:
    """The samples of a mono sound file at the given rate in Hz.

    Raises:
        UserError: where it cannot be read, holds no sample or values that are no numbers, has several
            channels or another rate.
    """
    try:
        # As numbers in [−1, 1]: libsndfile would give files of floating point as int16 without scaling them.
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"{path} cannot be read as sound: repair or remove it") from error
    if len(samples) == 0:
        raise UserError(f"{path} holds no samples: repair or remove it")
    if samples.shape[1] != 1:
        raise UserError(f"{path} has {samples.shape[1]} channels where one is expected: mix it to mono first")
    if rate != sample_rate:
        raise UserError(
            f"{path} is sampled at {rate} Hz where {sample_rate} Hz is expected: resample it first"
        )
    if not np.isfinite(samples).all():
        raise UserError(f"{path} holds values that are no numbers: repair or remove it")
    return np.clip(np.rint(samples[:, 0] * 32768), -32768, 32767).astype(np.int16)


def _write_index(corpus: Corpus, starts: NDArray[np.int64], target: Path) -> None:
    labels = {
        f"label/{task}": np.array(
            [names.index(r.labels[task]) if task in r.labels else -1 for r in corpus.recordings]
        )
        for task, names in corpus.tasks.items()
    }
    splits = np.array([SPLITS.index(r.split) for r in corpus.recordings], dtype=np.int8)
    names = np.array([r.path for r in corpus.recordings])
    np.savez(target, allow_pickle=False, starts=starts, splits=splits, names=names, **labels)


def _card(corpus: Corpus, starts: NDArray[np.int64], source: str) -> dict[str, Any]:
    counts = {
        split: {
            task: {
                label: sum(r.split == split and r.labels.get(task) == label for r in corpus.recordings)
                for label in names
            }
            for task, names in corpus.tasks.items()
        }
        for split in SPLITS
    }
    return {
        "format": FORMAT,
        "corpus": corpus.name,
        "folder": str(corpus.folder),
        "sample_rate": corpus.sample_rate,
        "recordings": len(corpus.recordings),
        "seconds": round(int(starts[-1]) / corpus.sample_rate, 3),
        "split": "official",
        "tasks": corpus.tasks,
        "counts": counts,
        "source": source,
    }
