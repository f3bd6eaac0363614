"""Downloads as a whole: what is shown, checked, done only once, and reported as an error."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.archive_server import ArchiveServer
from helpers.archives import (
    ARCHIVES,
    FILES,
    NOISE,
    corpus_files,
    download_birds,
    make_tar,
    sha256,
    state_files,
)

import audiostride
from audiostride.cli import main
from audiostride.corpora import DATASETS, speech_commands
from audiostride.corpora.base import Archive
from audiostride.errors import UserError


def test_files_that_are_no_archives_are_stored_unchanged(server: ArchiveServer, tmp_path: Path) -> None:
    download_birds(server.add("labels.csv", b"1,0\n", into="ff1010bird"), folder=tmp_path)
    assert corpus_files(tmp_path) == {"ff1010bird/labels.csv": b"1,0\n"}


def test_download_shows_count_size_and_licence_first(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = server.add("known.csv", bytes(4000), size=4000)
    download_birds(known, server.add("new.csv", bytes(2000)), folder=tmp_path)
    assert capsys.readouterr().err.startswith(
        f"Birdsong: 2 files, 6.00kB, into {tmp_path}\nlicence: CC BY 4.0\n"
    )
    assert [name for method, name, _ in server.requests if method == "HEAD"] == ["new.csv"]


def test_size_is_unknown_if_the_server_refuses_head(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.errors = [405]
    download_birds(server.add("labels.csv", b"1,0\n"), folder=tmp_path)
    assert "1 file, of unknown size" in capsys.readouterr().err
    assert corpus_files(tmp_path) == {"labels.csv": b"1,0\n"}


def test_requests_name_audiostride_as_user_agent(server: ArchiveServer, tmp_path: Path) -> None:
    download_birds(server.add("labels.csv", b"1,0\n"), folder=tmp_path)
    assert {h["User-Agent"] for *_, h in server.requests} == {f"audiostride/{audiostride.__version__}"}


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_wrong_checksum_reports_a_clear_error_and_deletes_the_file(
    server: ArchiveServer, tmp_path: Path, kind: str
) -> None:
    expected, found = (hashlib.new(kind, content).hexdigest() for content in (b"good", b"evil"))
    archive = server.add("a.csv", b"evil", checksum=f"{kind}:{expected.upper()}")
    with pytest.raises(
        UserError, match=f"a.csv has the {kind} checksum {found}, but {expected} was expected"
    ):
        download_birds(archive, folder=tmp_path)
    assert len(server.gets) == 1
    assert not corpus_files(tmp_path)
    assert state_files(tmp_path) <= {"a.csv.tag"}


def test_file_of_another_size_is_refused_before_it_is_read(server: ArchiveServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.csv has 4 bytes, but 5 were expected"):
        download_birds(server.add("a.csv", b"1,0\n", size=5), folder=tmp_path)
    assert not state_files(tmp_path)


def test_unreachable_server_names_the_files_to_put_there_by_hand(
    server: ArchiveServer, tmp_path: Path, dead_url: str
) -> None:
    here = server.add("here.csv", b"")
    away = [Archive(f"{dead_url}/{name}", name, size=5) for name in ("away.zip", "labels.csv")]
    with pytest.raises(UserError) as error:
        download_birds(here, *away, folder=tmp_path)
    assert f"{dead_url.removeprefix('http://')} cannot be reached (" in str(error.value)
    assert f"put these files into {tmp_path / '.downloads'} by hand: away.zip, labels.csv" in str(error.value)


def test_missing_file_reports_its_url(server: ArchiveServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{server.url}/no\.zip answers 404 Not Found: .* put the file at"):
        download_birds(Archive(f"{server.url}/no.zip", "no.zip"), folder=tmp_path)
    assert len(server.gets) == 1


def test_finished_archives_need_no_request(
    server: ArchiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = server.add("a.zip", ARCHIVES["a.zip"]), server.add("b.csv", b"1,0\n", into="labels")
    download_birds(one, folder=tmp_path)
    server.requests.clear()
    download_birds(one, two, folder=tmp_path)
    assert {name for _, name, _ in server.requests} == {"b.csv"}
    server.requests.clear()
    capsys.readouterr()
    download_birds(one, two, folder=tmp_path)
    assert not server.requests
    assert not capsys.readouterr().err


def test_archive_put_there_by_hand_is_used_without_network(tmp_path: Path, dead_url: str) -> None:
    (tmp_path / ".downloads").mkdir()
    (tmp_path / ".downloads" / "a.zip").write_bytes(ARCHIVES["a.zip"])
    checksum = sha256(ARCHIVES["a.zip"])
    download_birds(Archive(f"{dead_url}/a.zip", "a.zip", checksum=checksum), folder=tmp_path)
    assert corpus_files(tmp_path) == FILES


def test_wrong_file_put_there_by_hand_reports_a_clear_error_and_is_kept(
    tmp_path: Path, dead_url: str
) -> None:
    (tmp_path / ".downloads").mkdir()
    archive = tmp_path / ".downloads" / "a.zip"
    archive.write_bytes(ARCHIVES["a.zip"])
    with pytest.raises(UserError, match=r"a\.zip has \d+ bytes, but 7 were expected: put the right file"):
        download_birds(Archive(f"{dead_url}/a.zip", "a.zip", size=7), folder=tmp_path)
    assert archive.read_bytes() == ARCHIVES["a.zip"]


def test_mirror_replaces_every_url(server: ArchiveServer, tmp_path: Path, dead_url: str) -> None:
    server.files = {"corpora/a%20b.zip": ARCHIVES["a.zip"], "corpora/labels.csv": b"1,0\n"}
    archives = [Archive(f"{dead_url}/v1/files/7", "a b.zip"), Archive(f"{dead_url}/8", "labels.csv")]
    download_birds(*archives, folder=tmp_path, mirror=f"{server.url}/corpora/")
    assert corpus_files(tmp_path) == {**FILES, "labels.csv": b"1,0\n"}


@pytest.mark.parametrize("mirror", ["", "localhost/corpora", "/data/corpora"])
def test_mirror_that_is_no_url_reports_a_clear_error(
    server: ArchiveServer, tmp_path: Path, mirror: str
) -> None:
    with pytest.raises(UserError, match="is not a mirror: give a base URL"):
        download_birds(server.add("a.csv", b""), folder=tmp_path, mirror=mirror)


def test_disk_that_is_too_small_is_refused_before_the_download(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4000))
    archive = server.add("a.csv", NOISE, size=5000)
    with pytest.raises(
        UserError, match=r"Birdsong needs 5.00kB for its archives, but .* has only 4.00kB free: free"
    ):
        download_birds(archive, folder=tmp_path)
    assert not server.gets
    (tmp_path / ".downloads" / "a.csv.part").write_bytes(NOISE[:1000])
    download_birds(archive, folder=tmp_path)
    assert corpus_files(tmp_path) == {"a.csv": NOISE}


def test_folder_that_cannot_be_written_reports_a_clear_error(server: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / "birds").write_text("a file in the way")
    with pytest.raises(UserError, match=r"the download into .*birds fails \(.*\): fix that"):
        download_birds(server.add("a.csv", b""), folder=tmp_path / "birds")


def test_one_command_downloads_from_a_mirror_and_prepares(
    server: ArchiveServer,
    words: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {path.relative_to(words).as_posix(): path.read_bytes() for path in words.rglob("*.*")}
    server.files["words.tar.gz"] = make_tar(files)
    archive = Archive("http://no.such.host/words.tar.gz", "words.tar.gz")
    monkeypatch.setitem(DATASETS, "speech_commands", replace(speech_commands.DATASET, archives=(archive,)))
    monkeypatch.chdir(tmp_path)
    command = ["prepare", "speech_commands", "data/words", "--download", "--mirror", server.url]
    assert main(command) == 0
    messages = capsys.readouterr().err
    assert "Speech Commands v0.02: 1 file" in messages
    assert "licence: CC BY 4.0" in messages
    assert "data/prepared/speech_commands: 30 recordings" in messages
    server.requests.clear()
    assert main(command) == 0
    assert not server.requests
