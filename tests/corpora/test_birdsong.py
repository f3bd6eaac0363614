"""The reader of the DCASE 2018 bird audio detection sets."""

from collections import Counter
from pathlib import Path

import pytest
from helpers.trees import touch, write

from audiostride.corpora import birdsong
from audiostride.errors import UserError


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Two of the three sets of birds, ten clips each."""
    for name, bird in (("ff1010bird", "0"), ("warblrb10k", "1")):
        items = [f"{name[0]}{number}" for number in range(10)]
        touch(tmp_path / "birds" / name, [f"wav/{item}.wav" for item in items])
        rows = "".join(f"{item},{name},{bird}\n" for item in items)
        write(tmp_path / "birds" / name / f"{name}_metadata.csv", f"itemid,datasetid,hasbird\n{rows}")
    return tmp_path / "birds"


def test_any_of_the_bird_sets_may_be_missing(birds: Path) -> None:
    corpus = birdsong.read(birds)
    assert Counter(r.labels["birdsong"] for r in corpus.recordings) == {"no bird": 10, "bird": 10}
    assert all(
        (r.labels["birdsong"] == "bird") == r.path.startswith("warblrb10k/") for r in corpus.recordings
    )
    alone = birdsong.read(birds / "warblrb10k")
    assert {r.path for r in alone.recordings} == {f"wav/w{number}.wav" for number in range(10)}
    assert alone.tasks == corpus.tasks == {"birdsong": ["no bird", "bird"]}


def test_nine_of_ten_birds_train_and_one_tests(birds: Path) -> None:
    corpus = birdsong.read(birds)
    assert Counter(r.split for r in corpus.recordings) == {"train": 18, "test": 2}
    assert corpus.split == "paper"


def test_bird_csv_files_may_be_above_the_sets_in_a_folder_of_any_name(birds: Path) -> None:
    for file in birds.glob("*/*.csv"):
        file.rename(birds / file.name)
    hidden = birds.rename(birds.with_name(".birds"))
    assert len(birdsong.read(hidden).recordings) == 20
    assert not birdsong.read(hidden).problems


def test_faulty_bird_rows_are_listed(birds: Path) -> None:
    rows = "f0,x,0\nf1.wav,x,1\nf2,x,2\nf3,x,\nf4,x,1\nf4,x,0\nf99,x,1\n"
    write(
        birds / "ff1010bird/ff1010bird_metadata.csv",
        "\ufeffitemid,datasetid,hasbird\n".replace("\n", "\r\n") + rows,
    )
    corpus = birdsong.read(birds)
    assert {r.path[-6:-4]: r.labels["birdsong"] for r in corpus.recordings if "/f" in r.path[10:]} == {
        "f0": "no bird",
        "f1": "bird",
        "f4": "bird",
    }
    assert [(p.path, p.reason, p.detail) for p in corpus.problems] == [
        ("ff1010bird/wav/f2.wav", "label outside the known set", "hasbird 2"),
        ("ff1010bird/wav/f3.wav", "label outside the known set", "hasbird "),
        ("ff1010bird/wav/f4.wav", "row of a file that another row names", "hasbird 0"),
        ("ff1010bird/wav/f99.wav", "row without its file", "ff1010bird_metadata.csv"),
        *((f"ff1010bird/wav/f{n}.wav", "file without its row", "") for n in range(5, 10)),
    ]


def test_other_csv_files_and_those_of_macos_are_skipped(birds: Path) -> None:
    write(birds / "licences.csv", "file,licence\nf0,CC BY\n")
    write(birds / "ff1010bird/empty.csv", "")
    for name in ("__MACOSX/._ff1010bird_metadata.csv", ".downloads/x.csv", "ff1010bird/._x.csv"):
        touch(birds, [name])
        (birds / name).write_bytes(b"\x00\x05\x16\x07\xff")
    corpus = birdsong.read(birds)
    assert len(corpus.recordings) == 20
    assert not corpus.problems


def test_birds_without_recordings_and_without_labels_report_different_errors(birds: Path) -> None:
    table = birds / "warblrb10k/warblrb10k_metadata.csv"
    (birds / "ff1010bird/ff1010bird_metadata.csv").unlink()
    write(table, "itemid,datasetid,hasbird\nw0,x,?\n")
    with pytest.raises(
        UserError, match="detection, because no row of its CSV files has the value 0 or 1 for hasbird"
    ):
        birdsong.read(birds)
    write(table, "itemid,datasetid,hasbird\nelsewhere,x,1\n")
    with pytest.raises(
        UserError, match=r"detection, because no row of its CSV files has a recording .*: unpack"
    ):
        birdsong.read(birds)
