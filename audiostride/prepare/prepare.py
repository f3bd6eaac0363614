"""From a dataset on disk to a prepared corpus: every file is read once, checked, and packed."""

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import audiostride
from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import Corpus, Problem
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
from audiostride.prepare.packing import lay_out, pack
from audiostride.prepare.reader_pool import File, Packed
from audiostride.prepare.staging import put_in_place, workshop, workshop_folder


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
    out = out.resolve()  # the folder itself is replaced, not a link to it
    if not corpus.recordings:
        raise UserError(f"{corpus.name} in {corpus.folder} has no recordings: there is nothing to prepare")
    if out.exists() and not (out / CARD).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is in the way and is no prepared corpus: move it, or choose another --out")
    files = [_file(corpus.folder, recording.path) for recording in corpus.recordings]
    source = _fingerprint(corpus, files, settings)
    if _is_current(out, source) and not workshop_folder(out).exists():
        return open_store(out)
    with workshop(out) as part:
        if not _is_current(out, source):
            packed = pack(corpus.name, corpus.folder, files, part, settings)
            problems = [*corpus.problems, *_problems(packed)]
            _check_share(packed, problems, out, settings)
            (part / "corpus").mkdir()
            lay_out(packed, part, part / "corpus" / WAVEFORMS)
            _describe(corpus, packed, problems, part / "corpus", settings, source)
            put_in_place(part, out)
    return open_store(out)


def _file(folder: Path, path: str) -> File:
    """Size and time of a file; what is wrong with one that cannot be opened is found out when it is read."""
    try:
        stat = (folder / path).stat()
    except OSError:
        return File(path, -1, 0)
    readable = os.access(folder / path, os.R_OK)  # which changes neither size nor time
    return File(path, stat.st_size, stat.st_mtime_ns) if readable else File(path, -1, 0)


def _fingerprint(corpus: Corpus, files: Sequence[File], settings: PrepareSettings) -> str:
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


def _problems(packed: Sequence[Packed]) -> list[Problem]:
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
    packed: Sequence[Packed], problems: Sequence[Problem], out: Path, settings: PrepareSettings
) -> None:
    """Raise an error, with the list of problems beside `out`, where too many files are unusable."""
    listed = out.with_name(f"{out.name}.{PROBLEMS}")
    listed.unlink(missing_ok=True)
    bad = [entry for entry in packed if not entry.samples]
    share = 100 * len(bad) / len(packed)
    if share <= settings.bad and len(bad) < len(packed):
        return
    _write_problems(problems, listed)
    remedy = "repair them" if len(bad) == len(packed) else "repair them or allow more with --bad"
    raise UserError(
        f"{len(bad)} of {len(packed)} files cannot be used ({share:.3g} %, where {settings.bad:g} % are "
        f"allowed), the first is {bad[0].file.path}, which {bad[0].problem}: {remedy} ({listed} lists all; "
        "what is packed so far is kept)"
    )


def _describe(
    corpus: Corpus,
    packed: Sequence[Packed],
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
        "folder": str(corpus.folder.resolve()),
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
