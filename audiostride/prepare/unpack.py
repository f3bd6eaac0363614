"""Unpacks archives that someone else made: nothing outside the target, no file by halves, little memory."""

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
    RuntimeError,  # of an encrypted zip, or a strange method
)
_Members = Generator[tuple[str, IO[bytes] | None], None, None]  # name, and content where it is no folder


def unpack(whole: Path, target: Path) -> bool:
    """Unpack a .zip, .tar, .tar.gz or .tgz into the folder `target`. Tells whether the file is one of them.

    Raises:
        UserError: where the archive is damaged, and is then deleted; or where a member is a link, or would
            lie outside of the target.
    """
    if whole.name.endswith(".zip"):
        _write_members(whole, _zip_members(whole), target)
    elif whole.name.endswith((".tar", ".tar.gz", ".tgz")):
        _write_members(whole, _tar_members(whole), target)
    else:
        return False
    return True


def _write_members(whole: Path, members: _Members, target: Path) -> None:
    aside = whole.with_name(f"{whole.name}.member")
    bar = tqdm(desc=f"unpacking {whole.name}", unit=" files", delay=1)
    try:
        with closing(members), bar:  # closed before the archive is deleted, which some systems ask for
            for name, content in members:
                path = target.joinpath(*PureWindowsPath(name).parts)
                (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
                if content is not None:
                    with aside.open("wb") as file:
                        shutil.copyfileobj(content, file, _CHUNK)
                    aside.replace(path)  # so a file that bears its name is whole
                    bar.update()
    except _DAMAGE as error:
        whole.unlink()
        raise UserError(
            f"{whole} is damaged ({str(error) or type(error).__name__}) and was deleted: "
            "give the same command again to fetch it anew"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def _zip_members(whole: Path) -> _Members:
    try:
        with zipfile.ZipFile(whole) as archive:
            for info in archive.infolist():  # all of them before the first is written
                kind = stat.S_IFMT(info.external_attr >> 16)
                _check(whole, info.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR), info.is_dir())
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


def _tar_members(whole: Path) -> _Members:
    plain = whole.suffix == ".tar"
    # gzip's own reader, since tarfile's checks neither its checksum nor its end.
    with whole.open("rb") if plain else gzip.open(whole) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            while (info := archive.next()) is not None:
                _check(whole, info.name, info.isreg() or info.isdir(), info.isdir())
                yield info.name, archive.extractfile(info)
                archive.members = []  # type: ignore[attr-defined]  # else every member seen is kept
        while stream.read(_CHUNK):
            pass
        # tarfile takes a cut between two members, or a damaged header, for the end.
        if plain and (stream.seek(archive.offset), stream.read(512))[1] != bytes(512):
            raise tarfile.ReadError("its end is missing")


def _check(whole: Path, name: str, plain: bool, is_folder: bool) -> None:
    """Refuse members that are no plain files or folders, or whose names lead out of the target."""
    path = PureWindowsPath(name)  # knows both kinds of slashes, and drives
    inside = not path.anchor and ".." not in path.parts and (path.parts or is_folder)
    if not (plain and inside):
        what = "leads out of the folder" if plain else "is a link or a device"
        raise UserError(
            f"{whole} is unsafe, its member {name!r} {what}: "
            "delete it and fetch it from a source that you trust"
        )
