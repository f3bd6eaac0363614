"""Readers of the four public datasets, on made-up trees in their layouts and on the recorded ones."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from audiostride.corpora import DATASETS, Problem, acoustic_scenes, birdsong, nsynth, speech_commands
from audiostride.corpora.base import sound_files
from audiostride.corpora.splits import by_name
from audiostride.errors import UserError

TITLES = {
    "speech_commands": "Speech Commands",
    "nsynth": "NSynth",
    "birdsong": "DCASE 2018 bird audio detection",
    "acoustic_scenes": "TUT Urban Acoustic Scenes 2018",
}


def touch(folder: Path, paths: Iterable[str]) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def note(family: Any, pitch: Any, instrument: str) -> dict[str, Any]:
    return {"note": 1, "instrument_family": family, "pitch": pitch, "instrument_str": instrument}


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """Speech Commands of two words and three speakers."""
    folder = tmp_path / "speech"
    touch(folder, [f"{word}/{who}_nohash_0.wav" for word in ("yes", "no") for who in ("aa", "bb", "cc")])
    touch(folder, ["_background_noise_/hum.wav", "LICENSE"])
    write(folder / "validation_list.txt", "yes/bb_nohash_0.wav\nno/bb_nohash_0.wav\n")
    write(folder / "testing_list.txt", "yes/cc_nohash_0.wav\nno/cc_nohash_0.wav\n")
    return folder


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


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Two of the three sets of birds, ten clips each."""
    for name, bird in (("ff1010bird", "0"), ("warblrb10k", "1")):
        items = [f"{name[0]}{number}" for number in range(10)]
        touch(tmp_path / "birds" / name, [f"wav/{item}.wav" for item in items])
        rows = "".join(f"{item},{name},{bird}\n" for item in items)
        write(tmp_path / "birds" / name / f"{name}_metadata.csv", f"itemid,datasetid,hasbird\n{rows}")
    return tmp_path / "birds"


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Urban scenes: a bus and a park, two locations each, of which the second evaluates."""
    write_scenes(tmp_path / "scenes", [f"{s}-oslo-{n}-0-a" for s in ("bus", "park") for n in (1, 2)], "-2-")
    return tmp_path / "scenes"


def write_scenes(folder: Path, names: Iterable[str], evaluates: str) -> None:
    meta, lists = ["filename\tscene_label\tidentifier\tsource_label"], {"train": [""], "evaluate": [""]}
    for name in names:
        scene, city, location = name.split("-")[:3]
        meta.append(f"audio/{name}.wav\t{scene}\t{city}-{location}\ta")
        lists["evaluate" if evaluates in name else "train"].append(f"audio/{name}.wav\t{scene}")
    touch(folder, [line.split("\t")[0] for line in meta[1:]])
    write(folder / "meta.csv", "\r\n".join(meta))
    for split, lines in lists.items():
        write(folder / f"evaluation_setup/fold1_{split}.txt", "\n".join(lines[1:]))


# Speech Commands


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


def test_hidden_and_empty_folders_are_no_words(spoken: Path) -> None:
    touch(spoken, [".cache/a.wav", "yes/._aa_nohash_0.wav", "__MACOSX/a.wav"])
    (spoken / "up").mkdir()
    corpus = speech_commands.read(spoken)
    assert corpus.tasks["speech_commands"] == ["no", "yes"]
    assert len(corpus.recordings) == 6


def test_lists_are_read_with_a_byte_order_mark_windows_line_ends_and_dots(spoken: Path) -> None:
    write(spoken / "testing_list.txt", "\ufeff./yes/cc_nohash_0.wav\r\n\r\n./no/cc_nohash_0.wav\r\n")
    assert Counter(r.split for r in speech_commands.read(spoken).recordings) == {
        "train": 2,
        "valid": 2,
        "test": 2,
    }


def test_listed_words_that_are_missing_are_problems(spoken: Path) -> None:
    (spoken / "no/cc_nohash_0.wav").unlink()
    corpus = speech_commands.read(spoken)
    assert corpus.problems == (Problem("no/cc_nohash_0.wav", "row without its file", "testing_list.txt"),)
    assert len(corpus.recordings) == 5


def test_a_foreign_word_is_used_and_listed(spoken: Path) -> None:
    touch(spoken, ["oui/aa_nohash_0.WAV"])
    corpus = speech_commands.read(spoken)
    assert corpus.tasks["speech_commands"] == ["no", "oui", "yes"]
    assert corpus.notes == ("words that Speech Commands does not have: oui",)
    assert corpus.problems == (Problem("oui/aa_nohash_0.WAV", "label outside the known set", "oui"),)


def test_a_corpus_of_foreign_words_alone_has_no_problems(spoken: Path) -> None:
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


# NSynth


def test_a_note_has_a_family_and_a_pitch(notes: Path) -> None:
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


def test_the_paper_tests_on_the_validation_notes(notes: Path) -> None:
    corpus = nsynth.read(notes, "paper")
    assert {r.path.split("/")[0]: r.split for r in corpus.recordings} == {
        "nsynth-train": "train",
        "nsynth-test": "valid",
        "nsynth-valid": "test",
    }


def test_messy_notes_are_listed_and_keep_the_label_that_is_known(notes: Path) -> None:
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
        ('{"a": 1}', "examples.json does not describe notes of NSynth: unpack"),
        ("[]", "examples.json does not describe notes of NSynth: unpack"),
    ],
)
def test_damaged_examples_are_told_in_a_sentence(notes: Path, text: str, message: str) -> None:
    write(notes / "nsynth-valid/examples.json", text)
    with pytest.raises(UserError, match=message):
        nsynth.read(notes)


def test_notes_without_audio_are_no_nsynth(notes: Path) -> None:
    for file in notes.rglob("*.wav"):
        file.unlink()
    with pytest.raises(UserError, match=r"is not NSynth, no note .* is in audio .*: unpack the archives"):
        nsynth.read(notes)


def test_a_missing_part_of_nsynth_is_named_with_its_archive(notes: Path) -> None:
    (notes / "nsynth-test/examples.json").unlink()
    with pytest.raises(
        UserError,
        match=r"nsynth is not NSynth, nsynth-test/examples\.json is missing \(it holds nsynth-test, "
        r"nsynth-train, nsynth-valid\): unpack nsynth-test\.jsonwav\.tar\.gz there",
    ):
        nsynth.read(notes)


# Birds


def test_any_of_the_bird_sets_will_do(birds: Path) -> None:
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


def test_bird_tables_may_lie_above_the_sets_in_a_folder_of_any_name(birds: Path) -> None:
    for file in birds.glob("*/*.csv"):
        file.rename(birds / file.name)
    hidden = birds.rename(birds.with_name(".birds"))
    assert len(birdsong.read(hidden).recordings) == 20
    assert not birdsong.read(hidden).problems


def test_messy_bird_tables_are_listed(birds: Path) -> None:
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


def test_other_tables_and_what_macos_adds_are_passed_over(birds: Path) -> None:
    write(birds / "licences.csv", "file,licence\nf0,CC BY\n")
    write(birds / "ff1010bird/empty.csv", "")
    for name in ("__MACOSX/._ff1010bird_metadata.csv", ".downloads/x.csv", "ff1010bird/._x.csv"):
        touch(birds, [name])
        (birds / name).write_bytes(b"\x00\x05\x16\x07\xff")
    corpus = birdsong.read(birds)
    assert len(corpus.recordings) == 20
    assert not corpus.problems


def test_birds_without_their_recordings_or_labels_are_told_apart(birds: Path) -> None:
    table = birds / "warblrb10k/warblrb10k_metadata.csv"
    (birds / "ff1010bird/ff1010bird_metadata.csv").unlink()
    write(table, "itemid,datasetid,hasbird\nw0,x,?\n")
    with pytest.raises(UserError, match="detection, no hasbird of its CSV files is 0 or 1"):
        birdsong.read(birds)
    write(table, "itemid,datasetid,hasbird\nelsewhere,x,1\n")
    with pytest.raises(UserError, match=r"detection, no row of its CSV files has its recording .*: unpack"):
        birdsong.read(birds)


# Scenes


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


def test_scenes_are_found_in_the_folder_that_the_archives_make(scenes: Path) -> None:
    top = scenes.rename(scenes.with_name("TUT-urban-acoustic-scenes-2018-development"))
    corpus = acoustic_scenes.read(top.parent)
    assert corpus.folder == top
    assert len(corpus.recordings) == 4


def test_messy_scenes_are_listed(scenes: Path) -> None:
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


def test_scenes_of_another_dataset_are_its_labels(tmp_path: Path) -> None:
    write_scenes(tmp_path, ["fire-x-1-0-a", "rain-x-1-0-a", "fire-x-2-0-a"], "-2-")
    corpus = acoustic_scenes.read(tmp_path)
    assert corpus.tasks == {"acoustic_scenes": ["fire", "rain"]}
    assert corpus.notes == ("none of the scenes of TUT 2018, but fire, rain",)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("meta.csv", None, r"2018, meta\.csv is missing \(it holds audio, evaluation_setup\): unpack the"),
        ("meta.csv", "filename,scene_label\n", r"meta\.csv has not the columns filename, scene_label, ident"),
        ("evaluation_setup/fold1_train.txt", None, r"2018, evaluation_setup/fold1_train\.txt is missing"),
        ("meta.csv", "filename\tscene_label\tidentifier\n", r"2018, no recording of meta\.csv and of the"),
    ],
)
def test_incomplete_scenes_are_told_in_a_sentence(
    scenes: Path, file: str, text: str | None, message: str
) -> None:
    (scenes / file).unlink()
    if text is not None:
        write(scenes / file, text)
    with pytest.raises(UserError, match=message):
        acoustic_scenes.read(scenes)


# All of them


@pytest.mark.parametrize(("name", "title"), TITLES.items())
def test_a_missing_an_empty_and_a_wrong_folder_name_the_dataset(
    name: str, title: str, tmp_path: Path
) -> None:
    read = DATASETS[name].read
    with pytest.raises(
        UserError, match=rf"there is no folder .*nowhere: unpack {title} there \(.* --download"
    ):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=rf"the folder .*empty is empty: unpack {title} there \("):
        read(tmp_path / "empty")
    touch(tmp_path / "wrong", [".hidden", *(f"{letter}.txt" for letter in "abcdef")])
    with pytest.raises(
        UserError, match=rf"wrong is not {title}, .* \(it holds a\.txt, b\.txt, c\.txt, d\.txt, 2 more\): \w+"
    ):
        read(tmp_path / "wrong")


@pytest.mark.parametrize(
    ("name", "split", "recordings", "labels"),
    [
        ("speech_commands", "official", {"train": 1723, "valid": 396, "test": 975}, [35]),
        ("speech_commands", "paper", {"train": 2478, "valid": 303, "test": 313}, [35]),
        ("nsynth", "official", {"train": 833, "valid": 45, "test": 129}, [11, 128]),
        ("nsynth", "paper", {"train": 833, "valid": 129, "test": 45}, [11, 128]),
        ("birdsong", "paper", {"train": 54, "test": 6}, [2]),
        ("acoustic_scenes", "official", {"train": 61, "test": 34}, [8]),
        ("acoustic_scenes", "paper", {"train": 86, "test": 9}, [8]),
    ],
)
def test_recorded_corpora_have_the_right_counts(
    recorded: Path, name: str, split: str, recordings: dict[str, int], labels: list[int]
) -> None:
    corpus = DATASETS[name].read(recorded / name, split=split)
    assert Counter(r.split for r in corpus.recordings) == recordings
    assert [len(known) for known in corpus.tasks.values()] == labels
    assert not corpus.problems
    assert all((recorded / name / r.path).is_file() for r in corpus.recordings)


def test_official_splits_of_recorded_corpora_keep_groups_on_one_side(recorded: Path) -> None:
    for name in ("speech_commands", "acoustic_scenes"):
        sides: dict[str, set[str]] = {}
        for recording in DATASETS[name].read(recorded / name).recordings:
            sides.setdefault(recording.group, set()).add(recording.split)
        assert all(len(splits) == 1 for splits in sides.values())


def test_all_scenes_of_tut_2018_split_as_published_and_as_in_the_paper(tmp_path: Path) -> None:
    """8,640 segments: officially 6,122 and 2,518, in the paper's table A.1 7,829 and 810."""
    places = [(s, place) for place in range(36) for s in acoustic_scenes.SCENES]
    names = [f"{s}-oslo-{place}-{part}-a" for s, place in places for part in range(24)]
    write_scenes(tmp_path, names, "-oslo-3")
    assert len(acoustic_scenes.read(tmp_path).recordings) == 8640
    splits = Counter(r.split for r in acoustic_scenes.read(tmp_path, "paper").recordings)
    assert splits == {"train": 7830, "test": 810}


def test_splits_of_the_paper_have_the_sizes_of_its_table() -> None:
    words = [f"yes/{number:08x}_nohash_0.wav" for number in range(105829)]
    assert Counter(by_name(words, speech_commands.PAPER)) == {"train": 84771, "valid": 10358, "test": 10700}
    birds = [f"{number}.wav" for number in range(35690)]
    assert Counter(by_name(birds, birdsong.PAPER)) == {"train": 32129, "test": 3561}


def test_sound_files_below_links_are_found_once(tmp_path: Path) -> None:
    touch(tmp_path / "far", ["x.wav", "deep/y.FLAC"])
    touch(tmp_path / "here", ["z.wav", "readme.txt", ".hidden.wav", ".hidden/x.wav"])
    for name in ("a", "b"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "far", target_is_directory=True)
    (tmp_path / "far/deep/loop").symlink_to(tmp_path / "here", target_is_directory=True)
    assert list(sound_files(tmp_path / "here")) == ["z.wav", "a/x.wav", "a/deep/y.FLAC"]
