"""What a later call of prepare reads again: nothing, changed files, or what an interruption left out."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from helpers.noise_corpus import ALLOW_BAD, contents, interrupt, noise

from audiostride.audio_file import Sound, read_sound
from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import Corpus
from audiostride.errors import UserError
from audiostride.prepare import reader_pool, staging
from audiostride.prepare.prepare import prepare


def test_preparing_again_does_nothing_until_something_changes(
    corpus: Corpus, out: Path, names_read: list[str]
) -> None:
    prepare(corpus, out)
    assert len(names_read) == 12
    written = (out / "card.json").stat().st_mtime_ns
    prepare(corpus, out)
    assert len(names_read) == 12
    assert (out / "card.json").stat().st_mtime_ns == written
    soundfile.write(corpus.folder / "004.wav", noise(8000, 99), 16000)
    store = prepare(corpus, out)
    assert store.starts[5] - store.starts[4] == 8000
    swapped = replace(corpus, recordings=[replace(r, split="test") for r in corpus.recordings])
    assert (prepare(swapped, out).splits == 2).all()


def refusing(*names: str) -> Callable[..., Sound]:
    def read(path: Path, *rest: Any) -> Sound:
        # Reading fails as for a file without read permission.
        return read_sound(path if path.name not in names else path / "x", *rest)

    return read


def test_changed_permissions_of_a_file_count_as_a_change(
    corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the size nor the time of the file changes."""
    allowed = os.access
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: path.name != "003.wav" and allowed(path, mode))
        patch.setattr(reader_pool, "read_sound", refusing("003.wav"))
        assert prepare(corpus, out, ALLOW_BAD).card["left_out"] == 1
    assert prepare(corpus, out, ALLOW_BAD).card["left_out"] == 0


@pytest.mark.parametrize("after", [0, 3, 4, 9, 11])
def test_interrupted_preparation_resumes_where_it_stopped(
    after: int, corpus: Corpus, out: Path, tmp_path: Path, names_read: list[str]
) -> None:
    expected = contents(prepare(corpus, tmp_path / "expected").folder)
    interrupt(corpus, out, after)
    assert not out.exists()
    names_read.clear()
    prepare(corpus, out)
    assert names_read == [r.path for r in corpus.recordings[4 * (after // 4) :]]
    assert contents(out) == expected
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_interruption_soon_after_another_loses_nothing(
    corpus: Corpus, out: Path, names_read: list[str]
) -> None:
    interrupt(corpus, out, 8)
    interrupt(corpus, out, 0)
    names_read.clear()
    prepare(corpus, out)
    assert names_read == ["008.wav", "009.wav", "010.wav", "011.wav"]


def test_only_files_that_changed_since_the_interruption_are_read_again(
    corpus: Corpus, out: Path, tmp_path: Path, names_read: list[str]
) -> None:
    interrupt(corpus, out, 8)
    soundfile.write(corpus.folder / "002.wav", noise(500, 99), 16000)
    (corpus.folder / "005.wav").unlink()
    corpus = replace(corpus, recordings=[r for r in corpus.recordings if r.path != "005.wav"])
    names_read.clear()
    prepare(corpus, out)
    assert names_read == ["002.wav", "008.wav", "009.wav", "010.wav", "011.wav"]
    assert contents(out) == contents(prepare(corpus, tmp_path / "expected").folder)


def test_other_settings_start_from_nothing(corpus: Corpus, out: Path, names_read: list[str]) -> None:
    interrupt(corpus, out, 8)
    names_read.clear()
    assert prepare(corpus, out, PrepareSettings(bad=50, longest=205.5 / 16000)).card["left_out"] == 6
    assert len(names_read) == 12


@pytest.mark.parametrize("damage", [b"\0" * 20, b"null\n", b'[["004.wav", 1, 2], 3\n', b"[[", b"\xff\n"])
def test_incomplete_ends_of_journal_and_samples_are_truncated(
    damage: bytes, corpus: Corpus, out: Path, tmp_path: Path, names_read: list[str]
) -> None:
    expected = contents(prepare(corpus, tmp_path / "expected").folder)
    interrupt(corpus, out, 4)
    for name, rest in (("journal.jsonl", damage), ("waveforms.i16", b"odd")):
        with (staging.staging_folder(out) / name).open("ab") as file:
            file.write(rest)
    interrupt(corpus, out, 4)
    names_read.clear()
    prepare(corpus, out)
    assert names_read == ["008.wav", "009.wav", "010.wav", "011.wav"]
    assert contents(out) == expected


def test_samples_lost_in_a_power_failure_are_read_again(
    corpus: Corpus, out: Path, tmp_path: Path, names_read: list[str]
) -> None:
    expected = contents(prepare(corpus, tmp_path / "expected").folder)
    interrupt(corpus, out, 8)
    os.truncate(staging.staging_folder(out) / "waveforms.i16", 2 * 700)
    names_read.clear()
    prepare(corpus, out)
    assert names_read == [r.path for r in corpus.recordings[3:]]
    assert contents(out) == expected


def test_only_bad_files_are_read_again_after_a_repair(
    corpus: Corpus, out: Path, tmp_path: Path, names_read: list[str]
) -> None:
    whole = (corpus.folder / "001.wav").read_bytes()
    for name in ("001.wav", "008.wav"):
        (corpus.folder / name).write_bytes(b"")
    with pytest.raises(UserError, match="2 of 12 files"):
        prepare(corpus, out)
    (corpus.folder / "001.wav").write_bytes(whole)
    names_read.clear()
    assert prepare(corpus, out, ALLOW_BAD).card["left_out"] == 1
    assert names_read == ["001.wav", "008.wav"]
    assert contents(out) == contents(prepare(corpus, tmp_path / "expected", ALLOW_BAD).folder)


def test_file_that_failed_once_is_read_again(
    corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was unreachable does not change the size and time of a file."""
    with monkeypatch.context() as patch:
        patch.setattr(reader_pool, "read_sound", refusing("003.wav", "004.wav"))
        with pytest.raises(UserError, match="2 of 12 files"):
            prepare(corpus, out)
    assert prepare(corpus, out).card["left_out"] == 0
