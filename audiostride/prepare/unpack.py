"""Unpack archives from other people, without writing outside the target and in little memory.

Not tarfile.data_filter: it makes absolute names relative and accepts links and names like "..\\evil", all of
which are refused here; and zip files need the same checks. Not extractall: after a break it leaves a file
that looks complete.
"""

import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path, PureWindowsPath
from typing import IO

from tqdm import tqdm

from audiostride.errors import UserError

_CHUNK = 1 << 18
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    UnicodeError,
    OverflowError,
    RuntimeError,  # encrypted zip, or unknown compression
)
_Members = Generator[tuple[str, IO[bytes] | None], None, None]  # name and content; None for a folder


def unpack(archive: Path, target: Path) -> bool:
    """Unpack a .zip, .tar, .tar.gz or .tgz file into the folder `target`.

    Returns:
        Whether the file is an archive, judged by its name; other files are left alone.

    Raises:
        UserError: if the archive is damaged, and it is then deleted; or if a member is a link, or would be
            written outside the target.
    """
    if archive.name.endswith(".zip"):
        _write_members(archive, _zip_members(archive), target)
    elif archive.name.endswith((".tar", ".tar.gz", ".tgz")):
        _write_members(archive, _tar_members(archive), target)
    else:
        return False
    return True


def _write_members(archive: Path, members: _Members, target: Path) -> None:
    new = archive.with_name(f"{archive.name}.member")
    bar = tqdm(desc=f"unpacking {archive.name}", unit=" files", delay=1)
    try:
        with closing(members), bar:  # some systems cannot delete the archive while it is open
            for name, content in members:
                path = target.joinpath(*PureWindowsPath(name).parts)
                (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
                if content is not None:
                    with new.open("wb") as file:
                        shutil.copyfileobj(content, file, _CHUNK)
                    new.replace(path)  # a file gets its name when it is complete
                    bar.update()
    except _DAMAGE as error:
        archive.unlink()
        raise UserError(
            f"{archive} is damaged ({str(error) or type(error).__name__}) and was deleted: run the same "
            "command again to download it again"
        ) from error
    finally:
        new.unlink(missing_ok=True)


def _zip_members(path: Path) -> _Members:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():  # check all of them before the first is written
                kind = stat.S_IFMT(info.external_attr >> 16)
                _check(path, info.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR), info.is_dir())
            for info in archive.infolist():
                if info.is_dir():
                    yield info.filename, None
                else:
                    with archive.open(info) as content:
                        yield info.filename, content
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise zipfile.BadZipFile("its directory points outside of it") from error


def _tar_members(path: Path) -> _Members:
    uncompressed = path.suffix == ".tar"
    # gzip.open, because tarfile's own reader checks neither the checksum nor the end of a gzip stream.
    with path.open("rb") if uncompressed else gzip.open(path) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            while (info := archive.next()) is not None:
                _check(path, info.name, info.isreg() or info.isdir(), info.isdir())
                yield info.name, archive.extractfile(info)
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every member in memory
        while stream.read(_CHUNK):
            pass
        # tarfile takes a cut between two members, or a damaged header, for the end of the archive.
        if uncompressed and (stream.seek(archive.offset), stream.read(512))[1] != bytes(512):
            raise tarfile.ReadError("its end is missing")


def _check(archive: Path, name: str, is_plain: bool, is_folder: bool) -> None:
    """Raise `UserError` for a member that is not a plain file or folder, or whose name leaves the target."""
    path = PureWindowsPath(name)  # splits at both kinds of slashes, and knows drives
    is_inside = not path.anchor and ".." not in path.parts and (path.parts or is_folder)
    if not (is_plain and is_inside):
        fault = "leads out of the folder" if is_plain else "is a link or a device"
        raise UserError(
            f"{archive} is unsafe, because its member {name!r} {fault}: delete the archive and get it from a "
            "source that you trust"
        )
