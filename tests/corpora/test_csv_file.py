"""The reader of sound files listed in a CSV file."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from helpers.trees import touch

from audiostride.corpora import Problem, csv_file
from audiostride.errors import UserError


def write_csv(file: Path, text: str, touched: Iterable[str] = ()) -> Path:
    touch(file.parent, touched)
    file.write_bytes(text.encode())
    return file


def test_rows_give_labels_splits_and_groups(tmp_path: Path) -> None:
    file = write_csv(
        tmp_path / "tunes.csv",
        "path,instrument,pitch,split,group\n"
        "a.wav,flute,60,train,anna\nb.wav,oboe,7,Validation,bert\nsub/c.flac,oboe,100,TEST,\n",
        ["a.wav", "b.wav", "sub/c.flac"],
    )
    corpus = csv_file.read(file)
    assert [(r.path, r.split, r.labels, r.group) for r in corpus.recordings] == [
        ("a.wav", "train", {"instrument": "flute", "pitch": "60"}, "anna"),
        ("b.wav", "valid", {"instrument": "oboe", "pitch": "7"}, "bert"),
        ("sub/c.flac", "test", {"instrument": "oboe", "pitch": "100"}, ""),
    ]
    assert corpus.tasks == {"instrument": ["flute", "oboe"], "pitch": ["7", "60", "100"]}
    assert (corpus.name, corpus.folder, corpus.split, corpus.problems) == ("tunes", tmp_path, "given", ())


def test_task_of_a_column_named_label_has_the_name_of_the_file(tmp_path: Path) -> None:
    text = "path,Label\n" + "".join(f"{n}.wav,{n % 2}\n" for n in range(20))
    corpus = csv_file.read(write_csv(tmp_path / "pets.csv", text, [f"{n}.wav" for n in range(20)]))
    assert corpus.tasks == {"pets": ["0", "1"]}


def test_without_split_column_each_group_is_in_one_split(tmp_path: Path) -> None:
    text = "path,pet,owner\n" + "".join(f"{n}.wav,{n % 2},{n % 11}\n" for n in range(88))
    file = write_csv(tmp_path / "pets.csv", text, [f"{n}.wav" for n in range(88)])
    corpus = csv_file.read(file, labels=["pet"], group="owner")
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
def test_csv_files_of_spreadsheets_are_read(tmp_path: Path, delimiter: str, end: str, mark: str) -> None:
    lines = [["path", "label, if known", "split"], *PETS]
    text = mark + "".join(delimiter.join(f'"{field}"' for field in line) + end for line in lines)
    corpus = csv_file.read(write_csv(tmp_path / "pets.csv", text, [pet[0] for pet in PETS]))
    assert [[r.path, r.labels["label, if known"], r.split] for r in corpus.recordings] == PETS
    assert not corpus.problems


def test_empty_rows_and_nameless_columns_are_skipped(tmp_path: Path) -> None:
    """As pandas and spreadsheets write: a column of row numbers, commas at the end, empty rows."""
    text = ",path,pet,split,\n0,a.wav,dog,train,\n\n1,b.wav,cat,test,\n,,,,\n"
    corpus = csv_file.read(write_csv(tmp_path / "pets.csv", text, ["a.wav", "b.wav"]))
    assert corpus.tasks == {"pet": ["cat", "dog"]}
    assert not corpus.problems


def test_faulty_rows_are_listed_by_line_and_files_without_a_row_too(tmp_path: Path) -> None:
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
    file = write_csv(
        tmp_path / "pets.csv", text, ["a.wav", "b.wav", "c.wav", "d.wav", ".e.wav", "other/f.wav"]
    )
    corpus = csv_file.read(file)
    assert [r.path for r in corpus.recordings] == ["a.wav", "b.wav"]
    assert corpus.problems == (
        Problem("a.wav", "row of a file that another row names", "line 4"),
        Problem("c.wav", "row without a label", "line 6"),
        Problem("pets.csv", "row without a path", "line 7"),
        Problem("two\nlines.wav", "row without its file", "line 9"),
        Problem("b.wav", "row of a file that another row names", "line 10"),
        Problem("d.wav", "file without its row"),
    )


def test_recording_may_lack_a_label_of_one_task(tmp_path: Path) -> None:
    text = "path,pet,loud,split\na.wav,dog,,train\nb.wav,cat,yes,train\nc.wav,,no,test\n"
    corpus = csv_file.read(write_csv(tmp_path / "pets.csv", text, ["a.wav", "b.wav", "c.wav"]))
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
    corpus = csv_file.read(write_csv(tmp_path / "meta/pets.csv", text))
    assert [r.path for r in corpus.recordings] == [
        str(tmp_path / "far/a.wav"),
        "in/b.wav",
        "back\\slash.wav",
        "c.wav",
        "../far/a2.wav",
        "../y.wav",
    ]
    assert all((corpus.folder / r.path).is_file() for r in corpus.recordings)


def test_file_named_in_several_ways_is_one_recording(tmp_path: Path) -> None:
    touch(tmp_path, ["a/x.wav", "a/y.wav", "far/z.wav"])
    (tmp_path / "b").symlink_to("far", target_is_directory=True)
    (tmp_path / "link.wav").symlink_to("a/x.wav")
    paths = ["a/../a/x.wav", "a//x.wav", str(tmp_path / "a/x.wav"), "link.wav", "b/z.wav", "far/z.wav"]
    paths += ["a/y.wav", f"{tmp_path}/b/../a/y.wav"]
    text = "path,pet,split\n" + "".join(f"{path},{n % 3},train\n" for n, path in enumerate(paths))
    corpus = csv_file.read(write_csv(tmp_path / "pets.csv", text))
    assert [(r.path, r.labels["pet"]) for r in corpus.recordings] == [
        ("a/x.wav", "0"),
        ("b/z.wav", "1"),
        ("a/y.wav", "0"),
    ]
    assert [(p.reason, p.detail) for p in corpus.problems if p.detail] == [
        ("row of a file that another row names", f"line {line}") for line in (3, 4, 5, 7, 9)
    ]


def test_two_dots_behind_a_link_keep_their_meaning(tmp_path: Path) -> None:
    touch(tmp_path, ["far/in/x.wav", "far/y.wav", "home/y.wav"])
    (tmp_path / "home/in").symlink_to(tmp_path / "far/in", target_is_directory=True)
    text = "path,pet,split\nin/../y.wav,dog,train\ny.wav,cat,test\n"
    corpus = csv_file.read(write_csv(tmp_path / "home/pets.csv", text))
    assert [r.path for r in corpus.recordings] == ["in/../y.wav", "y.wav"]


def test_undecodable_name_of_the_file_becomes_a_printable_task(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9.csv")
    corpus = csv_file.read(
        write_csv(file, "path,label,split\na.wav,1,train\nb.wav,2,test\n", ["a.wav", "b.wav"])
    )
    assert (corpus.name, list(corpus.tasks)) == ("caf%E9", ["caf%E9"])


def test_files_outside_the_folders_of_the_rows_are_no_problems(tmp_path: Path) -> None:
    touch(tmp_path, ["audio/a.wav", "audio/b.wav", "audio/extra.wav", "other/dataset.wav"])
    text = "path,pet,split\n../audio/a.wav,dog,train\n../audio/b.wav,cat,test\n"
    (tmp_path / "meta").mkdir()
    corpus = csv_file.read(write_csv(tmp_path / "meta/pets.csv", text))
    assert corpus.problems == (Problem("../audio/extra.wav", "file without its row"),)


def test_invalid_file_name_is_a_row_without_its_file(tmp_path: Path) -> None:
    text = f"path,pet,split\na.wav,dog,train\nb.wav,cat,test\n{'long ' * 99},dog,train\nnul\0.wav,dog,train\n"
    corpus = csv_file.read(write_csv(tmp_path / "pets.csv", text, ["a.wav", "b.wav"]))
    assert [p.reason for p in corpus.problems] == ["row without its file"] * 2


def test_unicode_line_separators_do_not_end_a_row(tmp_path: Path) -> None:
    text = "path,pet,split\na\u2028.wav,dog,train\nb\x85.wav,cat,test\n"
    corpus = csv_file.read(write_csv(tmp_path / "pets.csv", text, ["a\u2028.wav", "b\x85.wav"]))
    assert [r.path for r in corpus.recordings] == ["a\u2028.wav", "b\x85.wav"]


def test_labels_are_sorted_as_numbers_then_words(tmp_path: Path) -> None:
    labels = ["nan", "10", "b", "9.5", "inf", "-1", "a"]
    text = "path,what,split\n" + "".join(f"{n}.wav,{label},train\n" for n, label in enumerate(labels))
    corpus = csv_file.read(write_csv(tmp_path / "x.csv", text, [f"{n}.wav" for n in range(7)]))
    assert corpus.tasks["what"] == ["-1", "9.5", "10", "a", "b", "inf", "nan"]


def test_split_depends_neither_on_the_order_of_rows_nor_on_the_folder(tmp_path: Path) -> None:
    splits = []
    for place, step in (("here", 1), ("there", -1)):
        home = touch(tmp_path / place, [f"{n}.wav" for n in range(30)])
        rows = [f"{home / f'{n}.wav'},{n % 2}\n" for n in range(30)]
        corpus = csv_file.read(write_csv(home / "pets.csv", "path,pet\n" + "".join(rows[::step])))
        splits.append({r.path: r.split for r in corpus.recordings})
    assert splits[0] == splits[1]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "pets.csv has no rows: write a header line, then one row per sound file"),
        ("path,pet\n\n,\n", {}, "has no rows"),
        ("file,pet\na.wav,dog\n", {}, "has no column path, only file, pet: name the right one with --path"),
        (
            "path,pet\na.wav,dog\n",
            {"labels": ["cat"]},
            "has no column cat, only path, pet: name the right one with --labels",
        ),
        (
            "path,pet\na.wav,dog\n",
            {"group": "owner"},
            "has no column owner, only path, pet: name the right one with --group",
        ),
        (
            "path,pet\na.wav,dog\n",
            {"split": "fold"},
            "has no column fold, only path, pet: name the right one with --split",
        ),
        ("path,split\na.wav,train\n", {}, "has no column of labels: it has path, split"),
        ("path,pet\na.wav,dog\n", {}, "only the label dog of pet: give at least two, or name other columns"),
        ("path,pet,x\na.wav,dog,\nb.wav,cat,\n", {}, "has no label of x: give at least two"),
        ("path,pet,split\na.wav,dog,half\n", {}, "line 2 of .* has the split half: write train, valid or"),
        ("path,pet,split\n\na.wav,dog,\n", {}, "line 3 of .* has no split: write train, valid or"),
        ("path,pet\nx.wav,dog\n", {}, "can be used, the first is a row without its file .x.wav.: give every"),
        ("path,pet\na.wav,\n", {}, "can be used, the first is a row without a label .a.wav.: give every row"),
        ("path,pet\na.wav,dog\nb.wav,cat\n", {}, r"^too few groups of recordings \(2\) for training"),
        (
            "path,pet, pet\na.wav,dog,cat\nb.wav,cat,dog\n",
            {},
            "pets.csv has more than one column pet: give each column a name of its own",
        ),
        ("path,path,pet\na.wav,b.wav,cat\n", {}, "has more than one column path: give"),
        (
            "path,pet\na.wav,big, dog\nb.wav,cat\n",
            {},
            "line 2 of .* has more fields than the header: put fiel",
        ),
        (
            'path,pet\na.wav,"dog\nb.wav,cat\n',
            {},
            "pets.csv is not a CSV file .unexpected end of data.: save",
        ),
        (
            'path,pet\na.wav,"dog\nb.wav,cat"\nc.wav,cow\n',
            {},
            "row that ends in line 3 of .* has a label of several lines: close its quotes",
        ),
        (f'path,pet\n"{"x" * 140000}",dog\n', {}, "is not a CSV file .field larger .*: save it as CSV"),
    ],
)
def test_wrong_csv_file_reports_a_clear_error(
    tmp_path: Path, text: str, options: dict[str, str], message: str
) -> None:
    file = write_csv(tmp_path / "pets.csv", text, ["a.wav", "b.wav"])
    with pytest.raises(UserError, match=message):
        csv_file.read(file, **options)


def test_csv_file_that_is_missing_or_not_utf8_reports_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no CSV file .*x\.csv: give one with the columns path and"):
        csv_file.read(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("path,pet\na.wav,dög\n", encoding="latin-1")
    with pytest.raises(UserError, match=r"x\.csv is not UTF-8 text: save it as UTF-8, or replace it"):
        csv_file.read(tmp_path / "x.csv")
