"""The reader of TUT Urban Acoustic Scenes 2018."""

from collections import Counter
from pathlib import Path

import pytest
from helpers.trees import touch, write, write_scenes

from audiostride.corpora import acoustic_scenes
from audiostride.errors import UserError


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Urban scenes: a bus and a park, two locations each, of which the second evaluates."""
    write_scenes(tmp_path / "scenes", [f"{s}-oslo-{n}-0-a" for s in ("bus", "park") for n in (1, 2)], "-2-")
    return tmp_path / "scenes"


def test_scenes_come_from_meta_and_the_split_from_fold_1(scenes: Path) -> None:
    corpus = acoustic_scenes.read(scenes)
    assert [(r.path, r.split, r.labels["acoustic_scenes"], r.group) for r in corpus.recordings] == [
        ("audio/bus-oslo-1-0-a.wav", "train", "bus", "oslo-1"),
        ("audio/bus-oslo-2-0-a.wav", "test", "bus", "oslo-2"),
        ("audio/park-oslo-1-0-a.wav", "train", "park", "oslo-1"),
        ("audio/park-oslo-2-0-a.wav", "test", "park", "oslo-2"),
    ]
    assert len(corpus.tasks["acoustic_scenes"]) == 10
    assert (corpus.notes, corpus.problems) == ((), ())


def test_scenes_are_found_in_the_folder_of_the_archives(scenes: Path) -> None:
    top = scenes.rename(scenes.with_name("TUT-urban-acoustic-scenes-2018-development"))
    corpus = acoustic_scenes.read(top.parent)
    assert corpus.folder == top
    assert len(corpus.recordings) == 4


def test_faulty_scenes_are_listed(scenes: Path) -> None:
    with (scenes / "meta.csv").open("a", encoding="utf-8") as meta:
        meta.write("\r\naudio/lost.wav\tbus\toslo-3\ta\r\naudio/odd.wav\tbeach\toslo-3\ta\r\n")
        meta.write("audio/unlisted.wav\tbus\toslo-3\ta\r\nbare.wav\tbus\toslo-3\ta\r\n")
    with (scenes / "evaluation_setup/fold1_train.txt").open("a", encoding="utf-8") as train:
        train.write("\naudio/lost.wav\tbus\naudio/odd.wav\tbeach\naudio/nowhere.wav\tbus\nbare.wav\tbus\n")
    touch(scenes / "audio", ["odd.wav", "unlisted.wav", "extra.wav", "bare.wav"])
    corpus = acoustic_scenes.read(scenes)
    assert len(corpus.recordings) == 4
    assert [(p.path, p.reason, p.detail) for p in corpus.problems] == [
        ("audio/lost.wav", "row without its file", "meta.csv"),
        ("audio/odd.wav", "label outside the known set", "beach"),
        ("audio/unlisted.wav", "row of meta.csv that is in no list of fold 1", ""),
        ("bare.wav", "row without its file", "meta.csv"),
        ("audio/nowhere.wav", "row of a list of fold 1 that is not in meta.csv", ""),
        ("audio/bare.wav", "file without its row", ""),
        ("audio/extra.wav", "file without its row", ""),
    ]


def test_repeated_scenes_are_listed(scenes: Path) -> None:
    with (scenes / "meta.csv").open("a", encoding="utf-8") as meta:
        meta.write("\r\naudio/bus-oslo-1-0-a.wav\tpark\toslo-9\ta\r\n")
    with (scenes / "evaluation_setup/fold1_evaluate.txt").open("a", encoding="utf-8") as evaluate:
        evaluate.write("\naudio/park-oslo-1-0-a.wav\tpark\n")
    corpus = acoustic_scenes.read(scenes)
    first, _, third, _ = corpus.recordings
    assert (first.labels["acoustic_scenes"], first.group) == ("bus", "oslo-1")
    assert third.split == "test"
    assert [(p.path, p.reason, p.detail) for p in corpus.problems] == [
        ("audio/bus-oslo-1-0-a.wav", "row of a file that another row names", "park"),
        ("audio/park-oslo-1-0-a.wav", "file in both lists", "counts as test"),
    ]


def test_scenes_of_another_dataset_are_its_labels(tmp_path: Path) -> None:
    write_scenes(tmp_path, ["fire-x-1-0-a", "rain-x-1-0-a", "fire-x-2-0-a"], "-2-")
    corpus = acoustic_scenes.read(tmp_path)
    assert corpus.tasks == {"acoustic_scenes": ["fire", "rain"]}
    assert corpus.notes == ("other scenes than TUT 2018: fire, rain",)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "meta.csv",
            None,
            r"2018, because meta\.csv is missing \(it contains audio, evaluation_setup\): unpack the",
        ),
        ("meta.csv", "filename,scene_label\n", r"meta\.csv does not have the columns filename, scene_label"),
        (
            "evaluation_setup/fold1_train.txt",
            None,
            r"2018, because evaluation_setup/fold1_train\.txt is missing",
        ),
        (
            "meta.csv",
            "filename\tscene_label\tidentifier\n",
            r"2018, because no recording of meta\.csv and of the",
        ),
    ],
)
def test_incomplete_scenes_report_a_clear_error(
    scenes: Path, file: str, text: str | None, message: str
) -> None:
    (scenes / file).unlink()
    if text is not None:
        write(scenes / file, text)
    with pytest.raises(UserError, match=message):
        acoustic_scenes.read(scenes)


def test_scenes_of_tut_2018_split_as_published_and_as_in_the_paper(tmp_path: Path) -> None:
    """8,640 segments: officially 6,122 and 2,518, in the paper's table A.1 7,829 and 810."""
    places = [(s, place) for place in range(36) for s in acoustic_scenes.SCENES]
    names = [f"{s}-oslo-{place}-{part}-a" for s, place in places for part in range(24)]
    write_scenes(tmp_path, names, "-oslo-3")
    assert len(acoustic_scenes.read(tmp_path).recordings) == 8640
    splits = Counter(r.split for r in acoustic_scenes.read(tmp_path, "paper").recordings)
    assert splits == {"train": 7830, "test": 810}
