"""The reader of sound files in one folder per class."""

import errno
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.trees import touch

from audiostride.config.settings import PrepareSettings
from audiostride.corpora import Problem, folder
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare


def test_classes_are_folders_and_eight_of_ten_recordings_train(tmp_path: Path) -> None:
    home = touch(tmp_path / "pets", [f"{pet}/{n}.wav" for pet in ("dog", "cat") for n in range(50)])
    corpus = folder.read(home)
    assert corpus.tasks == {"pets": ["cat", "dog"]}
    assert Counter((r.split, r.labels["pets"]) for r in corpus.recordings) == {
        (split, pet): count
        for split, count in {"train": 40, "valid": 5, "test": 5}.items()
        for pet in ("cat", "dog")
    }
    assert (corpus.name, corpus.split, corpus.problems) == ("pets", "by file", ())


def test_only_sound_files_in_visible_folders_count(tmp_path: Path) -> None:
    touch(tmp_path, [f"{c}/{n}.wav" for c in "ab" for n in range(5)])
    touch(tmp_path, ["a/loud.FLAC", "b/soft.Mp3", "a/notes.txt", "a/._0.wav", ".git/x.wav", "_noise_/x.wav"])
    touch(tmp_path, ["stray.wav"])
    corpus = folder.read(tmp_path, task="letter")
    assert len(corpus.recordings) == 12
    assert corpus.tasks == {"letter": ["a", "b"]}
    assert corpus.problems == (Problem("stray.wav", "file outside the folders of the classes"),)


def test_folders_of_one_speaker_in_several_classes_are_one_group(tmp_path: Path) -> None:
    speakers = ("anna", "bert", "cleo", "dora", "emil", "finn")
    touch(tmp_path, [f"{c}/{who}/day 1/{n}.wav" for c in ("yes", "no") for who in speakers for n in "12"])
    splits_of: dict[str, set[str]] = {}
    for recording in folder.read(tmp_path).recordings:
        assert recording.group == recording.path.split("/")[1]
        splits_of.setdefault(recording.group, set()).add(recording.split)
    assert len(splits_of) == 6
    assert all(len(splits) == 1 for splits in splits_of.values())


def test_pattern_finds_the_group_in_the_path(tmp_path: Path) -> None:
    touch(tmp_path, [f"{c}/{who}_{n}.wav" for c in ("yes", "no") for who in "abcde" for n in range(3)])
    corpus = folder.read(tmp_path, group="/([^_/]+)_[^/]*$")
    assert {r.group for r in corpus.recordings} == set("abcde")
    assert len({(r.group, r.split) for r in corpus.recordings}) == 5


def test_folder_without_groups_notes_that_sources_may_be_on_both_sides(tmp_path: Path) -> None:
    touch(tmp_path, [f"{c}/{who}_{n}.wav" for c in ("yes", "no") for who in "abcde" for n in range(3)])
    (note,) = folder.read(tmp_path).notes
    assert note == (
        "no groups are given, so recordings of one speaker or of another common source may be in both "
        "training and test, which inflates the accuracy: sort them as CLASS/GROUP/FILE, or give --group"
    )
    assert folder.read(tmp_path, group="/([^_/]+)_[^/]*$").notes == ()


def test_stray_file_that_is_no_sound_does_not_forbid_a_pattern(tmp_path: Path) -> None:
    paths = [f"{c}/{who}_{n}.wav" for c in ("yes", "no") for who in "abcde" for n in "12"]
    for number, path in enumerate(paths):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / path, np.random.default_rng(number).standard_normal(400) / 9, 16000)
    touch(tmp_path, ["yes/empty.wav"])
    (tmp_path / "no" / "text.flac").write_text("no sound")
    corpus = folder.read(tmp_path, group="/([^_/]+)_[^/]*$")
    assert Counter(recording.group for recording in corpus.recordings) == dict.fromkeys("abcde", 4) | {"": 2}
    card = prepare(corpus, tmp_path.with_name("out"), PrepareSettings(bad=10)).card
    assert (card["left_out"], card["problems"]) == (2, {"cannot be read as sound": 2})
    soundfile.write(tmp_path / "yes" / "empty.wav", np.random.default_rng(99).standard_normal(400) / 9, 16000)
    with pytest.raises(UserError, match=r"finds no group in yes/empty\.wav: give one that fits every path"):
        folder.read(tmp_path, group="/([^_/]+)_[^/]*$")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"--group \( is not a regular expression \(missing \), unterminated subpattern"),
        ("x_", r"--group x_ has no brackets .*: write it as '\(x_\)'"),
        ("(x)_", r"--group \(x\)_ finds no group in a/0\.wav: give one that fits every path"),
        ("(x*)/", r"finds no group in a/0\.wav"),
        ("(x)?/", r"finds no group in a/0\.wav"),
    ],
)
def test_pattern_that_finds_no_group_reports_a_clear_error(
    tmp_path: Path, pattern: str, message: str
) -> None:
    touch(tmp_path, ["a/0.wav", "b/0.wav"])
    with pytest.raises(UserError, match=message):
        folder.read(tmp_path, group=pattern)


def test_splits_may_be_folders_above_the_classes(tmp_path: Path) -> None:
    touch(tmp_path, [f"{s}/{c}/{n}.wav" for s in ("Train", "validation", "eval") for c in "ab" for n in "12"])
    touch(tmp_path, ["Train/stray.wav", "Train/_noise_/hum.wav", "_noise_/hum.wav", "readme.wav"])
    corpus = folder.read(tmp_path, task="letter")
    assert corpus.split == "given"
    assert {r.path.split("/")[0]: r.split for r in corpus.recordings} == {
        "Train": "train",
        "validation": "valid",
        "eval": "test",
    }
    assert Counter(r.labels["letter"] for r in corpus.recordings) == {"a": 6, "b": 6}
    assert {p.path for p in corpus.problems} == {"Train/stray.wav", "readme.wav"}


def test_splits_beside_other_folders_report_a_clear_error(tmp_path: Path) -> None:
    touch(tmp_path, ["train/a/1.wav", "train/b/1.wav", "test/a/2.wav", "unlabelled/x/3.wav"])
    with pytest.raises(
        UserError,
        match=r"contains splits \(test, train\) beside other folders \(unlabelled\): move the others",
    ):
        folder.read(tmp_path)


def test_folder_named_train_may_be_a_class(tmp_path: Path) -> None:
    touch(tmp_path, [f"{c}/{n}.wav" for c in ("bus", "train", "tram") for n in range(3)])
    assert folder.read(tmp_path, task="ride").tasks == {"ride": ["bus", "train", "tram"]}


def test_given_splits_with_a_missing_class_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, ["train/a/anna/1.wav", "test/b/anna/2.wav", "train/b/bert/3.wav", "train/a/bert/4.wav"])
    assert folder.read(tmp_path, task="letter").notes == ("no test recordings of letter a",)


def test_one_class_or_none_reports_a_clear_error(tmp_path: Path) -> None:
    touch(tmp_path, ["dog/1.wav", "cat/readme.txt"])
    with pytest.raises(
        UserError, match=r"sound files of at least two classes, but contains only dog: give a fol"
    ):
        folder.read(tmp_path)
    (tmp_path / "dog/1.wav").unlink()
    with pytest.raises(
        UserError, match=r"at least two classes, but contains none: give a folder with one sub-"
    ):
        folder.read(tmp_path)
    with pytest.raises(UserError, match=r"there is no folder .*nowhere: give a folder with one sub-folder"):
        folder.read(tmp_path / "nowhere")


def test_too_few_groups_report_a_clear_error(tmp_path: Path) -> None:
    touch(tmp_path, [f"{c}/{who}/{n}.wav" for c in "ab" for who in ("x", "y") for n in range(9)])
    with pytest.raises(
        UserError, match=r"^too few groups of recordings \(2\) for .*: give a label of letter at"
    ):
        folder.read(tmp_path, task="letter")


def test_linked_folders_are_classes_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "far", [f"{n}.wav" for n in range(4)])
    touch(tmp_path / "home", [f"a/{n}.wav" for n in range(4)])
    (tmp_path / "home/b").symlink_to(tmp_path / "far", target_is_directory=True)
    (tmp_path / "far/loop").symlink_to(tmp_path / "home", target_is_directory=True)
    (tmp_path / "home/a/self").symlink_to(tmp_path / "home/a", target_is_directory=True)
    corpus = folder.read(tmp_path / "home")
    assert Counter(r.labels["home"] for r in corpus.recordings) == {"a": 4, "b": 4}


def test_names_in_any_script_and_undecodable_names_are_read(tmp_path: Path) -> None:
    names = ["Zaunkönig", "мышь", os.fsdecode(b"caf\xe9")]
    touch(tmp_path, [f"{name}/{name}{n}.wav" for name in names for n in range(3)])
    corpus = folder.read(tmp_path, task="animal")
    assert corpus.tasks == {"animal": ["Zaunkönig", "caf%E9", "мышь"]}
    assert all((tmp_path / r.path).is_file() for r in corpus.recordings)


def test_undecodable_name_of_the_folder_becomes_a_printable_task(tmp_path: Path) -> None:
    home = touch(tmp_path / os.fsdecode(b"caf\xe9"), [f"{c}/{n}.wav" for c in "ab" for n in range(3)])
    corpus = folder.read(home)
    assert (corpus.name, list(corpus.tasks)) == ("caf%E9", ["caf%E9"])


def test_unreadable_folder_reports_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, [f"{c}/{n}.wav" for c in ("cat", "cow", "dog") for n in range(3)])
    scandir = os.scandir

    def refuse_dog(path: str) -> Any:  # tests may run as root, who may read everything
        if Path(path).name == "dog":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_dog)
    with pytest.raises(
        UserError,
        match=r"the folder .*dog cannot be read \(Permission denied\): make it readable, or",
    ):
        folder.read(tmp_path)


def test_split_does_not_depend_on_the_parent_folder(tmp_path: Path) -> None:
    for place in ("here", "there"):
        touch(tmp_path / place / "pets", [f"{pet}/{n}.wav" for pet in ("dog", "cat") for n in range(20)])
    here, there = (folder.read(tmp_path / place / "pets").recordings for place in ("here", "there"))
    assert here == there
