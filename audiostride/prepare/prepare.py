"""Turn a dataset into a prepared corpus: read every file once, check it, and pack its samples."""

import csv
import hashlib
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
    WAVEFORMS,
    Store,
    joint_hash,
    open_store,
    write_card,
    write_index,
)
from audiostride.errors import UserError
from audiostride.prepare.bandwidth import bandwidth_notes, bandwidth_problem
from audiostride.prepare.leakage import leakage_notes
from audiostride.prepare.packing import pack, place_waveforms
from audiostride.prepare.reader_pool import File, PackedFile
from audiostride.prepare.staging import open_staging, publish, staging_folder


def prepare(
    corpus: Corpus, out: Path, settings: PrepareSettings | None = None, command: Sequence[str] = ()
) -> Store:
    """Pack a corpus into the folder `out`. Do nothing if `out` holds it already, unchanged.

    After an interruption or a kill, the next call continues, and reads the files again that have changed.

    Args:
        corpus: the dataset, as its reader returns it.
        out: folder of the prepared corpus. An older one is replaced once the new one is complete.
        settings: by default `PrepareSettings()`.
        command: what the card keeps to name the command that prepares the corpus again: the dataset, its
            source and options, as words of `audiostride prepare`.

    Returns:
        The prepared corpus, opened.

    Raises:
        UserError: if more files than allowed cannot be used, `out` holds something else, another process is
            preparing the same corpus, the call is interrupted, or the disk is full.
    """
    settings = settings or PrepareSettings()
    out = out.resolve()  # replace the folder itself, not a link to it
    if not corpus.recordings:
        raise UserError(f"{corpus.name} in {corpus.folder} has no recordings: there is nothing to prepare")
    if not _may_be_replaced(out):
        raise UserError(f"{out} exists and is not a prepared corpus: move it, or choose another --out")
    files = [_file(corpus.folder, recording.path) for recording in corpus.recordings]
    source = _fingerprint(corpus, files, settings)
    if _is_current(out, source) and not staging_folder(out).exists():
        return open_store(out)
    with open_staging(out) as staging:
        if not _is_current(out, source):  # another process may have completed it just before
            packed = pack(corpus.name, corpus.folder, files, staging, settings)
            problems = [*corpus.problems, *_problems(packed)]
            _check_bad_files(packed, problems, out, settings)
            (staging / "corpus").mkdir()
            place_waveforms(packed, staging, staging / "corpus" / WAVEFORMS)
            card = _write_metadata(corpus, packed, problems, staging / "corpus", settings)
            write_card(staging / "corpus", card | {"command": list(command), "source": source})
            publish(staging, out)
    return open_store(out)


def _may_be_replaced(out: Path) -> bool:
    """Whether `out` is missing, an empty folder, or a prepared corpus."""
    return not out.exists() or (out / CARD).is_file() or (out.is_dir() and not any(out.iterdir()))


def _file(folder: Path, path: str) -> File:
    """Return size and time of a file; size −1 marks one that cannot be opened, which reading explains."""
    try:
        stat = (folder / path).stat()
    except OSError:
        return File(path, -1, 0)
    readable = os.access(folder / path, os.R_OK)  # a change of permissions changes neither size nor time
    return File(path, stat.st_size, stat.st_mtime_ns) if readable else File(path, -1, 0)


def _fingerprint(corpus: Corpus, files: Sequence[File], settings: PrepareSettings) -> str:
    """Return a hash of everything that decides whether a corpus must be prepared again: the name, size and
    time of each file, labels, splits, groups, and the settings. The wording of problems does not matter."""
    general = (
        FORMAT,
        corpus.name,
        corpus.split,
        corpus.tasks,
        tuple((problem.path, problem.detail) for problem in corpus.problems),
        settings.sample_rate,
        settings.longest,
    )
    digest = hashlib.sha256(repr(general).encode("utf-8", "surrogateescape"))
    for recording, file in zip(corpus.recordings, files, strict=True):
        digest.update(repr((recording, file)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _is_current(out: Path, source: str) -> bool:
    try:
        return open_store(out).card.get("source") == source
    except UserError:
        return False


def _problems(packed: Sequence[PackedFile]) -> list[Problem]:
    """Return the problems of the files that were read. Copies of another file count as a problem."""
    first: dict[str, str] = {}  # from digest to the first file with it
    for entry in packed:
        first.setdefault(entry.digest, entry.file.path)
    copies = (entry for entry in packed if entry.samples and first[entry.digest] != entry.file.path)
    return [
        *(Problem(entry.file.path, entry.problem) for entry in packed if entry.problem),
        *(
            Problem(entry.file.path, bandwidth_problem(entry.lower_rate))
            for entry in packed
            if entry.lower_rate
        ),
        *(Problem(entry.file.path, "same sound as another file", first[entry.digest]) for entry in copies),
    ]


def _check_bad_files(
    packed: Sequence[PackedFile], problems: Sequence[Problem], out: Path, settings: PrepareSettings
) -> None:
    """If too many files cannot be used, write the list of problems beside `out` and raise `UserError`."""
    problem_file = out.with_name(f"{out.name}.{PROBLEMS}")
    problem_file.unlink(missing_ok=True)
    bad = [entry for entry in packed if not entry.samples]
    percent = 100 * len(bad) / len(packed)
    if percent <= settings.bad and len(bad) < len(packed):
        return
    _write_problems(problems, problem_file)
    remedy = "repair them" if len(bad) == len(packed) else "repair them or allow more with --bad"
    raise UserError(
        f"{len(bad)} of {len(packed)} files cannot be used ({percent:.3g} %, allowed: {settings.bad:g} %); "
        f"the first is {bad[0].file.path}, which {bad[0].problem}: {remedy} ({problem_file} lists "
        "all; the files packed so far are kept)"
    )


def _write_metadata(
    corpus: Corpus,
    packed: Sequence[PackedFile],
    problems: Sequence[Problem],
    folder: Path,
    settings: PrepareSettings,
) -> dict[str, Any]:
    """Write the index and the list of problems beside the waveforms. Return the content of the card."""
    kept = [(r, entry) for r, entry in zip(corpus.recordings, packed, strict=True) if entry.samples]
    recordings = [recording for recording, _ in kept]
    lengths = [entry.samples for _, entry in kept]
    digests = [entry.digest for _, entry in kept]
    lower_rates = Counter(entry.lower_rate for _, entry in kept if entry.lower_rate)
    counts = write_index(folder, recordings, lengths, digests, corpus.tasks)
    _write_problems(problems, folder / PROBLEMS)
    return {
        "format": FORMAT,
        "audiostride": audiostride.__version__,
        "corpus": corpus.name,
        "folder": str(corpus.folder.resolve()),
        "split": corpus.split,
        "sample_rate": settings.sample_rate,
        "longest": settings.longest,
        "recordings": len(kept),
        "seconds": round(sum(lengths) / settings.sample_rate, 3),
        "left_out": len(packed) - len(kept),
        "lower_rates": dict(sorted(lower_rates.items())),
        "problems": Counter(problem.reason for problem in problems),
        "notes": [
            *corpus.notes,
            *leakage_notes(recordings, digests),
            *bandwidth_notes(lower_rates, len(kept)),
        ],
        "tasks": corpus.tasks,
        "counts": counts,
        "hash": joint_hash(digests),
    }


def _write_problems(problems: Sequence[Problem], target: Path) -> None:
    with target.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "problem", "detail"])
        writer.writerows([p.path, p.reason, p.detail] for p in problems)
