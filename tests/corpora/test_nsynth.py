"""The reader of NSynth."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import touch, write

from audiostride.corpora import (
    nsynth,
)
from audiostride.errors import UserError


def note(family: Any, pitch: Any, instrument: str) -> dict[str, Any]:
    return {"note": 1, "instrument_family": family, "pitch": pitch, "instrument_str": instrument}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """NSynth of one note per folder."""
    examples = {
        "train": {"bass_acoustic_000-024-075": note(0, 24, "bass_acoustic_000")},
        "valid": {"organ_electronic_001-060-100": note(6, 60, "organ_electronic_001")},
        "test": {"vocal_synthetic_002-108-127": note(10, 108, "vocal_synthetic_002")},
    }
    for part, some in examples.items():
        touch(tmp_path / "nsynth", [f"nsynth-{part}/audio/{name}.wav" for name in some])
        write(tmp_path / f"nsynth/nsynth-{part}/examples.json", json.dumps(some))
    return tmp_path / "nsynth"


def test_note_has_a_family_and_a_pitch(notes: Path) -> None:
    corpus = nsynth.read(notes)
    assert [(r.path.split("/")[0], r.split, r.labels, r.group) for r in corpus.recordings] == [
        ("nsynth-train", "train", {"nsynth_instrument": "bass", "nsynth_pitch": "24"}, "bass_acoustic_000"),
        (
            "nsynth-valid",
            "valid",
            {"nsynth_instrument": "organ", "nsynth_pitch": "60"},
            "organ_electronic_001",
        ),
        ("nsynth-test", "test", {"nsynth_instrument": "vocal", "nsynth_pitch": "108"}, "vocal_synthetic_002"),
    ]
    assert {task: len(labels) for task, labels in corpus.tasks.items()} == {
        "nsynth_instrument": 11,
        "nsynth_pitch": 128,
    }
    assert corpus.problems == ()


def test_paper_tests_on_the_validation_notes(notes: Path) -> None:
    corpus = nsynth.read(notes, "paper")
    assert {r.path.split("/")[0]: r.split for r in corpus.recordings} == {
        "nsynth-train": "train",
        "nsynth-test": "valid",
        "nsynth-valid": "test",
    }


def test_faulty_notes_are_listed_and_keep_the_known_label(notes: Path) -> None:
    some = {
        "a": note(11, 60, "x"),
        "b": note(3, 128, "x"),
        "c": note("guitar", None, "x"),
        "d": note(3, 0, "x"),
    }
    write(notes / "nsynth-test/examples.json", json.dumps(some))
    touch(notes / "nsynth-test/audio", ["a.wav", "b.wav", "c.wav", "extra.wav", "._d.wav"])
    (notes / "nsynth-test/audio/vocal_synthetic_002-108-127.wav").unlink()
    corpus = nsynth.read(notes)
    assert {r.path: r.labels for r in corpus.recordings if r.split == "test"} == {
        "nsynth-test/audio/a.wav": {"nsynth_pitch": "60"},
        "nsynth-test/audio/b.wav": {"nsynth_instrument": "guitar"},
    }
    assert [(p.path.split("/")[-1], p.reason, p.detail) for p in corpus.problems] == [
        ("a.wav", "label outside the known set", "instrument_family 11"),
        ("b.wav", "label outside the known set", "pitch 128"),
        ("c.wav", "label outside the known set", "instrument_family guitar"),
        ("c.wav", "label outside the known set", "pitch None"),
        ("d.wav", "row without its file", "examples.json"),
        ("extra.wav", "file without its row", ""),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {', "examples.json is damaged .*: unpack nsynth-valid.jsonwav.tar.gz again"),
        ('{"a": 1}', "examples.json does not contain notes of NSynth: unpack"),
        (
            r'{"\ud800": {"instrument_family": 0}}',
            "examples.json is damaged .surrogates not allowed.: unpack",
        ),
        (
            r'{"a": {"instrument_family": 0, "instrument_str": "\udfff"}}',
            "examples.json is damaged .surrogates not allowed.: unpack",
        ),
        ('{"a":' * 100_000, "examples.json is damaged .*: unpack"),
        ("[]", "examples.json does not contain notes of NSynth: unpack"),
    ],
)
def test_damaged_examples_report_a_clear_error(notes: Path, text: str, message: str) -> None:
    write(notes / "nsynth-valid/examples.json", text)
    with pytest.raises(UserError, match=message):
        nsynth.read(notes)


def test_notes_without_audio_report_a_clear_error(notes: Path) -> None:
    for file in notes.rglob("*.wav"):
        file.unlink()
    with pytest.raises(
        UserError,
        match=r"is not NSynth, because no note .* has a label and a file in audio .*: unpack the complete",
    ):
        nsynth.read(notes)


def test_missing_part_of_nsynth_is_named_with_its_archive(notes: Path) -> None:
    (notes / "nsynth-test/examples.json").unlink()
    with pytest.raises(
        UserError,
        match=r"nsynth is not NSynth, because nsynth-test/examples\.json is missing \(it contains "
        r"nsynth-test, nsynth-train, nsynth-valid\): unpack nsynth-test\.jsonwav\.tar\.gz there",
    ):
        nsynth.read(notes)
