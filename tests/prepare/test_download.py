"""Downloads, from a server of our own that breaks off, changes its files and lies."""

import gzip
import hashlib
import io
import random
import shutil
import socket
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tqdm import tqdm

import audiostride
from audiostride.cli import main
from audiostride.corpora import DATASETS, speech_commands
from audiostride.corpora.base import Archive
from audiostride.errors import UserError
from audiostride.prepare.download import download

SOUND = random.Random(0).randbytes(5000)
FILES = {"wav/1.wav": SOUND, "wav/2.wav": SOUND[::-1], "meta.csv": b"itemid,hasbird\n1,0\n"}


@dataclass
class Site:
    """What the server has, how it behaves, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=lambda: {"ETag": '"first"'})
    ranges: bool = True
    redirects: dict[str, str] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)  # statuses of the next answers
    cuts: list[int] = field(default_factory=list)  # the next answers end after so many bytes
    after_cut: Callable[[], None] = lambda: None
    asked: list[tuple[str, str, Any]] = field(default_factory=list)  # method, name, headers

    @property
    def gets(self) -> list[tuple[str, str | None, str | None]]:
        """Name, Range and If-Range of the requests for content."""
        return [(name, h["Range"], h["If-Range"]) for method, name, h in self.asked if method == "GET"]

    def archive(self, name: str, content: bytes, **known: Any) -> Archive:
        self.files[name] = content
        return Archive(f"{self.url}/{name}", name, **known)


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path[1:]
            site.asked.append((self.command, name, self.headers))
            content = site.files.get(name, b"")
            begin = self.begin()
            if name in site.redirects:
                self.answer(302, Location=site.redirects[name])
            elif site.failures:
                self.answer(site.failures.pop(0))
            elif name not in site.files:
                self.answer(404)
            elif begin is None:
                self.answer(200, content, **site.marks)
            elif begin >= len(content):
                self.answer(416, span=f"bytes */{len(content)}")
            else:
                span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                self.answer(206, content[begin:], span, **site.marks)

        do_HEAD = do_GET  # noqa: N815

        def begin(self) -> int | None:
            same = self.headers["If-Range"] in (None, *site.marks.values())
            asked = self.headers["Range"] if site.ranges and same else None
            return int(asked.removeprefix("bytes=").removesuffix("-")) if asked else None

        def answer(self, status: int, content: bytes = b"", span: str = "", **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for key, value in {**headers, **({"Content-Range": span} if span else {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                cut = site.cuts.pop(0) if site.cuts else None
                if cut is not None:
                    site.after_cut()
                self.wfile.write(content[:cut])

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("audiostride.prepare.download._BACKOFF", 0)
    monkeypatch.setenv("no_proxy", "*")
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def nobody() -> str:
    """The address of a server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def tarred(files: dict[str, bytes], *more: tarfile.TarInfo, mode: Any = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return out.getvalue()


def zipped(files: dict[str, bytes], *more: zipfile.ZipInfo) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("empty")
        for name, content in files.items():
            archive.writestr(name, content)
        for info in more:
            archive.writestr(info, "/etc/passwd")
    return out.getvalue()


def run(*archives: Archive, folder: Path, **options: Any) -> None:
    download("Birdsong", "CC BY 4.0", archives, folder, **options)


def tree(folder: Path) -> dict[str, bytes]:
    """The corpus, without what the download keeps beside it."""
    files = (f for f in folder.rglob("*") if f.is_file() and ".downloads" not in f.parts)
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in files}


def left(folder: Path) -> set[str]:
    return {file.name for file in (folder / ".downloads").iterdir()}


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


PACKED = {
    "a.tar.gz": tarred(FILES),
    "a.tgz": tarred(FILES),
    "a.tar": tarred(FILES, mode="w"),
    "a.zip": zipped(FILES),
}


@pytest.mark.parametrize("name", PACKED)
def test_archives_are_unpacked_and_then_deleted(site: Site, tmp_path: Path, name: str) -> None:
    run(site.archive(name, PACKED[name], checksum=sha256(PACKED[name])), folder=tmp_path / "new" / "birds")
    assert tree(tmp_path / "new" / "birds") == FILES
    assert left(tmp_path / "new" / "birds") == {f"{name}.done"}


def test_other_files_are_put_in_place_as_they_are(site: Site, tmp_path: Path) -> None:
    run(site.archive("labels.csv", b"1,0\n", into="ff1010bird"), folder=tmp_path)
    assert tree(tmp_path) == {"ff1010bird/labels.csv": b"1,0\n"}


def test_archives_are_unpacked_into_their_sub_folders(site: Site, tmp_path: Path) -> None:
    one = site.archive("one.zip", zipped({"wav/1.wav": b"1"}), into="one")
    two = site.archive("two.tgz", tarred({"wav/1.wav": b"2"}), into="sets/two")
    run(one, two, folder=tmp_path)
    assert tree(tmp_path) == {"one/wav/1.wav": b"1", "sets/two/wav/1.wav": b"2"}


def test_what_is_fetched_is_told_first(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = site.archive("known.csv", bytes(4000), size=4000)
    run(known, site.archive("new.csv", bytes(2000)), folder=tmp_path)
    assert capsys.readouterr().err.startswith(
        f"Birdsong: 2 files, 6.00kB, into {tmp_path}\nlicence: CC BY 4.0\n"
    )
    assert [name for method, name, _ in site.asked if method == "HEAD"] == ["new.csv"]


def test_server_that_refuses_head_leaves_the_size_unknown(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.failures = [405]
    run(site.archive("labels.csv", b"1,0\n"), folder=tmp_path)
    assert "1 file, of unknown size" in capsys.readouterr().err
    assert tree(tmp_path) == {"labels.csv": b"1,0\n"}


def test_server_is_told_who_asks(site: Site, tmp_path: Path) -> None:
    run(site.archive("labels.csv", b"1,0\n"), folder=tmp_path)
    assert {h["User-Agent"] for *_, h in site.asked} == {f"audiostride/{audiostride.__version__}"}


def test_download_goes_on_exactly_where_the_connection_broke(site: Site, tmp_path: Path) -> None:
    site.cuts = [1000, 2500]
    run(site.archive("a.tgz", PACKED["a.tgz"]), folder=tmp_path)
    assert site.gets == [
        ("a.tgz", None, None),
        ("a.tgz", "bytes=1000-", '"first"'),
        ("a.tgz", "bytes=3500-", '"first"'),
    ]
    assert tree(tmp_path) == FILES


def test_later_call_goes_on_where_the_last_one_gave_up(site: Site, tmp_path: Path) -> None:
    archive = site.archive("a.zip", PACKED["a.zip"])
    site.cuts = [1000] + 5 * [0]
    with pytest.raises(UserError, match=r"keeps breaking off \(the connection was closed\), 1.00kB have"):
        run(archive, folder=tmp_path)
    assert len(site.gets) == 6
    run(archive, folder=tmp_path)
    assert site.gets[6:] == [("a.zip", "bytes=1000-", '"first"')]
    assert tree(tmp_path) == FILES


def test_connection_may_break_often_while_bytes_come(site: Site, tmp_path: Path) -> None:
    site.cuts = 20 * [400]
    run(site.archive("a.zip", PACKED["a.zip"]), folder=tmp_path)
    assert len(site.gets) == 21
    assert tree(tmp_path) == FILES


def test_range_and_size_are_asked_for_through_redirects(site: Site, tmp_path: Path) -> None:
    site.redirects = {"moved.zip": "/a.zip"}
    site.files["a.zip"] = PACKED["a.zip"]
    site.cuts = [0, 1000]  # of the redirection itself, and of what it leads to
    run(Archive(f"{site.url}/moved.zip", "a.zip", size=len(PACKED["a.zip"])), folder=tmp_path)
    assert [ask for ask in site.gets if ask[0] == "a.zip"] == [
        ("a.zip", None, None),
        ("a.zip", "bytes=1000-", '"first"'),
    ]
    assert tree(tmp_path) == FILES


def test_server_without_ranges_is_read_from_the_start_again(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.cuts = [1000]
    run(site.archive("a.zip", PACKED["a.zip"], checksum=sha256(PACKED["a.zip"])), folder=tmp_path)
    assert [asked for _, asked, _ in site.gets] == [None, "bytes=1000-"]
    assert tree(tmp_path) == FILES


def test_server_without_ranges_that_always_breaks_off_is_given_up(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.cuts = 25 * [1000, 500]
    with pytest.raises(UserError, match="keeps breaking off"):
        run(site.archive("a.zip", PACKED["a.zip"]), folder=tmp_path)
    assert len(site.gets) == 6


@pytest.mark.parametrize(
    ("marks", "new", "sent"),
    [
        ({"ETag": '"first"'}, {"ETag": '"second"'}, '"first"'),
        ({"ETag": 'W/"1"', "Last-Modified": "Mon"}, {"Last-Modified": "Tue"}, "Mon"),
        ({"Last-Modified": "Mon"}, {"Last-Modified": "Tue"}, "Mon"),
    ],
)
def test_file_that_has_changed_is_not_glued_to_its_old_half(
    site: Site, tmp_path: Path, marks: dict[str, str], new: dict[str, str], sent: str
) -> None:
    archive = site.archive("a.csv", b"a" * 5000)
    site.marks, site.cuts = marks, [1000]

    def change() -> None:
        site.files["a.csv"], site.marks = b"b" * 6000, new

    site.after_cut = change
    run(archive, folder=tmp_path)
    assert site.gets == [("a.csv", None, None), ("a.csv", "bytes=1000-", sent)]
    assert tree(tmp_path) == {"a.csv": b"b" * 6000}


def test_glued_file_with_a_wrong_checksum_is_fetched_once_more_from_nothing(
    site: Site, tmp_path: Path
) -> None:
    archive = site.archive("a.csv", b"a" * 5000, size=5000, checksum=sha256(b"b" * 5000))
    site.marks, site.cuts = {}, [1000]
    site.after_cut = lambda: site.files.update({"a.csv": b"b" * 5000})
    run(archive, folder=tmp_path)
    assert site.gets == [("a.csv", None, None), ("a.csv", "bytes=1000-", None), ("a.csv", None, None)]
    assert tree(tmp_path) == {"a.csv": b"b" * 5000}


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_wrong_checksum_is_told_and_the_file_deleted(site: Site, tmp_path: Path, kind: str) -> None:
    wanted, found = (hashlib.new(kind, content).hexdigest() for content in (b"good", b"evil"))
    archive = site.archive("a.csv", b"evil", checksum=f"{kind}:{wanted.upper()}")
    with pytest.raises(UserError, match=f"a.csv has the {kind} checksum {found} where {wanted} was expected"):
        run(archive, folder=tmp_path)
    assert len(site.gets) == 1
    assert not tree(tmp_path)
    assert left(tmp_path) <= {"a.csv.tag"}


def test_file_of_another_size_is_refused_before_it_is_read(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.csv has 4 bytes where 5 were expected"):
        run(site.archive("a.csv", b"1,0\n", size=5), folder=tmp_path)
    assert not left(tmp_path)


def begun(folder: Path, content: bytes) -> Path:
    part = folder / ".downloads" / "a.csv.part"
    part.parent.mkdir()
    part.write_bytes(content)
    return part


def test_part_that_is_whole_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    begun(tmp_path, SOUND)
    run(site.archive("a.csv", SOUND, size=len(SOUND), checksum=sha256(SOUND)), folder=tmp_path)
    assert not site.asked
    assert tree(tmp_path) == {"a.csv": SOUND}


def test_part_that_is_whole_is_known_by_its_server(site: Site, tmp_path: Path) -> None:
    begun(tmp_path, SOUND)
    run(site.archive("a.csv", SOUND), folder=tmp_path)
    assert site.gets == [("a.csv", "bytes=5000-", None)]
    assert tree(tmp_path) == {"a.csv": SOUND}


@pytest.mark.parametrize("known", [{}, {"size": len(SOUND)}])
def test_part_that_is_longer_than_the_file_is_dropped(
    site: Site, tmp_path: Path, known: dict[str, int]
) -> None:
    begun(tmp_path, bytes(6000))
    run(site.archive("a.csv", SOUND, **known), folder=tmp_path)
    assert tree(tmp_path) == {"a.csv": SOUND}


def test_server_that_is_not_there_is_told_with_what_to_put_where(
    site: Site, tmp_path: Path, nobody: str
) -> None:
    here = site.archive("here.csv", b"")
    away = [Archive(f"{nobody}/{name}", name, size=5) for name in ("away.zip", "labels.csv")]
    with pytest.raises(UserError) as error:
        run(here, *away, folder=tmp_path)
    assert f"{nobody.removeprefix('http://')} cannot be reached (" in str(error.value)
    assert f"put by hand into {tmp_path / '.downloads'}: away.zip, labels.csv" in str(error.value)


def test_missing_file_is_told_with_its_address(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{site.url}/no\.zip answers 404 Not Found: .* put the file at"):
        run(Archive(f"{site.url}/no.zip", "no.zip"), folder=tmp_path)
    assert len(site.gets) == 1


def test_server_that_is_busy_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.failures = [503, 429]
    run(site.archive("a.csv", SOUND, size=5000), folder=tmp_path)
    assert len(site.gets) == 3
    assert tree(tmp_path) == {"a.csv": SOUND}


def test_what_is_done_is_not_asked_for_again(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = site.archive("a.zip", PACKED["a.zip"]), site.archive("b.csv", b"1,0\n", into="labels")
    run(one, folder=tmp_path)
    site.asked.clear()
    run(one, two, folder=tmp_path)
    assert {name for _, name, _ in site.asked} == {"b.csv"}
    site.asked.clear()
    capsys.readouterr()
    run(one, two, folder=tmp_path)
    assert not site.asked
    assert not capsys.readouterr().err


def test_archive_put_there_by_hand_is_used_without_network(tmp_path: Path, nobody: str) -> None:
    (tmp_path / ".downloads").mkdir()
    (tmp_path / ".downloads" / "a.zip").write_bytes(PACKED["a.zip"])
    checksum = sha256(PACKED["a.zip"])
    run(Archive(f"{nobody}/a.zip", "a.zip", checksum=checksum), folder=tmp_path)
    assert tree(tmp_path) == FILES


def test_wrong_file_put_there_by_hand_is_told_and_kept(tmp_path: Path, nobody: str) -> None:
    (tmp_path / ".downloads").mkdir()
    mine = tmp_path / ".downloads" / "a.zip"
    mine.write_bytes(PACKED["a.zip"])
    with pytest.raises(UserError, match=r"a\.zip has \d+ bytes where 7 were expected: put the right file"):
        run(Archive(f"{nobody}/a.zip", "a.zip", size=7), folder=tmp_path)
    assert mine.read_bytes() == PACKED["a.zip"]


def test_mirror_takes_the_place_of_every_address(site: Site, tmp_path: Path, nobody: str) -> None:
    site.files = {"corpora/a%20b.zip": PACKED["a.zip"], "corpora/labels.csv": b"1,0\n"}
    archives = [Archive(f"{nobody}/v1/files/7", "a b.zip"), Archive(f"{nobody}/8", "labels.csv")]
    run(*archives, folder=tmp_path, mirror=f"{site.url}/corpora/")
    assert tree(tmp_path) == {**FILES, "labels.csv": b"1,0\n"}


@pytest.mark.parametrize("mirror", ["", "localhost/corpora", "/data/corpora"])
def test_mirror_must_be_an_address(site: Site, tmp_path: Path, mirror: str) -> None:
    with pytest.raises(UserError, match="is no mirror: give a base URL"):
        run(site.archive("a.csv", b""), folder=tmp_path, mirror=mirror)


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
    **{f"{i}.zip": (zipped({"good": b"", n: b""}), n, "leads out") for i, n in enumerate(OUTSIDE)},
    **{f"{i}.tgz": (tarred({"good": b"", n: b""}), n, "leads out") for i, n in enumerate(OUTSIDE)},
    "link.zip": (zipped(FILES, zip_link(stat.S_IFLNK)), "wav/link", "is a link or a device"),
    "pipe.zip": (zipped(FILES, zip_link(stat.S_IFIFO)), "wav/link", "is a link or a device"),
    "link.tgz": (tarred(FILES, link(tarfile.SYMTYPE)), "wav/link", "is a link or a device"),
    "hard.tgz": (tarred(FILES, link(tarfile.LNKTYPE)), "wav/link", "is a link or a device"),
    "device.tgz": (tarred(FILES, link(tarfile.CHRTYPE)), "wav/link", "is a link or a device"),
    "pipe.tar": (tarred(FILES, link(tarfile.FIFOTYPE), mode="w"), "wav/link", "is a link or a device"),
    "nameless.tgz": (tarred({".": b"evil"}), ".", "leads out"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_members_that_are_links_or_lead_outside_are_refused(site: Site, tmp_path: Path, name: str) -> None:
    content, member, what = UNSAFE[name]
    corpus = tmp_path / "a" / "b" / "birds"
    with pytest.raises(UserError) as error:
        run(site.archive(name, content, into="into"), folder=corpus)
    assert f"{name} is unsafe, its member {member!r} {what}" in str(error.value)
    outside = (f for f in tmp_path.rglob("*") if f.is_file() and corpus not in f.parents)
    assert not list(outside)
    assert left(corpus) == {name}
    assert all(file.startswith("into/") for file in tree(corpus))
    if name.endswith(".zip"):
        assert not tree(corpus)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


DAMAGED = {
    "cut.tgz": PACKED["a.tgz"][:-3000],
    "tail.tgz": PACKED["a.tgz"][:-4],
    "bad.tgz": flipped(PACKED["a.tgz"], 5000),
    "sum.tgz": flipped(PACKED["a.tgz"], -6),
    "cut.tar": PACKED["a.tar"][:7000],
    "between.tar": PACKED["a.tar"][: 512 + 5120],
    "header.tar": flipped(PACKED["a.tar"], 512 + 5120),
    "cut.zip": PACKED["a.zip"][:-3000],
    "places.zip": PACKED["a.zip"][1000:],
    "bad.zip": flipped(PACKED["a.zip"], 5000),
    "page.zip": b"<html>please log in</html>",
    "page.tar.gz": b"<html>please log in</html>",
    "page.tar": b"<html>please log in</html>",
    "empty.tgz": b"",
    "void.tgz": gzip.compress(b""),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_archives_are_told_and_fetched_anew(site: Site, tmp_path: Path, name: str) -> None:
    archive = site.archive(name, DAMAGED[name])
    with pytest.raises(UserError, match=rf"{name} is damaged \(.+\) and was deleted: give the same command"):
        run(archive, folder=tmp_path)
    assert not left(tmp_path)
    site.files[name] = PACKED["a" + name[name.index(".") :]]
    run(archive, folder=tmp_path)
    assert tree(tmp_path) == FILES


@pytest.mark.parametrize("name", ["a.tgz", "a.zip"])
def test_interrupted_unpacking_leaves_no_half_file_and_is_done_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def interrupt(content: Any, file: Any, chunk: int) -> None:
        file.write(content.read(1000))
        raise KeyboardInterrupt

    archive = site.archive(name, PACKED[name])
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(archive, folder=tmp_path)
    assert not tree(tmp_path)
    assert left(tmp_path) == {name}
    site.asked.clear()
    run(archive, folder=tmp_path)
    assert not site.asked
    assert tree(tmp_path) == FILES


def test_interrupted_download_keeps_what_has_come(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            raise KeyboardInterrupt

    content = random.Random(1).randbytes(1_000_000)
    archive = site.archive("a.csv", content, checksum=sha256(content))
    with monkeypatch.context() as patch:
        patch.setattr("audiostride.prepare.download.tqdm", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            run(archive, folder=tmp_path)
    come = (tmp_path / ".downloads" / "a.csv.part").stat().st_size
    assert 0 < come < len(content)
    run(archive, folder=tmp_path)
    assert site.gets[1:] == [("a.csv", f"bytes={come}-", '"first"')]
    assert tree(tmp_path) == {"a.csv": content}


def test_too_small_a_disk_is_refused_before_anything_is_fetched(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4000))
    archive = site.archive("a.csv", SOUND, size=5000)
    with pytest.raises(UserError, match=r"Birdsong needs 5.00kB for its archives .* has 4.00kB free: free"):
        run(archive, folder=tmp_path)
    assert not site.gets
    (tmp_path / ".downloads" / "a.csv.part").write_bytes(SOUND[:1000])
    run(archive, folder=tmp_path)
    assert tree(tmp_path) == {"a.csv": SOUND}


def test_disk_that_fills_up_is_told_and_the_archive_kept(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: Any, file: Any, chunk: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(UserError, match=r"the disk of .* is full: free some space"):
        run(site.archive("a.zip", PACKED["a.zip"]), folder=tmp_path)
    assert left(tmp_path) == {"a.zip"}


def test_folder_that_cannot_be_written_is_told(site: Site, tmp_path: Path) -> None:
    (tmp_path / "birds").write_text("a file in the way")
    with pytest.raises(UserError, match=r"the download into .*birds stops at the disk \(.*\): mend that"):
        run(site.archive("a.csv", b""), folder=tmp_path / "birds")


def test_one_command_downloads_from_a_mirror_and_prepares(
    site: Site,
    words: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {path.relative_to(words).as_posix(): path.read_bytes() for path in words.rglob("*.*")}
    site.files["words.tar.gz"] = tarred(files)
    archive = Archive("http://no.such.host/words.tar.gz", "words.tar.gz")
    monkeypatch.setitem(DATASETS, "speech_commands", replace(speech_commands.DATASET, archives=(archive,)))
    monkeypatch.chdir(tmp_path)
    command = ["prepare", "speech_commands", "data/words", "--download", "--mirror", site.url]
    assert main(command) == 0
    told = capsys.readouterr().err
    assert "Speech Commands v0.02: 1 file" in told
    assert "licence: CC BY 4.0" in told
    assert "data/prepared/speech_commands: 30 recordings" in told
    site.asked.clear()
    assert main(command) == 0
    assert not site.asked
