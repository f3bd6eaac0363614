"""Which recordings of prepared corpora are used."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.counting_store import counting_store
from helpers.two_tasks import LABELS, every

from audiostride.data.selection import select
from audiostride.data.store import Store
from audiostride.errors import UserError

TASK = "speech_commands"


def test_selection_of_several_corpora_holds_the_recordings_of_all(store: Store, sounds: Store) -> None:
    chosen = every([store, sounds])
    assert {task: chosen.labelled(task) for task in chosen.labels} == {
        "speech_commands": 18,
        "shape": 20,
        "level": 16,
    }
    for number, (which, place) in enumerate(zip(chosen.store_of, chosen.recordings, strict=True)):
        home = (store, sounds)[which]
        for task, names in home.tasks.items():
            assert chosen.labels[task][number] == home.labels[task][place]
            assert len(names) == len(home.tasks[task])
        assert all(chosen.labels[task][number] == -1 for task in chosen.labels.keys() - home.tasks.keys())
        window = chosen.cut(np.array([number]), np.array([0]), 8000)["waveform"][0].numpy()
        begin, end = home.starts[place : place + 2]
        sound = home.waveforms[begin:end][:8000]
        assert np.array_equal(window[: len(sound)], sound)
        assert not window[len(sound) :].any()


def test_open_corpus_takes_no_private_memory(sounds: Store) -> None:
    assert not sounds.waveforms.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        every([sounds]).cut(np.array([0]), np.array([0]), 100)


def test_labels_are_numbered_in_the_order_selected(store: Store) -> None:
    chosen = select(store, "train", {TASK: ["yes", "no"]})
    assert Counter(chosen.labels[TASK].tolist()) == {0: 6, 1: 6}
    names = store.names[chosen.recordings]
    assert all(
        name.startswith(("yes", "no")[label]) for name, label in zip(names, chosen.labels[TASK], strict=True)
    )


def test_unknown_labels_and_tasks_report_a_clear_error(store: Store) -> None:
    with pytest.raises(UserError, match="has no label go for speech_commands: it has no, stop, yes"):
        select(store, "train", {TASK: ["go"]})
    with pytest.raises(UserError, match="has no task bird: there are speech_commands"):
        select(store, "train", {"bird": ["a"]})


def test_split_without_recordings_is_empty(tmp_path: Path) -> None:
    chosen = select(counting_store(tmp_path, [100, 100]), "test", {"task": ["a", "b"]})
    assert chosen.labelled("task") == len(chosen.recordings) == 0


def test_per_label_keeps_as_many_recordings_of_each_label(sounds: Store) -> None:
    whole = every([sounds])
    limited = whole.limited(3, seed=0)
    for task, names in LABELS.items():
        assert np.bincount(limited.labels[task][limited.labels[task] >= 0]).tolist() == [3] * len(names)
    position = {recording: row for row, recording in enumerate(whole.recordings)}
    for row, recording in enumerate(limited.recordings):
        assert any(limited.labels[task][row] >= 0 for task in LABELS)
        for task in LABELS:
            assert limited.labels[task][row] in (-1, whole.labels[task][position[recording]])


def test_few_recordings_per_label_are_among_more_and_depend_on_the_seed(sounds: Store) -> None:
    whole = every([sounds])
    few, more = (set(whole.limited(count, seed=0).recordings) for count in (2, 5))
    assert few < more
    assert {frozenset(whole.limited(2, seed).recordings) for seed in range(5)} != {frozenset(few)}
    everything = whole.limited(1000, seed=0)
    assert np.array_equal(everything.recordings, whole.recordings)
    assert all(np.array_equal(everything.labels[task], whole.labels[task]) for task in LABELS)


def test_choice_per_label_depends_on_no_other_label(sounds: Store) -> None:
    names = LABELS["level"]
    together = select(sounds, "train", {"level": names}).limited(2, seed=0)
    for index, name in enumerate(names):
        alone = select(sounds, "train", {"level": [name]}).limited(2, seed=0)
        assert alone.recordings.tolist() == together.recordings[together.labels["level"] == index].tolist()
