"""The reader of Speech Commands."""

import os
from collections import Counter
from pathlib import Path

import pytest
from helpers.trees import touch, write

from audiostride.corpora import DATASETS, Problem, speech_commands


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """Speech Commands of two words and three speakers."""
    folder = tmp_path / "speech"
    touch(folder, [f"{word}/{who}_nohash_0.wav" for word in ("yes", "no") for who in ("aa", "bb", "cc")])
    touch(folder, ["_background_noise_/hum.wav", "LICENSE"])
    write(folder / "validation_list.txt", "yes/bb_nohash_0.wav\nno/bb_nohash_0.wav\n")
    write(folder / "testing_list.txt", "yes/cc_nohash_0.wav\nno/cc_nohash_0.wav\n")
    return folder


def test_words_are_folders_and_the_lists_are_the_official_split(spoken: Path) -> None:
    corpus = speech_commands.read(spoken)
    assert corpus.tasks == {"speech_commands": ["no", "yes"]}
    assert [(r.path, r.split, r.labels["speech_commands"], r.group) for r in corpus.recordings] == [
        ("no/aa_nohash_0.wav", "train", "no", "aa"),
        ("no/bb_nohash_0.wav", "valid", "no", "bb"),
        ("no/cc_nohash_0.wav", "test", "no", "cc"),
        ("yes/aa_nohash_0.wav", "train", "yes", "aa"),
        ("yes/bb_nohash_0.wav", "valid", "yes", "bb"),
        ("yes/cc_nohash_0.wav", "test", "yes", "cc"),
    ]
    assert (corpus.split, corpus.notes, corpus.problems) == ("official", (), ())


def test_hidden_and_empty_folders_are_not_words(spoken: Path) -> None:
    touch(spoken, [".cache/a.wav", "yes/._aa_nohash_0.wav", "__MACOSX/a.wav"])
    (spoken / "up").mkdir()
    corpus = speech_commands.read(spoken)
    assert corpus.tasks["speech_commands"] == ["no", "yes"]
    assert len(corpus.recordings) == 6


def test_lists_may_have_a_byte_order_mark_windows_line_ends_and_dots(spoken: Path) -> None:
    write(spoken / "testing_list.txt", "\ufeff./yes/cc_nohash_0.wav\r\n\r\n./no/cc_nohash_0.wav\r\n")
    assert Counter(r.split for r in speech_commands.read(spoken).recordings) == {
        "train": 2,
        "valid": 2,
        "test": 2,
    }


def test_listed_words_without_a_file_are_problems(spoken: Path) -> None:
    (spoken / "no/cc_nohash_0.wav").unlink()
    corpus = speech_commands.read(spoken)
    assert corpus.problems == (Problem("no/cc_nohash_0.wav", "row without its file", "testing_list.txt"),)
    assert len(corpus.recordings) == 5


def test_word_in_both_lists_is_a_problem(spoken: Path) -> None:
    write(spoken / "validation_list.txt", "yes/bb_nohash_0.wav\nyes/cc_nohash_0.wav\n")
    corpus = speech_commands.read(spoken)
    assert corpus.problems == (Problem("yes/cc_nohash_0.wav", "file in both lists", "counts as test"),)
    assert {r.path: r.split for r in corpus.recordings}["yes/cc_nohash_0.wav"] == "test"
    assert not speech_commands.read(spoken, "paper").problems


def test_unknown_word_is_used_and_listed(spoken: Path) -> None:
    touch(spoken, ["oui/aa_nohash_0.WAV"])
    corpus = speech_commands.read(spoken)
    assert corpus.tasks["speech_commands"] == ["no", "oui", "yes"]
    assert corpus.notes == ("words that are not in Speech Commands: oui",)
    assert corpus.problems == (Problem("oui/aa_nohash_0.WAV", "label outside the known set", "oui"),)


def test_corpus_of_only_unknown_words_has_no_problems(spoken: Path) -> None:
    (spoken / "yes").rename(spoken / "oui")
    (spoken / "no").rename(spoken / "non")
    write(spoken / "testing_list.txt", "oui/cc_nohash_0.wav\n")
    write(spoken / "validation_list.txt", "oui/bb_nohash_0.wav\n")
    corpus = speech_commands.read(spoken)
    assert corpus.tasks["speech_commands"] == ["non", "oui"]
    assert not corpus.problems


def test_words_with_undecodable_names_are_read(spoken: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    touch(spoken, [f"yes/{name}_nohash_0.wav"])
    for split in ("official", "paper"):
        corpus = DATASETS["speech_commands"].read(spoken, split=split)
        assert name in {r.group for r in corpus.recordings}
