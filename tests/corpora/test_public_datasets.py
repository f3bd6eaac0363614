"""What the readers of the four public datasets have in common, also on the recorded corpora."""

import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import touch

from audiostride.corpora import DATASETS, base, birdsong, speech_commands
from audiostride.corpora.base import sound_files
from audiostride.corpora.splits import by_name
from audiostride.errors import UserError

TITLES = {
    "speech_commands": "Speech Commands",
    "nsynth": "NSynth",
    "birdsong": "DCASE 2018 bird audio detection",
    "acoustic_scenes": "TUT Urban Acoustic Scenes 2018",
}


@pytest.mark.parametrize(("name", "title"), TITLES.items())
def test_missing_empty_and_wrong_folders_report_clear_errors_with_the_dataset(
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
        UserError,
        match=rf"wrong is not {title}, because .* "
        r"\(it contains a\.txt, b\.txt, c\.txt, d\.txt, 2 more\): \w+",
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


def test_official_splits_of_recorded_corpora_keep_each_group_in_one_split(recorded: Path) -> None:
    for name in ("speech_commands", "acoustic_scenes"):
        splits_of: dict[str, set[str]] = {}
        for recording in DATASETS[name].read(recorded / name).recordings:
            splits_of.setdefault(recording.group, set()).add(recording.split)
        assert all(len(splits) == 1 for splits in splits_of.values())


def test_splits_of_the_paper_have_the_sizes_of_its_table() -> None:
    words = [f"yes/{number:08x}_nohash_0.wav" for number in range(105829)]
    assert Counter(by_name(words, speech_commands.PAPER_COUNTS)) == {
        "train": 84771,
        "valid": 10358,
        "test": 10700,
    }
    birds = [f"{number}.wav" for number in range(35690)]
    assert Counter(by_name(birds, birdsong.PAPER_COUNTS)) == {"train": 32129, "test": 3561}


def test_sound_files_below_links_are_found_once(tmp_path: Path) -> None:
    touch(tmp_path / "far", ["x.wav", "deep/y.FLAC"])
    touch(tmp_path / "here", ["z.wav", "readme.txt", ".hidden.wav", ".hidden/x.wav"])
    for name in ("a", "b"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "far", target_is_directory=True)
    (tmp_path / "far/deep/loop").symlink_to(tmp_path / "here", target_is_directory=True)
    assert list(sound_files(tmp_path / "here")) == ["z.wav", "a/x.wav", "a/deep/y.FLAC"]


def test_example_of_a_new_dataset_in_the_docstring_works(tmp_path: Path) -> None:
    """The example says how to add a dataset."""
    example = (base.__doc__ or "").partition("pets.py`:\n")[2].partition("\nThen add")[0]
    module: dict[str, Any] = {}
    exec(textwrap.dedent(example), module)
    touch(tmp_path, [f"{animal}_{number}.wav" for animal in ("cat", "dog") for number in range(10)])
    corpus = module["DATASET"].read(tmp_path)
    assert corpus.tasks == {"animal": ["cat", "dog"]}
    assert Counter(r.split for r in corpus.recordings) == {"train": 16, "valid": 2, "test": 2}
