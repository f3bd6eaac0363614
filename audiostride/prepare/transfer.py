"""Download one file over HTTP, and resume where an earlier transfer stopped.

Not pooch: its downloaders start again from zero after a break, and it replaces a file that was put there by
hand. Network errors get their own classes here, so that an OSError elsewhere comes from the disk.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from audiostride import __version__
from audiostride.corpora.base import Archive
from audiostride.errors import UserError

_MAX_TRIES = 5  # consecutive requests without a new byte
_BACKOFF = 1.0  # seconds before the second of them; doubles each time
_TIMEOUT = 30.0  # seconds without an answer
_CHUNK = 1 << 18
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that are worth another request


class UnreachableError(Exception):
    """No connection to the server could be opened."""


class _BrokenError(Exception):
    """The transfer stopped for a reason that may be temporary."""


@dataclass(frozen=True)
class RemoteArchive:
    """An archive, the URL that it is downloaded from, and the folder of its corpus."""

    archive: Archive
    url: str
    folder: Path

    def path(self, suffix: str = "") -> Path:
        """Return the path of the archive, or of a file of its state; see `audiostride.prepare.download`."""
        return self.folder / ".downloads" / (self.archive.name + suffix)


def file_size(file: Path) -> int:
    """Return the size of a file in bytes, 0 if it does not exist."""
    return file.stat().st_size if file.exists() else 0


def format_bytes(count: int) -> str:
    """Return a number of bytes with a unit, such as "2.4GB"."""
    return tqdm.format_sizeof(count, "B")


def progress_bar(description: str, total: int | None, **options: Any) -> tqdm:
    """Return a bar for `total` bytes."""
    return tqdm(desc=description, total=total, unit="B", unit_scale=True, **options)


def remote_size(remote: RemoteArchive) -> int | None:
    """Ask the server for the size of the file in bytes. None if the server does not say.

    Raises:
        UnreachableError: if there is no connection.
    """
    try:
        with _open(remote.url, "HEAD") as response:
            length = response.headers.get("Content-Length", "")
    except (urllib.error.HTTPError, _BrokenError):
        return None  # some servers refuse only HEAD; if the file is missing, the transfer reports it
    return int(length) if length.isdecimal() else None


def transfer(remote: RemoteArchive) -> bool:
    """Download the file to NAME.part, over as many requests as needed.

    Returns:
        Whether the file consists of parts from several requests.

    Raises:
        UserError: if the server refuses, the file has another size than expected, or the connection breaks
            again and again.
        UnreachableError: if there is no connection, and this call has received nothing.
    """
    part = remote.path(".part")
    at_start = farthest = file_size(part)
    tries = 0
    while True:
        try:
            return _request_rest(remote)
        except (_BrokenError, UnreachableError) as error:
            if isinstance(error, UnreachableError) and farthest == at_start:
                raise  # nothing was received: waiting will hardly help
            received = file_size(part)
            tries = 0 if received > farthest else tries + 1
            farthest = max(farthest, received)
            if tries == _MAX_TRIES:
                raise UserError(
                    f"the download of {remote.url} keeps breaking off ({error}), {format_bytes(received)} "
                    "are on the disk: run the same command again to continue"
                ) from error
        time.sleep(_BACKOFF * 2**tries)


def _request_rest(remote: RemoteArchive) -> bool:
    """Request what NAME.part lacks, once. Return whether the response was appended to an earlier part."""
    part, tag, size = remote.path(".part"), remote.path(".tag"), remote.archive.size
    if size is not None and file_size(part) > size:
        part.unlink()
    start = file_size(part)
    if start and start == size:
        return True
    response = _get(remote, start)
    if response is None:
        return True
    with response:
        begin = start if response.status == http.client.PARTIAL_CONTENT else 0
        if begin and not response.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
            part.unlink()
            raise _BrokenError("the server sent another range than requested")
        total = size if response.length is None else begin + response.length
        if size not in (None, total):
            raise UserError(
                f"{remote.url} has {total} bytes, but {size} were expected, so it is another file: use a "
                f"mirror (--mirror), or put the right file at {remote.path()}"
            )
        with part.open("ab" if begin else "wb") as file:
            if not begin:  # after the old bytes are gone, and before the first new one
                tag.write_text(_version_tag(response.headers), encoding="utf-8")
            with progress_bar(remote.archive.name, total, initial=begin) as bar:
                for chunk in _chunks(response):
                    file.write(chunk)
                    bar.update(len(chunk))
    if total is not None and file_size(part) < total:
        raise _BrokenError("the connection was closed")
    return begin > 0


def _get(remote: RemoteArchive, start: int) -> Any:
    """Return the response to a request for the bytes from `start` on, None if there are no more."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    tag = remote.path(".tag")
    if start and tag.exists() and (version := tag.read_text(encoding="utf-8")):
        headers["If-Range"] = version  # if the file has changed, the server sends it from the start
    try:
        return _open(remote.url, "GET", headers)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            if error.headers.get("Content-Range") == f"bytes */{start}":
                return None
            remote.path(".part").unlink()  # it is longer than the file, so it belongs to another one
        elif error.code not in _TEMPORARY:
            raise UserError(
                f"{remote.url} answers {error.code} {error.reason}: try again later, use a mirror "
                f"(--mirror), or put the file at {remote.path()}"
            ) from error
        raise _BrokenError(f"the server answers {error.code} {error.reason}") from error


def _open(url: str, method: str, headers: dict[str, str] | None = None) -> Any:
    headers = {"User-Agent": f"audiostride/{__version__}", **(headers or {})}
    try:
        request = urllib.request.Request(url, headers=headers, method=method)
        return urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        raise UnreachableError(f"{urlsplit(url).netloc} cannot be reached ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(str(error) or type(error).__name__) from error


def _chunks(response: Any) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(_CHUNK)  # returns what has arrived, so that a break loses nothing
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(str(error) or type(error).__name__) from error
        if not chunk:
            return
        yield chunk


def _version_tag(headers: Any) -> str:
    """Return the value for If-Range. A weak ETag does not guarantee identical bytes, so it does not count."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
