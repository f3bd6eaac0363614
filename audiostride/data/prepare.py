"""From a dataset on disk to a prepared corpus: every file is read once, checked, and packed.

While it is made a corpus lies in .NAME.part beside its place, with a journal of what is packed so far:

    .NAME.part/journal.jsonl     settings, then per packed file: path, size, time, samples, digest, problem
    .NAME.part/lock              held by the process that prepares
    .NAME.part/corpus/           becomes NAME in one step when it is whole

So whatever happens there is either the old corpus, or the new one, or none, and the next call goes on.
"""

import csv
import errno
import hashlib
import json
import os
import shutil
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from tqdm import tqdm

import audiostride
from audiostride.corpora.base import Corpus, Problem
from audiostride.data.reading import BadSoundError, read_sound
from audiostride.data.store import (
    CARD,
    FORMAT,
    PROBLEMS,
    SAMPLE_RATE,
    WAVEFORMS,
    Store,
    open_store,
    write_index,
)
from audiostride.errors import UserError
from audiostride.settings import PrepareSettings

# Files that a process reads at a time, and their size together: enough to hide the way between processes.
_CHUNK_FILES, _CHUNK_BYTES = 64, 1 << 24
# Another process pays from so many bytes on; starting it takes half a second.
_BYTES_PER_PROCESS = 1 << 25


class _File(NamedTuple):
    """A file as it lies on disk. Packed sound is used again as long as none of this changes."""

    path: str
    bytes: int
    time: int


class _Packed(NamedTuple):
    """A file that has been read: its samples in the prepared corpus, or why there are none."""

    file: _File
    samples: int
    digest: str
    problem: str


def prepare(corpus: Corpus, out: Path, settings: PrepareSettings | None = None) -> Store:
    """Pack a corpus into the folder `out`, or do nothing where it lies there already, unchanged.

    Interrupted or killed, the next call goes on where it stopped, with the files that have not changed.

    Args:
        corpus: what a reader found.
        out: the folder of the prepared corpus; an older one there is replaced when the new one is whole.
        settings: by default those of `PrepareSettings`.

    Raises:
        UserError: where more files than allowed are unusable, `out` holds something else, another process is
            preparing it, it is interrupted, or the disk is full.
    """
    settings = settings or PrepareSettings()
    files = _files(corpus)
    source = _fingerprint(corpus, files, settings)
    if out.exists() and not (out / CARD).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is in the way and is no prepared corpus: move it, or choose another --out")
    if _is_current(out, source) and not _part(out).exists():
        return open_store(out)
    with _workshop(out) as part:
        if _is_current(out, source):
            return open_store(out)
        (part / "corpus").mkdir(exist_ok=True)
        packed = _pack(corpus, files, part, settings)
        problems = [*corpus.problems, *_problems(packed)]
        _check_share(packed, problems, out, settings)
        _describe(corpus, packed, problems, part / "corpus", settings, source)
        _put_in_place(part, out)
    return open_store(out)


def _files(corpus: Corpus) -> list[_File]:
    """Size and time of every file; a file that has vanished is found out when it is read."""
    files = []
    for recording in corpus.recordings:
        try:
            stat = (corpus.folder / recording.path).stat()
            files.append(_File(recording.path, stat.st_size, stat.st_mtime_ns))
        except OSError:
            files.append(_File(recording.path, -1, 0))
    return files


def _fingerprint(corpus: Corpus, files: Sequence[_File], settings: PrepareSettings) -> str:
    """Changes with any file's name, size or time, with labels, splits and groups, and with the settings."""
    what = (
        FORMAT,
        corpus.name,
        corpus.split,
        corpus.tasks,
        corpus.problems,
        SAMPLE_RATE,
        settings.longest,
    )
    digest = hashlib.sha256(repr(what).encode("utf-8", "surrogateescape"))
    for recording, file in zip(corpus.recordings, files, strict=True):
        digest.update(repr((recording, file)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _is_current(out: Path, source: str) -> bool:
    try:
        return open_store(out).card.get("source") == source
    except UserError:
        return False


def _part(out: Path) -> Path:
    return out.parent / f".{out.name}.part"


@contextmanager
def _workshop(out: Path) -> Iterator[Path]:
    """The folder .NAME.part, for this process alone; it stays only where there is something to go on from."""
    part = _part(out)
    try:
        part.mkdir(parents=True, exist_ok=True)
        with FileLock(part / "lock", timeout=0):
            _mend(part, out)
            yield part
            shutil.rmtree(part)
    except Timeout as error:
        raise UserError(f"another process is preparing {out} just now: wait until it is done") from error
    except KeyboardInterrupt as error:
        raise UserError("interrupted: the same command goes on from here") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        shutil.rmtree(part, ignore_errors=True)
        raise UserError(
            f"the disk of {out.parent} is full: free some space and prepare again (nothing was left behind)"
        ) from error


def _mend(part: Path, out: Path) -> None:
    """Bring back the old corpus where a kill came between the two renamings of `_put_in_place`."""
    if (part / "old").exists() and not out.exists():
        (part / "old").rename(out)
    shutil.rmtree(part / "old", ignore_errors=True)


def _put_in_place(part: Path, out: Path) -> None:
    if out.exists():
        out.rename(part / "old")
    (part / "corpus").rename(out)


def _pack(corpus: Corpus, files: Sequence[_File], part: Path, settings: PrepareSettings) -> list[_Packed]:
    """Append the samples of all files that the journal does not have yet, and tell what became of each."""
    journal, waveforms = part / "journal.jsonl", part / "corpus" / WAVEFORMS
    header = json.dumps([FORMAT, SAMPLE_RATE, settings.longest])
    packed = _read_journal(journal, header, files, waveforms.stat().st_size if waveforms.exists() else 0)
    with journal.open("w") as log, waveforms.open("ab") as target:
        target.truncate(2 * sum(entry.samples for entry in packed))
        log.write(header + "\n" + "".join(json.dumps(entry) + "\n" for entry in packed))
        rest = files[len(packed) :]
        read = partial(_read_chunk, corpus.folder, settings.longest)
        bar = tqdm(total=len(files), initial=len(packed), desc=f"preparing {corpus.name}", unit=" files")
        with bar:
            for samples, entries in _in_order(read, list(_chunks(rest)), _workers(rest, settings)):
                target.write(samples)
                target.flush()  # before the journal speaks of it
                log.write("".join(json.dumps(entry) + "\n" for entry in entries))
                log.flush()
                packed.extend(entries)
                bar.update(len(entries))
        os.fsync(target.fileno())
    return packed


def _read_journal(journal: Path, header: str, files: Sequence[_File], size: int) -> list[_Packed]:
    """The entries for the first files, as far as they have not changed and their samples are there."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    if not lines or lines[0] != header:
        return []
    entries, samples = [], 0
    for line, file in zip(lines[1:], files, strict=False):
        try:
            (path, length, time), count, digest, problem = json.loads(line)
        except ValueError:  # the line that a kill cut short
            break
        samples += count
        if _File(path, length, time) != file or 2 * samples > size:
            break
        entries.append(_Packed(file, count, digest, problem))
    return entries


def _chunks(files: Sequence[_File]) -> Iterator[list[_File]]:
    chunk: list[_File] = []
    size = 0
    for file in files:
        if chunk and (len(chunk) == _CHUNK_FILES or size + file.bytes > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(file)
        size += file.bytes
    if chunk:
        yield chunk


def _workers(files: Sequence[_File], settings: PrepareSettings) -> int:
    if settings.workers is not None:
        return settings.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 1 + sum(file.bytes for file in files) // _BYTES_PER_PROCESS)


def _read_chunk(folder: Path, longest_s: float, files: list[_File]) -> tuple[bytes, list[_Packed]]:
    """The samples of some files one after another, and what became of each."""
    pieces, entries = [], []
    for file in files:
        try:
            sound = read_sound(folder / file.path, SAMPLE_RATE, longest_s)
        except BadSoundError as error:
            entries.append(_Packed(file, 0, "", error.reason))
            continue
        piece = sound.samples.astype("<i2", copy=False).tobytes()
        digest = hashlib.blake2b(piece, digest_size=16).hexdigest()
        pieces.append(piece)
        entries.append(_Packed(file, len(sound.samples), digest, "is clipped" if sound.clipped else ""))
    return b"".join(pieces), entries


def _in_order(
    read: Callable[[list[_File]], tuple[bytes, list[_Packed]]], chunks: Sequence[list[_File]], workers: int
) -> Iterator[tuple[bytes, list[_Packed]]]:
    """Read chunks, with several processes a few ahead, and give them in their order."""
    if workers == 1:
        yield from map(read, chunks)
        return
    # Spawned: a fork copies the locks of torch's threads, which may be held.
    with ProcessPoolExecutor(workers, get_context("spawn"), _end_with_parent) as pool:
        ahead: deque = deque()
        try:
            for chunk in chunks:
                ahead.append(pool.submit(read, chunk))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that reads sound files died: look for one that makes it run out of memory, or try "
                "--workers 1 (in a script of your own, call prepare below if __name__ == '__main__')"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """In a process that reads: leave interruptions to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _problems(packed: Sequence[_Packed]) -> list[Problem]:
    """What is wrong with files that were read, copies of one another among it."""
    first: dict[str, str] = {}
    for entry in packed:
        first.setdefault(entry.digest, entry.file.path)
    copies = (entry for entry in packed if entry.samples and first[entry.digest] != entry.file.path)
    return [
        *(Problem(entry.file.path, entry.problem) for entry in packed if entry.problem),
        *(Problem(entry.file.path, "same sound as another file", first[entry.digest]) for entry in copies),
    ]


def _check_share(
    packed: Sequence[_Packed], problems: Sequence[Problem], out: Path, settings: PrepareSettings
) -> None:
    """Raise an error, with the list of problems beside `out`, where too many files are unusable."""
    listed = out.with_name(f"{out.name}.{PROBLEMS}")
    listed.unlink(missing_ok=True)
    bad = [entry for entry in packed if not entry.samples]
    share = 100 * len(bad) / max(1, len(packed))
    if share <= settings.bad and len(bad) < len(packed):
        return
    _write_problems(problems, listed)
    first = bad[0]
    raise UserError(
        f"{len(bad)} of {len(packed)} files cannot be used ({share:.1f} %, where {settings.bad:g} % are "
        f"allowed), the first is {first.file.path}, which {first.problem}: repair them ({listed} lists all), "
        "or allow more with --bad; what is packed so far is kept"
    )


def _describe(
    corpus: Corpus,
    packed: Sequence[_Packed],
    problems: Sequence[Problem],
    folder: Path,
    settings: PrepareSettings,
    source: str,
) -> None:
    """Write index, card and problems beside the waveforms."""
    kept = [(r, entry) for r, entry in zip(corpus.recordings, packed, strict=True) if entry.samples]
    lengths = [entry.samples for _, entry in kept]
    counts = write_index(folder, [recording for recording, _ in kept], lengths, corpus.tasks)
    _write_problems(problems, folder / PROBLEMS)
    card: dict[str, Any] = {
        "format": FORMAT,
        "audiostride": audiostride.__version__,
        "corpus": corpus.name,
        "folder": str(corpus.folder),
        "split": corpus.split,
        "sample_rate": SAMPLE_RATE,
        "longest": settings.longest,
        "recordings": len(kept),
        "seconds": round(sum(lengths) / SAMPLE_RATE, 3),
        "left_out": len(packed) - len(kept),
        "problems": Counter(problem.reason for problem in problems),
        "notes": corpus.notes,
        "tasks": corpus.tasks,
        "counts": counts,
        "hash": hashlib.sha256("".join(entry.digest for _, entry in kept).encode()).hexdigest(),
        "source": source,
    }
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _write_problems(problems: Sequence[Problem], target: Path) -> None:
    with target.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "problem", "detail"])
        writer.writerows([p.path, p.reason, p.detail] for p in problems)
