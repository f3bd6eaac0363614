"""Notes on recordings of one group, or with the same samples, in several splits."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.noise_corpus import noise

from audiostride.config.settings import PrepareSettings
from audiostride.corpora import DATASETS, Recording, csv_file, folder, speech_commands
from audiostride.corpora.base import Corpus
from audiostride.prepare.leakage import leakage_notes
from audiostride.prepare.prepare import prepare


def recording(name: str, split: str, group: str = "") -> Recording:
    return Recording(name, split, {"task": "a"}, group)


def test_groups_and_samples_of_earlier_splits_are_counted() -> None:
    recordings = [
        recording("a", "train", "anna"),
        recording("b", "train"),
        recording("c", "valid", "anna"),
        recording("d", "valid", "bert"),
        recording("e", "test", "bert"),
        recording("f", "test", "anna"),
        recording("g", "test", "cleo"),
        recording("h", "test"),
    ]
    assert leakage_notes(recordings, [*"12345672"]) == [
        "1 of 2 valid recordings share their group (speaker, instrument, place) with train recordings, which "
        "inflates the valid accuracy: for example c and a",
        "1 of 4 test recordings share their group (speaker, instrument, place) with train recordings, which "
        "inflates the test accuracy: for example f and a",
        "1 of 4 test recordings have exactly the same samples as train or valid recordings, which inflates "
        "the test accuracy: for example h and b",
    ]


def test_clean_split_has_no_notes(corpus: Corpus, out: Path) -> None:
    recordings = [recording(name, name[:-1], name) for name in ("train1", "valid1", "test1", "test2")]
    assert leakage_notes(recordings, ["1", "2", "3", "3"]) == []


def test_divided_group_of_a_folder_is_noted_on_the_card(tmp_path: Path, out: Path) -> None:
    paths = ["train/a/anna/1.wav", "test/b/anna/2.wav", "train/b/bert/3.wav", "train/a/bert/4.wav"]
    for seed, path in enumerate(paths):
        (tmp_path / "in" / path).parent.mkdir(parents=True)
        soundfile.write(tmp_path / "in" / path, noise(500, seed), 16000)
    card = prepare(folder.read(tmp_path / "in", task="letter"), out).card
    assert card["notes"][1:] == [
        "1 of 1 test recordings share their group (speaker, instrument, place) with train recordings, which "
        "inflates the test accuracy: for example test/b/anna/2.wav and train/a/anna/1.wav"
    ]


def test_copy_in_the_test_split_of_a_csv_file_is_noted_whatever_its_format(tmp_path: Path, out: Path) -> None:
    sound = (noise(500, 0) * 32768).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", sound, 16000)
    soundfile.write(tmp_path / "b.flac", sound, 16000)
    soundfile.write(tmp_path / "c.wav", noise(500, 1), 16000)
    (tmp_path / "x.csv").write_text("path,pet,split\na.wav,dog,train\nb.flac,dog,test\nc.wav,cat,test\n")
    notes = prepare(csv_file.read(tmp_path / "x.csv"), out).card["notes"]
    assert notes[-1].startswith(
        "1 of 2 test recordings have exactly the same samples as train or valid recor"
    )
    assert notes[-1].endswith("for example b.flac and a.wav")


def test_paper_split_of_speech_commands_notes_its_speakers(words: Path, out: Path) -> None:
    """Each speaker of this corpus says all words, so some are in two splits."""
    assert not prepare(speech_commands.read(words), out).card["notes"]
    shutil.rmtree(out)
    notes = prepare(speech_commands.read(words, "paper"), out).card["notes"]
    assert [note.split(" (")[0].split(" of ")[1] for note in notes] == [
        "3 valid recordings share their group",
        "3 test recordings share their group",
    ]


@pytest.mark.parametrize(
    ("name", "split", "concerned"),
    [
        ("speech_commands", "official", []),
        ("speech_commands", "paper", ["303 of 303 valid recordings", "312 of 313 test recordings"]),
        ("nsynth", "official", ["33 of 129 test recordings"]),
        ("nsynth", "paper", ["33 of 129 valid recordings"]),
        ("birdsong", "paper", []),
        ("acoustic_scenes", "official", []),
        ("acoustic_scenes", "paper", ["9 of 9 test recordings"]),
    ],
)
def test_recorded_corpora_note_the_right_numbers(
    name: str, split: str, concerned: list[str], recorded: Path, out: Path
) -> None:
    corpus = DATASETS[name].read(recorded / name, split=split)
    notes = prepare(corpus, out, PrepareSettings(workers=1)).card["notes"]
    assert [note.split(" share")[0] for note in notes if "share" in note] == concerned
    assert not [note for note in notes if "same samples" in note]
