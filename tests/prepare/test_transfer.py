"""Downloads over a connection that breaks, from a server whose files may change."""

import random
from pathlib import Path

import pytest
from helpers.archive_server import ArchiveServer
from helpers.archives import ARCHIVES, FILES, NOISE, corpus_files, download_birds, sha256
from tqdm import tqdm

from audiostride.corpora.base import Archive
from audiostride.errors import UserError


def test_download_resumes_at_the_byte_where_the_connection_broke(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.cuts = [1000, 2500]
    download_birds(server.add("a.tgz", ARCHIVES["a.tgz"]), folder=tmp_path)
    assert server.gets == [
        ("a.tgz", None, None),
        ("a.tgz", "bytes=1000-", '"first"'),
        ("a.tgz", "bytes=3500-", '"first"'),
    ]
    assert corpus_files(tmp_path) == FILES


def test_later_call_resumes_where_the_last_one_gave_up(server: ArchiveServer, tmp_path: Path) -> None:
    archive = server.add("a.zip", ARCHIVES["a.zip"])
    server.cuts = [1000] + 5 * [0]
    with pytest.raises(UserError, match=r"keeps breaking off \(the connection was closed\), 1.00kB are on"):
        download_birds(archive, folder=tmp_path)
    assert len(server.gets) == 6
    download_birds(archive, folder=tmp_path)
    assert server.gets[6:] == [("a.zip", "bytes=1000-", '"first"')]
    assert corpus_files(tmp_path) == FILES


def test_interrupted_download_keeps_the_received_bytes(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class InterruptingBar(tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            raise KeyboardInterrupt

    content = random.Random(1).randbytes(1_000_000)
    archive = server.add("a.csv", content, checksum=sha256(content))
    with monkeypatch.context() as patch:
        patch.setattr("audiostride.prepare.transfer.tqdm", InterruptingBar)
        with pytest.raises(KeyboardInterrupt):
            download_birds(archive, folder=tmp_path)
    received = (tmp_path / ".downloads" / "a.csv.part").stat().st_size
    assert 0 < received < len(content)
    download_birds(archive, folder=tmp_path)
    assert server.gets[1:] == [("a.csv", f"bytes={received}-", '"first"')]
    assert corpus_files(tmp_path) == {"a.csv": content}


def test_connection_may_break_often_while_bytes_arrive(server: ArchiveServer, tmp_path: Path) -> None:
    server.cuts = 20 * [400]
    download_birds(server.add("a.zip", ARCHIVES["a.zip"]), folder=tmp_path)
    assert len(server.gets) == 21
    assert corpus_files(tmp_path) == FILES


def test_range_and_size_are_requested_through_redirects(server: ArchiveServer, tmp_path: Path) -> None:
    server.redirects = {"moved.zip": "/a.zip"}
    server.files["a.zip"] = ARCHIVES["a.zip"]
    server.cuts = [0, 1000]  # of the redirection itself, and of what it leads to
    download_birds(Archive(f"{server.url}/moved.zip", "a.zip", size=len(ARCHIVES["a.zip"])), folder=tmp_path)
    assert [ask for ask in server.gets if ask[0] == "a.zip"] == [
        ("a.zip", None, None),
        ("a.zip", "bytes=1000-", '"first"'),
    ]
    assert corpus_files(tmp_path) == FILES


def test_server_without_ranges_is_read_from_the_start_again(server: ArchiveServer, tmp_path: Path) -> None:
    server.supports_ranges = False
    server.cuts = [1000]
    download_birds(
        server.add("a.zip", ARCHIVES["a.zip"], checksum=sha256(ARCHIVES["a.zip"])), folder=tmp_path
    )
    assert [asked for _, asked, _ in server.gets] == [None, "bytes=1000-"]
    assert corpus_files(tmp_path) == FILES


def test_server_without_ranges_that_always_breaks_off_reports_a_clear_error(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.supports_ranges = False
    server.cuts = 25 * [1000, 500]
    with pytest.raises(UserError, match="keeps breaking off"):
        download_birds(server.add("a.zip", ARCHIVES["a.zip"]), folder=tmp_path)
    assert len(server.gets) == 6


def test_busy_server_is_asked_again(server: ArchiveServer, tmp_path: Path) -> None:
    server.errors = [503, 429]
    download_birds(server.add("a.csv", NOISE, size=5000), folder=tmp_path)
    assert len(server.gets) == 3
    assert corpus_files(tmp_path) == {"a.csv": NOISE}


@pytest.mark.parametrize(
    ("marks", "new", "sent"),
    [
        ({"ETag": '"first"'}, {"ETag": '"second"'}, '"first"'),
        ({"ETag": 'W/"1"', "Last-Modified": "Mon"}, {"Last-Modified": "Tue"}, "Mon"),
        ({"Last-Modified": "Mon"}, {"Last-Modified": "Tue"}, "Mon"),
    ],
)
def test_changed_file_is_not_appended_to_its_old_part(
    server: ArchiveServer, tmp_path: Path, marks: dict[str, str], new: dict[str, str], sent: str
) -> None:
    archive = server.add("a.csv", b"a" * 5000)
    server.version, server.cuts = marks, [1000]

    def change() -> None:
        server.files["a.csv"], server.version = b"b" * 6000, new

    server.after_cut = change
    download_birds(archive, folder=tmp_path)
    assert server.gets == [("a.csv", None, None), ("a.csv", "bytes=1000-", sent)]
    assert corpus_files(tmp_path) == {"a.csv": b"b" * 6000}


def test_resumed_file_with_a_wrong_checksum_is_downloaded_once_more_from_the_start(
    server: ArchiveServer, tmp_path: Path
) -> None:
    archive = server.add("a.csv", b"a" * 5000, size=5000, checksum=sha256(b"b" * 5000))
    server.version, server.cuts = {}, [1000]
    server.after_cut = lambda: server.files.update({"a.csv": b"b" * 5000})
    download_birds(archive, folder=tmp_path)
    assert server.gets == [("a.csv", None, None), ("a.csv", "bytes=1000-", None), ("a.csv", None, None)]
    assert corpus_files(tmp_path) == {"a.csv": b"b" * 5000}


def write_part(folder: Path, content: bytes) -> Path:
    part = folder / ".downloads" / "a.csv.part"
    part.parent.mkdir()
    part.write_bytes(content)
    return part


def test_complete_part_of_known_size_needs_no_request(server: ArchiveServer, tmp_path: Path) -> None:
    write_part(tmp_path, NOISE)
    download_birds(server.add("a.csv", NOISE, size=len(NOISE), checksum=sha256(NOISE)), folder=tmp_path)
    assert not server.requests
    assert corpus_files(tmp_path) == {"a.csv": NOISE}


def test_complete_part_of_unknown_size_is_recognised_by_the_server(
    server: ArchiveServer, tmp_path: Path
) -> None:
    write_part(tmp_path, NOISE)
    download_birds(server.add("a.csv", NOISE), folder=tmp_path)
    assert server.gets == [("a.csv", "bytes=5000-", None)]
    assert corpus_files(tmp_path) == {"a.csv": NOISE}


@pytest.mark.parametrize("known", [{}, {"size": len(NOISE)}])
def test_part_that_is_longer_than_the_file_is_dropped(
    server: ArchiveServer, tmp_path: Path, known: dict[str, int]
) -> None:
    write_part(tmp_path, bytes(6000))
    download_birds(server.add("a.csv", NOISE, **known), folder=tmp_path)
    assert corpus_files(tmp_path) == {"a.csv": NOISE}
