"""Fetches the archives of a public corpus: goes on where it broke off, checks, unpacks, does nothing twice.

In the corpus's folder lies `.downloads`. There NAME.part is what has come so far, NAME.tag the server's mark
of that version of the file, NAME the whole file (which may as well be put there by hand), and NAME.done says
that it has been unpacked. Errors of the network get a class of their own where they arise, so that an
OSError seen elsewhere is the disk's.
"""

import errno
import hashlib
import http.client
import logging
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tqdm import tqdm

from audiostride import __version__
from audiostride.corpora.base import Archive
from audiostride.errors import UserError
from audiostride.prepare.unpack import unpack

logger = logging.getLogger(__name__)

_TRIES = 5  # requests in a row that bring nothing new
_BACKOFF = 1.0  # seconds before the second of them, doubled from one to the next
_TIMEOUT = 30.0  # seconds of silence
_CHUNK = 1 << 18
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that a later request may not get
_BAR: dict[str, Any] = {"unit": "B", "unit_scale": True}


@dataclass(frozen=True)
class _Job:
    archive: Archive
    url: str
    folder: Path

    def path(self, suffix: str = "") -> Path:
        return self.folder / ".downloads" / (self.archive.name + suffix)


class _BrokenError(Exception):
    """The transfer stopped, for a reason that may pass."""


class _UnreachableError(Exception):
    """No connection came about."""


def download(
    title: str, licence: str, archives: Sequence[Archive], folder: Path, mirror: str | None = None
) -> None:
    """Fetch the archives and unpack them below `folder`; what an earlier call has done is not done again.

    Args:
        title: name of the corpus, for the reader.
        licence: the licence in one line, shown before anything is fetched.
        archives: the files, in the order in which they are fetched.
        folder: the corpus's folder, made where it is missing.
        mirror: a base URL: every archive is taken from MIRROR/name instead of its own URL.

    Raises:
        UserError: where a file cannot be fetched, is not the one expected, cannot be unpacked or is unsafe
            to unpack, or the disk is too small. The same call goes on from there.
    """
    if mirror is not None and urlsplit(mirror).scheme not in ("http", "https"):
        raise UserError(f"{mirror} is no mirror: give a base URL like https://HOST/corpora")
    urls = [f"{mirror.rstrip('/')}/{quote(a.name)}" if mirror else a.url for a in archives]
    jobs = [_Job(archive, url, folder) for archive, url in zip(archives, urls, strict=True)]
    try:
        jobs = [job for job in jobs if not job.path(".done").exists()]
        if jobs:
            (folder / ".downloads").mkdir(parents=True, exist_ok=True)
            _announce(title, licence, jobs, folder)
        for job in jobs:
            _fetch(job)
            _put(job)
    except _UnreachableError as error:
        names = ", ".join(j.archive.name for j in jobs if not (j.path().exists() or j.path(".done").exists()))
        raise UserError(
            f"{error}: check the network and give the same command again, "
            f"or put by hand into {folder / '.downloads'}: {names}"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"the disk of {folder} is full: free some space, the same command then goes on"
            ) from error
        raise UserError(
            f"the download into {folder} stops at the disk ({error}): mend that, or give another folder"
        ) from error


def _announce(title: str, licence: str, jobs: list[_Job], folder: Path) -> None:
    """Tell what will be fetched, or refuse where the disk is too small for it."""
    sizes = {job: _size(job) for job in jobs}
    known = [size for size in sizes.values() if size is not None]
    total = f"{'at least ' * (len(known) < len(jobs))}{_bytes(sum(known))}" if known else "of unknown size"
    count = f"{len(jobs)} file{'s' * (len(jobs) > 1)}"
    logger.info(f"{title}: {count}, {total}, into {folder}\nlicence: {licence}")
    lacking = sum(max(0, (size or 0) - _length(job.path(".part"))) for job, size in sizes.items())
    lacking -= sum(_length(job.path()) for job in jobs)
    free = shutil.disk_usage(folder).free
    if lacking > free:
        raise UserError(
            f"{title} needs {_bytes(lacking)} for its archives and the disk of {folder} has "
            f"{_bytes(free)} free: free some space, or give a folder on another disk"
        )


def _size(job: _Job) -> int | None:
    if job.path().exists():
        return _length(job.path())
    if job.archive.size is not None:
        return job.archive.size
    try:
        with _open(job.url, "HEAD") as answer:
            told = answer.headers.get("Content-Length", "")
    except (urllib.error.HTTPError, _BrokenError):
        return None  # some servers refuse HEAD alone: the transfer itself will tell what is wrong
    return int(told) if told.isdecimal() else None


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _bytes(count: int) -> str:
    return tqdm.format_sizeof(count, "B")


def _fetch(job: _Job) -> None:
    """Have the whole file at the job's path, and right."""
    if job.path().exists():
        if wrong := _wrong(job.path(), job.archive):
            raise UserError(
                f"{job.path()} {wrong}: put the right file there, or delete it so that it is fetched"
            )
        return
    part = job.path(".part")
    resumed = _transfer(job)
    wrong = _wrong(part, job.archive)
    if wrong and resumed:  # the half that lay here may be the wrong one
        part.unlink()
        _transfer(job)
        wrong = _wrong(part, job.archive)
    if wrong:
        part.unlink()
        raise UserError(
            f"{job.url} {wrong} and was deleted: give the same command again, give another mirror, "
            f"or put the right file at {job.path()}"
        )
    part.rename(job.path())
    job.path(".tag").unlink(missing_ok=True)


def _wrong(file: Path, archive: Archive) -> str | None:
    """What is wrong with the file's size or checksum, as the rest of a sentence."""
    if archive.size is not None and _length(file) != archive.size:
        return f"has {_length(file)} bytes where {archive.size} were expected"
    if archive.checksum is None:
        return None
    kind, expected = archive.checksum.lower().split(":")
    digest = hashlib.new(kind, usedforsecurity=False)
    bar = tqdm(desc=f"checking {archive.name}", total=_length(file), delay=1, **_BAR)
    with file.open("rb") as content, bar:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    if (found := digest.hexdigest()) == expected:
        return None
    return f"has the {kind} checksum {found} where {expected} was expected"


def _transfer(job: _Job) -> bool:
    """Fill the part, over as many requests as it takes. Tells whether it is glued from several."""
    part = job.path(".part")
    begun = farthest = _length(part)
    tries = 0
    while True:
        try:
            return _receive(job)
        except (_BrokenError, _UnreachableError) as error:
            if isinstance(error, _UnreachableError) and farthest == begun:
                raise  # nothing has come in this call: waiting will hardly help
            come = _length(part)
            tries = 0 if come > farthest else tries + 1
            farthest = max(farthest, come)
            if tries == _TRIES:
                raise UserError(
                    f"{job.url} keeps breaking off ({error}), {_bytes(come)} have come: "
                    "the same command goes on from there"
                ) from error
        time.sleep(_BACKOFF * 2**tries)


def _receive(job: _Job) -> bool:
    """One request for what the part still lacks. Tells whether its answer went behind what there was."""
    part, tag, size = job.path(".part"), job.path(".tag"), job.archive.size
    if size is not None and _length(part) > size:
        part.unlink()
    start = _length(part)
    if start and start == size:
        return True
    answer = _ask(job, start)
    if answer is None:
        return True
    with answer:
        begin = start if answer.status == http.client.PARTIAL_CONTENT else 0
        if begin and not answer.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
            part.unlink()
            raise _BrokenError("it answers with another range than was asked for")
        total = size if answer.length is None else begin + answer.length
        if size not in (None, total):
            raise UserError(
                f"{job.url} has {total} bytes where {size} were expected, so it is another file: "
                f"give a mirror, or put the right file at {job.path()}"
            )
        with part.open("ab" if begin else "wb") as file:
            if not begin:  # when the old bytes are gone, and before new ones come
                tag.write_text(_tag(answer.headers), encoding="utf-8")
            with tqdm(desc=job.archive.name, total=total, initial=begin, **_BAR) as bar:
                for chunk in _chunks(answer):
                    file.write(chunk)
                    bar.update(len(chunk))
    if total is not None and _length(part) < total:
        raise _BrokenError("the connection was closed")
    return begin > 0


def _ask(job: _Job, start: int) -> Any:
    """The server's answer to a request for the bytes from `start` on, or None where there are no more."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    tag = job.path(".tag")
    if start and tag.exists() and (version := tag.read_text(encoding="utf-8")):
        headers["If-Range"] = version  # without it only size and checksum tell that the file has changed
    try:
        return _open(job.url, "GET", headers)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            if error.headers.get("Content-Range") == f"bytes */{start}":
                return None
            job.path(".part").unlink()  # longer than the file: of another one
        elif error.code not in _PASSING:
            raise UserError(
                f"{job.url} answers {error.code} {error.reason}: try again later, give a mirror, "
                f"or put the file at {job.path()}"
            ) from error
        raise _BrokenError(f"it answers {error.code} {error.reason}") from error


def _open(url: str, method: str, headers: dict[str, str] | None = None) -> Any:
    sent = {"User-Agent": f"audiostride/{__version__}", **(headers or {})}
    try:
        request = urllib.request.Request(url, headers=sent, method=method)
        return urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        raise _UnreachableError(f"{urlsplit(url).netloc} cannot be reached ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_reason(error)) from error


def _chunks(answer: Any) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.read1(_CHUNK)  # what has come, so that a break loses none of it
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(_reason(error)) from error
        if not chunk:
            return
        yield chunk


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _tag(headers: Any) -> str:
    """What If-Range takes: weak tags stand for files that serve as well, not for the same bytes."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _put(job: _Job) -> None:
    """Unpack the whole file, or move it to its place, and stamp it as done."""
    whole, target = job.path(), job.folder / job.archive.into
    target.mkdir(parents=True, exist_ok=True)
    if not unpack(whole, target):
        whole.replace(target / whole.name)
    job.path(".done").write_text(f"{job.url}\n", encoding="utf-8")
    whole.unlink(missing_ok=True)
