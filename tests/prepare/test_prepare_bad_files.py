"""Files that cannot be used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.noise_corpus import ALLOW_BAD, read_csv, write_noise_corpus

from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import Corpus
from audiostride.data.store import open_store
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare


def test_more_bad_files_than_allowed_report_a_clear_error(tmp_path: Path, out: Path) -> None:
    corpus = write_noise_corpus(tmp_path / "source", 100)
    (corpus.folder / "010.wav").write_bytes(b"")
    assert prepare(corpus, out).card["left_out"] == 1
    soundfile.write(corpus.folder / "020.wav", np.zeros(99), 16000)
    problems = out.parent / "out.problems.csv"
    with pytest.raises(UserError) as caught:
        prepare(corpus, out)
    assert str(caught.value) == (
        "2 of 100 files cannot be used (2 %, allowed: 1 %); the first is 010.wav, which cannot be read as "
        f"sound: repair them or allow more with --bad ({problems} lists all; the files packed so far are "
        "kept)"
    )
    assert read_csv(problems)[1:] == [
        ["010.wav", "cannot be read as sound", ""],
        ["020.wav", "is silent", ""],
    ]
    # The old corpus stays, and the list is removed when a later call succeeds.
    assert len(open_store(out).names) == 99
    assert len(prepare(corpus, out, PrepareSettings(bad=2)).names) == 98
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_missing_files_count_as_bad_files(corpus: Corpus, out: Path) -> None:
    (corpus.folder / "003.wav").unlink()
    (corpus.folder / "004.wav").unlink()
    (corpus.folder / "004.wav").mkdir()
    assert prepare(corpus, out, ALLOW_BAD).card["problems"] == {"is missing or not a file": 2}


def test_corpus_without_a_good_file_reports_a_clear_error(corpus: Corpus, out: Path) -> None:
    with pytest.raises(UserError, match="has no recordings: there is nothing to prepare"):
        prepare(replace(corpus, recordings=[]), out)
    for recording in corpus.recordings:
        (corpus.folder / recording.path).write_bytes(b"")
    with pytest.raises(UserError, match=r"12 of 12 files cannot be used \(100 %.*: repair them \("):
        prepare(corpus, out, PrepareSettings(bad=100))
    assert not out.exists()
