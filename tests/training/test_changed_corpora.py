"""Runs are scored on the corpora that they were trained on, or a note says that they are not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.command_line import fails
from helpers.studies import STUDY, write_study
from helpers.tiny_run import tiny
from helpers.two_tasks import write_sounds

from audiostride.cli import main
from audiostride.corpora.base import Corpus
from audiostride.data.store import Store
from audiostride.prepare.prepare import prepare
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train

CHANGED = "has changed since {} was trained on it"


def with_other_splits(corpus: Corpus) -> Corpus:
    """Return a corpus in which half of the test recordings have changed places with training recordings."""
    recordings = list(corpus.recordings)
    test = [n for n, recording in enumerate(recordings) if recording.split == "test"][::2]
    training = [n for n, recording in enumerate(recordings) if recording.split == "train"]
    for one, other in zip(test, training, strict=False):
        recordings[one] = replace(recordings[one], split="train")
        recordings[other] = replace(recordings[other], split="test")
    return replace(corpus, recordings=recordings)


@pytest.fixture
def source(tmp_path: Path) -> Corpus:
    return write_sounds(tmp_path / "source")


@pytest.fixture
def corpus(source: Corpus, tmp_path: Path) -> Store:
    return prepare(source, tmp_path / "prepared")


@pytest.fixture
def run(corpus: Store, tmp_path: Path) -> Path:
    train(tiny(corpus, steps=2), tmp_path / "run")
    return tmp_path / "run"


def test_corpus_prepared_anew_with_other_splits_is_not_scored(
    source: Corpus, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row, _) = evaluate(run)
    prepare(with_other_splits(source), tmp_path / "prepared")
    capsys.readouterr()
    message = fails(capsys, 1, "test", str(run))
    assert f"the corpus {tmp_path / 'prepared'} {CHANGED.format(run)}" in message
    remedy = f"prepare it as before, or test another one by audiostride test {run} --corpus"
    assert message.endswith(remedy)
    page = tmp_path / "report.html"
    assert main(["report", str(run), "--out", str(page)]) == 0
    assert CHANGED.format(run) in capsys.readouterr().err
    assert "cannot be tested: the corpus" in page.read_text()
    assert "Confusion" not in page.read_text()
    prepare(source, tmp_path / "prepared")
    assert evaluate(run)[0] == row


def test_corpus_prepared_anew_with_the_same_recordings_is_scored(
    source: Corpus, run: Path, tmp_path: Path
) -> None:
    rows = evaluate(run)
    shutil.rmtree(tmp_path / "prepared")
    prepare(replace(source, notes=("a note",)), tmp_path / "prepared")
    assert evaluate(run) == rows


def test_other_groups_count_as_another_corpus_if_some_are_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_sounds(tmp_path / "source", valid=False)
    train(tiny(prepare(source, tmp_path / "prepared"), steps=2), tmp_path / "run")
    others = [replace(recording, group="") for recording in source.recordings]
    prepare(replace(source, recordings=others), tmp_path / "prepared")
    capsys.readouterr()
    assert CHANGED.format(tmp_path / "run") in fails(capsys, 1, "test", str(tmp_path / "run"))


def test_another_corpus_gets_a_note_with_its_number_of_trained_recordings(
    source: Corpus, run: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = with_other_splits(source)
    prepare(other, tmp_path / "other")
    moved = sum(
        a.split == "train" and b.split == "test"
        for a, b in zip(source.recordings, other.recordings, strict=True)
    )
    capsys.readouterr()
    assert main(["test", str(run), "--corpus", str(tmp_path / "other"), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    note = f"{run} was not trained on {tmp_path / 'other'}, but {moved} of the 10 tested recordings have"
    assert moved > 0
    assert f"note: {note}" in err
    assert all(row["note"].startswith(note) for row in json.loads(out))


def test_corpus_of_the_run_itself_gets_no_note(run: Path, corpus: Store, tmp_path: Path) -> None:
    moved = shutil.move(corpus.folder, tmp_path / "moved")
    assert all("note" not in row for row in evaluate(run, corpus=str(moved)))


def test_checkpoint_of_an_earlier_version_is_scored_as_before(run: Path) -> None:
    rows = evaluate(run)
    file = run / "checkpoints" / "best.ckpt"
    content = torch.load(file, weights_only=True)
    content["WindowsModule"] = {"corpora": content["WindowsModule"]["corpora"]}
    torch.save(content, file)
    assert evaluate(run) == rows


def test_study_leaves_out_runs_whose_corpus_has_changed(
    source: Corpus,
    corpus: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_study(tmp_path / "home", corpus)
    monkeypatch.chdir(tmp_path / "home")
    Path("s.yaml").write_text(STUDY.replace("strided, ", ""))
    summary = ["study", "s.yaml", "--summary", "--format", "json"]
    assert main(["study", "s.yaml"]) == 0
    assert main(summary) == 0
    first = capsys.readouterr().out
    kept = Path("runs/s/diffstride-0/test.json")
    whole = kept.read_bytes()
    prepare(with_other_splits(source), tmp_path / "prepared")
    capsys.readouterr()
    for content in (whole, b"[]", b""):
        kept.write_bytes(content)
        assert main(summary) == 1
        out, err = capsys.readouterr()
        assert out == ""
        for name in ("diffstride-0", "diffstride-1"):
            assert CHANGED.format(f"runs/s/{name}") in err
    prepare(source, tmp_path / "prepared")
    capsys.readouterr()
    assert main(summary) == 0
    assert capsys.readouterr().out == first
