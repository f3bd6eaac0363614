"""Splits by name and by group: their sizes, the groups, and what they do not depend on."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from audiostride.corpora.base import Recording
from audiostride.corpora.splits import by_group, by_name, hashes, held_out


def make_recordings(groups: Sequence[object], labels: Sequence[object]) -> list[Recording]:
    pairs = zip(groups, labels, strict=True)
    return [
        Recording(f"{n}.wav", "", {"t": str(label)}, str(group)) for n, (group, label) in enumerate(pairs)
    ]


def random_recordings(seed: int) -> list[Recording]:
    """Some labels, more groups of uneven size; in half of the cases a group has several labels."""
    rng = np.random.default_rng(seed)
    groups = rng.zipf(1.5, size=rng.integers(30, 300)) % rng.integers(6, 60)
    labels = groups % rng.integers(2, 6) if seed % 2 else rng.integers(0, 5, size=len(groups))
    return make_recordings(groups.tolist(), labels.tolist())


def labels_in(recordings: Sequence[Recording], splits: Sequence[str], split: str) -> set[str]:
    return {r.labels["t"] for r, s in zip(recordings, splits, strict=True) if s == split}


def test_hash_is_the_beginning_of_sha256() -> None:
    """The values are those of sha256sum. A name that is not UTF-8 is hashed as its bytes."""
    assert hashes([""]).tolist() == [0xE3B0C44298FC1C14]
    assert hashes(["caf\udce9"]).tolist() == [0xDAFD66C0B98965E6]


def test_split_by_name_is_the_same_on_every_machine() -> None:
    splits = by_name([f"{number}.wav" for number in range(10)], {"train": 8, "test": 2})
    assert [number for number, split in enumerate(splits) if split == "test"] == [2, 8]


@pytest.mark.parametrize("count", [0, 1, 7, 10, 99, 1000])
def test_split_by_name_has_the_right_sizes_to_the_nearest_recording(count: int) -> None:
    sizes = Counter(by_name([str(n) for n in range(count)], {"train": 70, "valid": 10, "test": 20}))
    assert sum(sizes.values()) == count
    for split, share in {"train": 0.7, "valid": 0.1, "test": 0.2}.items():
        assert abs(sizes[split] - share * count) <= 1


def test_split_by_name_does_not_depend_on_the_order_of_the_files() -> None:
    names = [f"{n}.wav" for n in range(100)]
    in_order = dict(zip(names, by_name(names, {"train": 9, "test": 1}), strict=True))
    names.reverse()
    assert dict(zip(names, by_name(names, {"train": 9, "test": 1}), strict=True)) == in_order


@pytest.mark.parametrize("seed", range(30))
def test_each_group_is_in_one_split(seed: int) -> None:
    recordings = random_recordings(seed)
    splits_of: dict[str, set[str]] = {}
    for recording, split in zip(recordings, by_group(recordings, "t"), strict=True):
        splits_of.setdefault(recording.group, set()).add(split)
    assert all(len(splits) == 1 for splits in splits_of.values())


@pytest.mark.parametrize("seed", range(30))
def test_every_label_trains_and_labels_with_three_groups_for_themselves_are_in_every_split(seed: int) -> None:
    recordings = random_recordings(seed)
    splits = by_group(recordings, "t")
    labels: dict[str, set[str]] = {}
    groups: dict[str, set[str]] = {}
    for recording in recordings:
        labels.setdefault(recording.group, set()).add(recording.labels["t"])
        groups.setdefault(recording.labels["t"], set()).add(recording.group)
    assert labels_in(recordings, splits, "train") == set(groups)
    own = {
        label for label, of in groups.items() if sum(len(labels[group]) == 1 for group in of) == len(of) >= 3
    }
    for split in ("valid", "test"):
        assert own <= labels_in(recordings, splits, split)


@pytest.mark.parametrize("seed", range(30))
def test_split_by_group_does_not_depend_on_the_order_of_the_files(seed: int) -> None:
    recordings = random_recordings(seed)
    in_order = dict(zip((r.path for r in recordings), by_group(recordings, "t"), strict=True))
    order = np.random.default_rng(seed).permutation(len(recordings))
    shuffled = [recordings[place] for place in order]
    assert dict(zip((r.path for r in shuffled), by_group(shuffled, "t"), strict=True)) == in_order


def test_single_recordings_of_two_labels_split_eight_to_one_to_one() -> None:
    recordings = make_recordings([""] * 1000, [0] * 900 + [1] * 100)
    counts = Counter(zip((r.labels["t"] for r in recordings), by_group(recordings, "t"), strict=True))
    assert counts == {
        ("0", "train"): 720,
        ("0", "valid"): 90,
        ("0", "test"): 90,
        ("1", "train"): 80,
        ("1", "valid"): 10,
        ("1", "test"): 10,
    }


def test_speakers_who_say_every_word_split_eight_to_one_to_one() -> None:
    recordings = make_recordings([n % 40 for n in range(4000)], [n // 40 % 10 for n in range(4000)])
    splits = by_group(recordings, "t")
    assert Counter(splits) == {"train": 3200, "valid": 400, "test": 400}
    for split in ("train", "valid", "test"):
        assert len(labels_in(recordings, splits, split)) == 10


@pytest.mark.parametrize("seed", range(10))
def test_fractions_are_near_the_requested_ones_if_speakers_say_some_of_the_words(seed: int) -> None:
    rng = np.random.default_rng(seed)
    speakers = rng.integers(0, 200, size=5000)
    words = (speakers + rng.integers(0, 4, size=5000)) % 10
    sizes = Counter(by_group(make_recordings(speakers.tolist(), words.tolist()), "t"))
    assert 0.07 < sizes["valid"] / 5000 < 0.14
    assert 0.07 < sizes["test"] / 5000 < 0.14


@pytest.mark.parametrize("year", range(2020, 2025))
def test_rare_label_is_tested_also_if_one_of_its_groups_has_another_label(year: int) -> None:
    """A common species at forty sites, and a rare one at one of these and at three more."""
    sites = [f"{year} {n % 40}" for n in range(400)] + [f"{year} {site}" for site in ("a", "b", "c", 0)]
    recordings = make_recordings(sites, ["common"] * 400 + ["rare"] * 4)
    splits = by_group(recordings, "t")
    for split in ("train", "valid", "test"):
        assert labels_in(recordings, splits, split) == {"common", "rare"}


@pytest.mark.parametrize("sizes", [(1, 1, 98), (98, 1, 1), (1, 1, 1), (30, 40, 30), (5, 5, 5, 5)])
def test_three_groups_of_any_sizes_are_enough_for_three_splits(sizes: tuple[int, ...]) -> None:
    for names in ("abcd", "wxyz", "1234"):
        groups = [name for name, size in zip(names, sizes, strict=False) for _ in range(size)]
        assert set(by_group(make_recordings(groups, [0] * len(groups)), "t")) == {"train", "valid", "test"}


def test_one_of_two_groups_is_held_out() -> None:
    groups = hashes(["a"] * 9 + ["b"])
    chosen = held_out(groups, np.zeros(10, dtype=np.int64), 0.1)
    assert chosen.tolist() == [False] * 9 + [True]
    assert not held_out(groups[:9], np.zeros(9, dtype=np.int64), 0.5).any()


def test_nothing_is_held_out_for_a_fraction_of_zero() -> None:
    assert not held_out(hashes("abcd"), np.zeros(4, dtype=np.int64), 0.0).any()
    assert held_out(hashes(""), np.zeros(0, dtype=np.int64), 0.1).tolist() == []


def test_recordings_without_a_label_of_the_task_are_split_too() -> None:
    recordings = [Recording(f"{n}.wav", "", {}) for n in range(100)]
    assert Counter(by_group(recordings, "t")) == {"train": 80, "valid": 10, "test": 10}
