"""Download the archives of a public corpus, check and unpack them, each step only once.

The folder `.downloads` in the corpus's folder holds the state of each archive NAME:

NAME.part    the bytes received so far
NAME.tag     the ETag or date of that version of the file on the server
NAME         the complete archive; users may put it there by hand
NAME.done    marks an archive that has been unpacked
"""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from audiostride.corpora.base import Archive
from audiostride.errors import UserError
from audiostride.prepare.staging import DISK_FULL
from audiostride.prepare.transfer import (
    RemoteArchive,
    UnreachableError,
    file_size,
    format_bytes,
    progress_bar,
    remote_size,
    transfer,
)
from audiostride.prepare.unpack import unpack

logger = logging.getLogger(__name__)

_CHUNK = 1 << 18


def download(
    title: str, licence: str, archives: Sequence[Archive], folder: Path, mirror: str | None = None
) -> None:
    """Download the archives and unpack them into `folder`. Skip what an earlier call has done.

    Args:
        title: name of the corpus, shown to the user.
        licence: the licence in one line, shown before the download.
        archives: files to download, in this order.
        folder: folder of the corpus, created if missing.
        mirror: base URL; every archive is then downloaded from MIRROR/name instead of its own URL.

    Raises:
        UserError: if a file cannot be downloaded, has the wrong size or checksum, cannot be unpacked or is
            unsafe to unpack, or the disk is too small. The same call then continues from there.
    """
    if mirror is not None and urlsplit(mirror).scheme not in ("http", "https"):
        raise UserError(f"{mirror} is not a mirror: give a base URL like https://HOST/corpora")
    urls = [f"{mirror.rstrip('/')}/{quote(a.name)}" if mirror else a.url for a in archives]
    remotes = [RemoteArchive(archive, url, folder) for archive, url in zip(archives, urls, strict=True)]
    try:
        remotes = [remote for remote in remotes if not remote.path(".done").exists()]
        if remotes:
            (folder / ".downloads").mkdir(parents=True, exist_ok=True)
            _announce(title, licence, remotes, folder)
        for remote in remotes:
            _fetch(remote)
            _unpack(remote)
    except UnreachableError as error:
        missing = (r for r in remotes if not (r.path().exists() or r.path(".done").exists()))
        raise UserError(
            f"{error}: check the network and run the same command again, or put these files into "
            f"{folder / '.downloads'} by hand: {', '.join(r.archive.name for r in missing)}"
        ) from error
    except OSError as error:
        if error.errno in DISK_FULL:
            raise UserError(
                f"the disk of {folder} is full: free some space, then run the same command again to continue"
            ) from error
        raise UserError(
            f"the download into {folder} fails ({error}): fix that, or choose another folder"
        ) from error


def _announce(title: str, licence: str, remotes: list[RemoteArchive], folder: Path) -> None:
    """Show what will be downloaded. Raise `UserError` if the disk is too small for it."""
    sizes = {remote: _size(remote) for remote in remotes}
    known = [size for size in sizes.values() if size is not None]
    at_least = "at least " if len(known) < len(remotes) else ""
    total = f"{at_least}{format_bytes(sum(known))}" if known else "of unknown size"
    count = f"{len(remotes)} file{'s' * (len(remotes) > 1)}"
    logger.info(f"{title}: {count}, {total}, into {folder}\nlicence: {licence}")
    needed = sum(max(0, (size or 0) - file_size(remote.path(".part"))) for remote, size in sizes.items())
    needed -= sum(file_size(remote.path()) for remote in remotes)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{title} needs {format_bytes(needed)} for its archives, but the disk of {folder} has only "
            f"{format_bytes(free)} free: free some space, or choose a folder on another disk"
        )


def _size(remote: RemoteArchive) -> int | None:
    """Return the size of an archive in bytes: as it lies on disk, as published, or as its server says."""
    if remote.path().exists():
        return file_size(remote.path())
    return remote_size(remote) if remote.archive.size is None else remote.archive.size


def _fetch(remote: RemoteArchive) -> None:
    """Make sure that the complete and correct archive is at its path."""
    if remote.path().exists():
        if fault := _fault(remote.path(), remote.archive):
            raise UserError(
                f"{remote.path()} {fault}: put the right file there, or delete it to have it downloaded"
            )
        return
    part = remote.path(".part")
    resumed = transfer(remote)
    fault = _fault(part, remote.archive)
    if fault and resumed:  # the older part may be of another version of the file
        part.unlink()
        transfer(remote)
        fault = _fault(part, remote.archive)
    if fault:
        part.unlink()
        raise UserError(
            f"{remote.url} {fault}; the file was deleted: run the same command again, use another mirror, "
            f"or put the right file at {remote.path()}"
        )
    part.rename(remote.path())
    remote.path(".tag").unlink(missing_ok=True)


def _fault(file: Path, archive: Archive) -> str | None:
    """Return what is wrong with the size or checksum of a file, as the rest of a sentence."""
    if archive.size is not None and file_size(file) != archive.size:
        return f"has {file_size(file)} bytes, but {archive.size} were expected"
    if archive.checksum is None:
        return None
    algorithm, expected = archive.checksum.lower().split(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    bar = progress_bar(f"checking {archive.name}", file_size(file), delay=1)
    with file.open("rb") as content, bar:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    if (found := digest.hexdigest()) == expected:
        return None
    return f"has the {algorithm} checksum {found}, but {expected} was expected"


def _unpack(remote: RemoteArchive) -> None:
    """Unpack the archive, or move a file that is none to its place, and mark it as done."""
    whole, target = remote.path(), remote.folder / remote.archive.into
    target.mkdir(parents=True, exist_ok=True)
    if not unpack(whole, target):
        whole.replace(target / whole.name)
    remote.path(".done").write_text(f"{remote.url}\n", encoding="utf-8")
    whole.unlink(missing_ok=True)
