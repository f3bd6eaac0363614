"""Archives: what is unpacked, and what is refused because it is unsafe or damaged."""

import gzip
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from helpers.archive_server import ArchiveServer
from helpers.archives import (
    ARCHIVES,
    FILES,
    corpus_files,
    download_birds,
    make_tar,
    make_zip,
    sha256,
    state_files,
)

from audiostride.errors import UserError


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_are_unpacked_and_deleted(server: ArchiveServer, tmp_path: Path, name: str) -> None:
    download_birds(
        server.add(name, ARCHIVES[name], checksum=sha256(ARCHIVES[name])), folder=tmp_path / "new" / "birds"
    )
    assert corpus_files(tmp_path / "new" / "birds") == FILES
    assert state_files(tmp_path / "new" / "birds") == {f"{name}.done"}


def test_archives_are_unpacked_into_their_sub_folders(server: ArchiveServer, tmp_path: Path) -> None:
    one = server.add("one.zip", make_zip({"wav/1.wav": b"1"}), into="one")
    two = server.add("two.tgz", make_tar({"wav/1.wav": b"2"}), into="sets/two")
    download_birds(one, two, folder=tmp_path)
    assert corpus_files(tmp_path) == {"one/wav/1.wav": b"1", "sets/two/wav/1.wav": b"2"}


def link(kind: bytes, name: str = "wav/link") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "../../../etc/passwd"
    return info


def zip_link(kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("wav/link")
    info.external_attr = (kind | 0o777) << 16
    return info


OUTSIDE = [
    "../evil",
    "wav/../../evil",
    "/tmp/evil",
    "..\\evil",
    "\\evil",
    "C:\\evil",
    "C:evil",
    "//host/a/evil",
]
UNSAFE = {
    **{f"{i}.zip": (make_zip({"good": b"", n: b""}), n, "leads out") for i, n in enumerate(OUTSIDE)},
    **{f"{i}.tgz": (make_tar({"good": b"", n: b""}), n, "leads out") for i, n in enumerate(OUTSIDE)},
    "link.zip": (make_zip(FILES, zip_link(stat.S_IFLNK)), "wav/link", "is a link or a device"),
    "pipe.zip": (make_zip(FILES, zip_link(stat.S_IFIFO)), "wav/link", "is a link or a device"),
    "link.tgz": (make_tar(FILES, link(tarfile.SYMTYPE)), "wav/link", "is a link or a device"),
    "hard.tgz": (make_tar(FILES, link(tarfile.LNKTYPE)), "wav/link", "is a link or a device"),
    "device.tgz": (make_tar(FILES, link(tarfile.CHRTYPE)), "wav/link", "is a link or a device"),
    "pipe.tar": (make_tar(FILES, link(tarfile.FIFOTYPE), mode="w"), "wav/link", "is a link or a device"),
    "nameless.tgz": (make_tar({".": b"evil"}), ".", "leads out"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_members_that_are_links_or_lead_outside_are_refused(
    server: ArchiveServer, tmp_path: Path, name: str
) -> None:
    content, member, fault = UNSAFE[name]
    corpus = tmp_path / "a" / "b" / "birds"
    with pytest.raises(UserError) as error:
        download_birds(server.add(name, content, into="into"), folder=corpus)
    assert f"{name} is unsafe, because its member {member!r} {fault}" in str(error.value)
    outside = (f for f in tmp_path.rglob("*") if f.is_file() and corpus not in f.parents)
    assert not list(outside)
    assert state_files(corpus) == {name}
    assert all(file.startswith("into/") for file in corpus_files(corpus))
    if name.endswith(".zip"):
        assert not corpus_files(corpus)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


DAMAGED = {
    "cut.tgz": ARCHIVES["a.tgz"][:-3000],
    "tail.tgz": ARCHIVES["a.tgz"][:-4],
    "bad.tgz": flipped(ARCHIVES["a.tgz"], 5000),
    "sum.tgz": flipped(ARCHIVES["a.tgz"], -6),
    "cut.tar": ARCHIVES["a.tar"][:7000],
    "between.tar": ARCHIVES["a.tar"][: 512 + 5120],
    "header.tar": flipped(ARCHIVES["a.tar"], 512 + 5120),
    "cut.zip": ARCHIVES["a.zip"][:-3000],
    "places.zip": ARCHIVES["a.zip"][1000:],
    "bad.zip": flipped(ARCHIVES["a.zip"], 5000),
    "page.zip": b"<html>please log in</html>",
    "page.tar.gz": b"<html>please log in</html>",
    "page.tar": b"<html>please log in</html>",
    "empty.tgz": b"",
    "void.tgz": gzip.compress(b""),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_archive_reports_a_clear_error_and_is_downloaded_again(
    server: ArchiveServer, tmp_path: Path, name: str
) -> None:
    archive = server.add(name, DAMAGED[name])
    with pytest.raises(UserError, match=rf"{name} is damaged \(.+\) and was deleted: run the same command"):
        download_birds(archive, folder=tmp_path)
    assert not state_files(tmp_path)
    server.files[name] = ARCHIVES["a" + name[name.index(".") :]]
    download_birds(archive, folder=tmp_path)
    assert corpus_files(tmp_path) == FILES


@pytest.mark.parametrize("name", ["a.tgz", "a.zip"])
def test_interrupted_unpacking_leaves_no_incomplete_file_and_is_repeated(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def interrupt(content: Any, file: Any, chunk: int) -> None:
        file.write(content.read(1000))
        raise KeyboardInterrupt

    archive = server.add(name, ARCHIVES[name])
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", interrupt)
        with pytest.raises(KeyboardInterrupt):
            download_birds(archive, folder=tmp_path)
    assert not corpus_files(tmp_path)
    assert state_files(tmp_path) == {name}
    server.requests.clear()
    download_birds(archive, folder=tmp_path)
    assert not server.requests
    assert corpus_files(tmp_path) == FILES


def test_disk_that_fills_up_reports_a_clear_error_and_keeps_the_archive(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: Any, file: Any, chunk: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(UserError, match=r"the disk of .* is full: free some space"):
        download_birds(server.add("a.zip", ARCHIVES["a.zip"]), folder=tmp_path)
    assert state_files(tmp_path) == {"a.zip"}
