"""Readers of one's own sound files: sorted into folders, or listed in a CSV file."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from audiostride.corpora import Problem, folder
from audiostride.corpora import csv_file as table
from audiostride.errors import UserError


def touch(top: Path, paths: Iterable[str]) -> Path:
    for path in paths:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).touch()
    return top


def listed(file: Path, text: str, touched: Iterable[str] = ()) -> Path:
    touch(file.parent, touched)
    file.write_bytes(text.encode())
    return file


# Folders


def test_classes_are_folders_and_eight_of_ten_recordings_train(tmp_path: Path) -> None:
    home = touch(tmp_path / "pets", [f"{pet}/{n}.wav" for pet in ("dog", "cat") for n in range(50)])
    corpus = folder.read(home)
    assert corpus.tasks == {"pets": ["cat", "dog"]}
    assert Counter((r.split, r.labels["pets"]) for r in corpus.recordings) == {
        (split, pet): count
        for split, count in {"train": 40, "valid": 5, "test": 5}.items()
        for pet in ("cat", "dog")
    }
    assert (corpus.name, corpus.split, corpus.notes, corpus.problems) == ("pets", "by group", (), ())


def test_only_sound_in_shown_folders_counts(tmp_path: Path) -> None:
    touch(tmp_path, [f"{c}/{n}.wav" for c in "ab" for n in range(5)])
    touch(tmp_path, ["a/loud.FLAC", "b/soft.Mp3", "a/notes.txt", "a/._0.wav", ".git/x.wav", "_noise_/x.wav"])
    touch(tmp_path, ["stray.wav"])
    corpus = folder.read(tmp_path, task="letter")
    assert len(corpus.recordings) == 12
    assert corpus.tasks == {"letter": ["a", "b"]}
    assert corpus.problems == (Problem("stray.wav", "file outside the folders of the classes"),)


def test_a_speaker_who_is_a_folder_below_several_classes_is_one_group(tmp_path: Path) -> None:
    speakers = ("anna", "bert", "cleo", "dora", "emil", "finn")
    touch(tmp_path, [f"{c}/{who}/day 1/{n}.wav" for c in ("yes", "no") for who in speakers for n in "12"])
    sides: dict[str, set[str]] = {}
    for recording in folder.read(tmp_path).recordings:
        assert recording.group == recording.path.split("/")[1]
        sides.setdefault(recording.group, set()).add(recording.split)
    assert len(sides) == 6
    assert all(len(splits) == 1 for splits in sides.values())


def test_a_pattern_finds_the_group_in_the_path(tmp_path: Path) -> None:
    touch(tmp_path, [f"{c}/{who}_{n}.wav" for c in ("yes", "no") for who in "abcde" for n in range(3)])
    corpus = folder.read(tmp_path, group="/([^_/]+)_[^/]*$")
    assert {r.group for r in corpus.recordings} == set("abcde")
    assert len({(r.group, r.split) for r in corpus.recordings}) == 5


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"--group \( is no regular expression \(missing \), unterminated subpattern"),
        ("x_", r"--group x_ has no bracket .*: write it as '\(x_\)'"),
        ("(x)_", r"--group \(x\)_ finds no group in a/0\.wav: give one that fits every path"),
        ("(x*)/", r"finds no group in a/0\.wav"),
        ("(x)?/", r"finds no group in a/0\.wav"),
    ],
)
def test_patterns_that_find_no_group_are_told(tmp_path: Path, pattern: str, message: str) -> None:
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


def test_splits_beside_other_folders_are_not_taken_for_classes(tmp_path: Path) -> None:
    touch(tmp_path, ["train/a/1.wav", "train/b/1.wav", "test/a/2.wav", "unlabelled/x/3.wav"])
    with pytest.raises(
        UserError, match=r"holds splits \(test, train\) beside other folders \(unlabelled\): move the others"
    ):
        folder.read(tmp_path)


def test_a_train_may_be_a_class(tmp_path: Path) -> None:
    touch(tmp_path, [f"{c}/{n}.wav" for c in ("bus", "train", "tram") for n in range(3)])
    assert folder.read(tmp_path, task="ride").tasks == {"ride": ["bus", "train", "tram"]}


def test_given_splits_that_tear_a_group_or_lack_a_class_are_noted(tmp_path: Path) -> None:
    touch(tmp_path, ["train/a/anna/1.wav", "test/b/anna/2.wav", "train/b/bert/3.wav", "train/a/bert/4.wav"])
    assert folder.read(tmp_path, task="letter").notes == (
        "groups on two sides of the split, which flatters the accuracy: 1",
        "no test recordings of letter a",
    )


def test_one_class_or_none_is_told(tmp_path: Path) -> None:
    touch(tmp_path, ["dog/1.wav", "cat/readme.txt"])
    with pytest.raises(
        UserError, match=r"sound files of at least two classes, but holds only dog: give a fol"
    ):
        folder.read(tmp_path)
    (tmp_path / "dog/1.wav").unlink()
    with pytest.raises(UserError, match=r"at least two classes, but holds none: give a folder with one sub-"):
        folder.read(tmp_path)
    with pytest.raises(UserError, match=r"there is no folder .*nowhere: give a folder with one sub-folder"):
        folder.read(tmp_path / "nowhere")


def test_too_few_groups_to_split_are_told(tmp_path: Path) -> None:
    touch(tmp_path, [f"{c}/{who}/{n}.wav" for c in "ab" for who in ("x", "y") for n in range(9)])
    with pytest.raises(
        UserError, match=r"^too few groups of recordings \(2\) to .*: give a label of letter at"
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


def test_names_of_any_script_and_of_none_are_read(tmp_path: Path) -> None:
    names = ["Zaunkönig", "мышь", os.fsdecode(b"caf\xe9")]
    touch(tmp_path, [f"{name}/{name}{n}.wav" for name in names for n in range(3)])
    corpus = folder.read(tmp_path, task="animal")
    assert corpus.tasks == {"animal": sorted(names)}
    assert all((tmp_path / r.path).is_file() for r in corpus.recordings)


def test_the_split_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    for place in ("here", "there"):
        touch(tmp_path / place / "pets", [f"{pet}/{n}.wav" for pet in ("dog", "cat") for n in range(20)])
    here, there = (folder.read(tmp_path / place / "pets").recordings for place in ("here", "there"))
    assert here == there


# CSV


def test_rows_give_labels_splits_and_groups(tmp_path: Path) -> None:
    file = listed(
        tmp_path / "tunes.csv",
        "path,instrument,pitch,split,group\n"
        "a.wav,flute,60,train,anna\nb.wav,oboe,7,Validation,bert\nsub/c.flac,oboe,100,TEST,\n",
        ["a.wav", "b.wav", "sub/c.flac"],
    )
    corpus = table.read(file)
    assert [(r.path, r.split, r.labels, r.group) for r in corpus.recordings] == [
        ("a.wav", "train", {"instrument": "flute", "pitch": "60"}, "anna"),
        ("b.wav", "valid", {"instrument": "oboe", "pitch": "7"}, "bert"),
        ("sub/c.flac", "test", {"instrument": "oboe", "pitch": "100"}, ""),
    ]
    assert corpus.tasks == {"instrument": ["flute", "oboe"], "pitch": ["7", "60", "100"]}
    assert (corpus.name, corpus.folder, corpus.split, corpus.problems) == ("tunes", tmp_path, "given", ())


def test_a_column_named_label_lends_the_task_the_name_of_the_file(tmp_path: Path) -> None:
    text = "path,Label\n" + "".join(f"{n}.wav,{n % 2}\n" for n in range(20))
    corpus = table.read(listed(tmp_path / "pets.csv", text, [f"{n}.wav" for n in range(20)]))
    assert corpus.tasks == {"pets": ["0", "1"]}


def test_without_a_split_no_group_is_on_two_sides(tmp_path: Path) -> None:
    text = "path,pet,owner\n" + "".join(f"{n}.wav,{n % 2},{n % 11}\n" for n in range(88))
    file = listed(tmp_path / "pets.csv", text, [f"{n}.wav" for n in range(88)])
    corpus = table.read(file, labels=["pet"], group="owner")
    assert corpus.split == "by group"
    assert Counter(r.split for r in corpus.recordings) == {"train": 72, "valid": 8, "test": 8}
    assert len({(r.group, r.split) for r in corpus.recordings}) == 11
    assert not corpus.notes


PETS = [
    ["a.wav", "dog", "train"],
    ["b.wav", "cat", "train"],
    ["c, d.wav", "dog", "test"],
    ["é.wav", "cat", "test"],
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tables_are_read_as_spreadsheets_save_them(
    tmp_path: Path, delimiter: str, end: str, mark: str
) -> None:
    lines = [["path", "label, if known", "split"], *PETS]
    text = mark + "".join(delimiter.join(f'"{field}"' for field in line) + end for line in lines)
    corpus = table.read(listed(tmp_path / "pets.csv", text, [pet[0] for pet in PETS]))
    assert [[r.path, r.labels["label, if known"], r.split] for r in corpus.recordings] == PETS
    assert not corpus.problems


def test_empty_rows_and_nameless_columns_are_passed_over(tmp_path: Path) -> None:
    """As pandas and spreadsheets write: a column of row numbers, commas at the end, empty rows."""
    text = ",path,pet,split,\n0,a.wav,dog,train,\n\n1,b.wav,cat,test,\n,,,,\n"
    corpus = table.read(listed(tmp_path / "pets.csv", text, ["a.wav", "b.wav"]))
    assert corpus.tasks == {"pet": ["cat", "dog"]}
    assert not corpus.problems


def test_bad_rows_and_files_without_one_are_listed_by_line(tmp_path: Path) -> None:
    text = (
        "path,pet,split\n"
        "a.wav,dog,train\n"
        "\n"
        "a.wav,cat,test\n"
        "b.wav,cat,test\n"
        "c.wav,,train\n"
        ",dog,train\n"
        '"two\nlines.wav",dog,train\n'
        "./b.wav,cat,test\n"
    )
    file = listed(tmp_path / "pets.csv", text, ["a.wav", "b.wav", "c.wav", "d.wav", ".e.wav", "other/f.wav"])
    corpus = table.read(file)
    assert [r.path for r in corpus.recordings] == ["a.wav", "b.wav"]
    assert corpus.problems == (
        Problem("a.wav", "row of a file that another row names", "line 4"),
        Problem("c.wav", "row without a label", "line 6"),
        Problem("pets.csv", "row without a path", "line 7"),
        Problem("two\nlines.wav", "row without its file", "line 9"),
        Problem("b.wav", "row of a file that another row names", "line 10"),
        Problem("d.wav", "file without its row"),
    )


def test_a_recording_may_lack_a_label_of_one_task(tmp_path: Path) -> None:
    text = "path,pet,loud,split\na.wav,dog,,train\nb.wav,cat,yes,train\nc.wav,,no,test\n"
    corpus = table.read(listed(tmp_path / "pets.csv", text, ["a.wav", "b.wav", "c.wav"]))
    assert [r.labels for r in corpus.recordings] == [
        {"pet": "dog"},
        {"pet": "cat", "loud": "yes"},
        {"loud": "no"},
    ]
    assert corpus.notes == (
        "no test recordings of pet cat, dog",
        "no train recordings of loud no",
        "no test recordings of loud yes",
    )


def test_paths_may_be_absolute_or_of_windows_or_lead_upwards(tmp_path: Path) -> None:
    touch(
        tmp_path, ["far/a.wav", "far/x.wav", "meta/in/b.wav", "meta/back\\slash.wav", "meta/c.wav", "y.wav"]
    )
    rows = [str(tmp_path / "far/a.wav"), r"in\b.wav", r"back\slash.wav", str(tmp_path / "meta/c.wav")]
    rows += [r"..\far\a2.wav", "../far/../y.wav"]
    touch(tmp_path, ["far/a2.wav"])
    text = "path,pet,split\n" + "".join(f"{path},{n % 2},train\n" for n, path in enumerate(rows))
    corpus = table.read(listed(tmp_path / "meta/pets.csv", text))
    assert [r.path for r in corpus.recordings] == [
        str(tmp_path / "far/a.wav"),
        "in/b.wav",
        "back\\slash.wav",
        "c.wav",
        "../far/a2.wav",
        "../far/../y.wav",
    ]
    assert all((corpus.folder / r.path).is_file() for r in corpus.recordings)


def test_files_far_from_the_rows_are_no_problems(tmp_path: Path) -> None:
    touch(tmp_path, ["audio/a.wav", "audio/b.wav", "audio/extra.wav", "other/dataset.wav"])
    text = "path,pet,split\n../audio/a.wav,dog,train\n../audio/b.wav,cat,test\n"
    (tmp_path / "meta").mkdir()
    corpus = table.read(listed(tmp_path / "meta/pets.csv", text))
    assert corpus.problems == (Problem("../audio/extra.wav", "file without its row"),)


def test_what_can_be_no_name_of_a_file_is_a_row_without_its_file(tmp_path: Path) -> None:
    text = f"path,pet,split\na.wav,dog,train\nb.wav,cat,test\n{'long ' * 99},dog,train\nnul\0.wav,dog,train\n"
    corpus = table.read(listed(tmp_path / "pets.csv", text, ["a.wav", "b.wav"]))
    assert [p.reason for p in corpus.problems] == ["row without its file"] * 2


def test_separators_of_lines_in_other_scripts_do_not_end_a_row(tmp_path: Path) -> None:
    text = "path,pet,split\na\u2028.wav,dog,train\nb\x85.wav,cat,test\n"
    corpus = table.read(listed(tmp_path / "pets.csv", text, ["a\u2028.wav", "b\x85.wav"]))
    assert [r.path for r in corpus.recordings] == ["a\u2028.wav", "b\x85.wav"]


def test_labels_are_in_the_order_of_numbers_then_words(tmp_path: Path) -> None:
    labels = ["nan", "10", "b", "9.5", "inf", "-1", "a"]
    text = "path,what,split\n" + "".join(f"{n}.wav,{label},train\n" for n, label in enumerate(labels))
    corpus = table.read(listed(tmp_path / "x.csv", text, [f"{n}.wav" for n in range(7)]))
    assert corpus.tasks["what"] == ["-1", "9.5", "10", "a", "b", "inf", "nan"]


def test_the_split_depends_neither_on_the_order_of_rows_nor_on_the_place(tmp_path: Path) -> None:
    splits = []
    for place, step in (("here", 1), ("there", -1)):
        home = touch(tmp_path / place, [f"{n}.wav" for n in range(30)])
        rows = [f"{home / f'{n}.wav'},{n % 2}\n" for n in range(30)]
        corpus = table.read(listed(home / "pets.csv", "path,pet\n" + "".join(rows[::step])))
        splits.append({r.path: r.split for r in corpus.recordings})
    assert splits[0] == splits[1]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "pets.csv has no rows: give one header line, then one row per sound file"),
        ("path,pet\n\n,\n", {}, "has no rows"),
        ("file,pet\na.wav,dog\n", {}, "has no column path: it has file, pet; name it with an option"),
        ("path,pet\na.wav,dog\n", {"labels": ["cat"]}, "has no column cat: it has path, pet;"),
        ("path,pet\na.wav,dog\n", {"group": "owner"}, "has no column owner: it has path, pet;"),
        ("path,pet\na.wav,dog\n", {"split": "fold"}, "has no column fold: it has path, pet;"),
        ("path,split\na.wav,train\n", {}, "has no column of labels: it has path, split"),
        ("path,pet\na.wav,dog\n", {}, "only the label dog of pet: give two at least, or name other columns"),
        ("path,pet,x\na.wav,dog,\nb.wav,cat,\n", {}, "has no label of x: give two at least"),
        ("path,pet,split\na.wav,dog,half\n", {}, "line 2 of .* has the split half: write train, valid or"),
        ("path,pet,split\n\na.wav,dog,\n", {}, "line 3 of .* has the split nothing: write train, valid or"),
        ("path,pet\nx.wav,dog\n", {}, "can be used, the first is a row without its file .x.wav.: give every"),
        ("path,pet\na.wav,\n", {}, "can be used, the first is a row without a label .a.wav.: give every row"),
        ("path,pet\na.wav,dog\nb.wav,cat\n", {}, r"^too few groups of recordings \(2\) to train"),
        (f'path,pet\n"{"x" * 140000}",dog\n', {}, "is no CSV file .field larger .*: save it as CSV"),
    ],
)
def test_wrong_tables_are_told_in_a_sentence(
    tmp_path: Path, text: str, options: dict[str, str], message: str
) -> None:
    file = listed(tmp_path / "pets.csv", text, ["a.wav", "b.wav"])
    with pytest.raises(UserError, match=message):
        table.read(file, **options)


def test_a_table_that_is_missing_or_no_utf8_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no CSV file .*x\.csv: give one with the columns path and"):
        table.read(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("path,pet\na.wav,dög\n", encoding="latin-1")
    with pytest.raises(UserError, match=r"x\.csv is no UTF-8 text: save it as UTF-8, or put the original"):
        table.read(tmp_path / "x.csv")
