"""Which recordings of which tasks make a batch, which validate, and what loader processes are sent."""

import pickle
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.two_tasks import every

from audiostride.config.settings import AugmentationSettings, DataSettings, TrainingSettings
from audiostride.corpora.base import SPLITS, Corpus, Recording
from audiostride.data.augmentation import Augmentation
from audiostride.data.datamodule import WindowsModule
from audiostride.data.store import Store
from audiostride.data.windows import TrainingWindows
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare

# Which windows make a batch


def turns(windows: TrainingWindows, number: int) -> list[int]:
    """For which task each window of a batch is drawn."""
    places = np.arange(windows.batch_size) + windows.batch_size * number
    return windows.task_pattern[places % len(windows.task_pattern)].tolist()


def drawn_tasks(windows: TrainingWindows, batches: int) -> Counter[int]:
    """How many windows were drawn for each task, from the pattern of turns."""
    count = batches * windows.batch_size
    return Counter(windows.task_pattern[np.arange(count) % len(windows.task_pattern)].tolist())


def test_a_selection_of_several_corpora_holds_the_recordings_of_all(store: Store, sounds: Store) -> None:
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


def test_tasks_take_turns_evenly(store: Store, sounds: Store) -> None:
    windows = TrainingWindows(every([store, sounds]), 10, 4000)
    assert drawn_tasks(windows, 3) == {0: 10, 1: 10, 2: 10}
    seen: list[set[int]] = [set(), set(), set()]
    for number in range(9):
        for task, recording in zip(turns(windows, number), windows._chosen(number), strict=True):
            assert list(windows.selection.labels.values())[task][recording] >= 0
            seen[task].add(int(recording))
    assert [len(recordings) for recordings in seen] == [18, 20, 16]  # each had one of 30 turns


def test_a_batch_lies_corpus_by_corpus(store: Store, sounds: Store) -> None:
    windows = TrainingWindows(every([store, sounds]), 10, 4000)
    for number in range(5):
        recordings = windows[number]["recording"].numpy()
        assert (np.diff(windows.selection.store_of[recordings]) >= 0).all()
        assert sorted(recordings) == sorted(windows._chosen(number))


def test_every_recording_of_a_task_comes_once_before_any_comes_again(sounds: Store) -> None:
    windows = TrainingWindows(every([sounds]), 8, 4000, shares={"shape": 1, "level": 3})
    seen: dict[int, list[int]] = {0: [], 1: []}
    for number in range(40):
        for task, recording in zip(turns(windows, number), windows._chosen(number).tolist(), strict=True):
            seen[task].append(recording)
    assert len(seen[1]) == pytest.approx(3 * len(seen[0]), abs=2)
    for task, pool in ((0, 20), (1, 16)):
        rounds = [seen[task][i : i + pool] for i in range(0, len(seen[task]) - pool + 1, pool)]
        assert len(rounds) >= 4
        assert all(len(set(order)) == pool for order in rounds)
        assert rounds[0] != rounds[1]


@pytest.mark.parametrize("shares", [(1, 1), (0.3, 0.7), (5, 1), (1, 1000), (0.123, 0.456)])
def test_shares_of_tasks_are_kept_in_every_stretch(shares: tuple[float, float], sounds: Store) -> None:
    windows = TrainingWindows(
        every([sounds]), 64, 400, shares=dict(zip(("shape", "level"), shares, strict=True))
    )
    wanted = shares[0] / sum(shares)
    for begin, length in ((0, 64), (640, 64), (77, 1000), (0, 50_000)):
        drawn = windows.task_pattern[np.arange(begin, begin + length) % len(windows.task_pattern)]
        assert (drawn == 0).sum() == pytest.approx(wanted * length, abs=2 + length / 4096)


def test_a_task_of_no_share_is_not_drawn(sounds: Store) -> None:
    windows = TrainingWindows(every([sounds]), 16, 400, shares={"shape": 0.0, "level": 1.0})
    for number in range(10):
        assert (windows[number]["labels"]["level"] >= 0).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_load_the_same_batches(workers: int, store: Store, sounds: Store) -> None:
    module = WindowsModule(
        DataSettings([str(store.folder), str(sounds.folder)], workers=workers), TrainingSettings(batch_size=5)
    )
    loader = module._loader(TrainingWindows(every([store, sounds]), 5, 4000, seed=7), range(3, 9))
    plain = TrainingWindows(every([store, sounds]), 5, 4000, seed=7)
    for number, batch in zip(range(3, 9), loader, strict=True):
        assert batch["waveform"].equal(plain[number]["waveform"])
        assert batch["recording"].equal(plain[number]["recording"])


# Tasks and labels that are asked for


def module(*stores: Store, **data: Any) -> WindowsModule:
    return WindowsModule(DataSettings([str(s.folder) for s in stores], **data), TrainingSettings())


def test_tasks_are_chosen_and_left_out_by_name(store: Store, sounds: Store) -> None:
    assert list(module(store, sounds).labels) == ["speech_commands", "shape", "level"]
    assert list(module(store, sounds, tasks="level").labels) == ["level"]
    assert list(module(store, sounds, tasks=["level", "speech_commands"]).labels) == [
        "speech_commands",
        "level",
    ]
    assert list(module(store, sounds, leave_out="shape").labels) == ["speech_commands", "level"]
    assert module(sounds, labels={"level": ["low", "high"]}).labels == {
        "shape": ["click", "hiss"],
        "level": ["low", "high"],
    }


def test_a_task_in_two_corpora_has_the_labels_of_both(store: Store, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    rng = np.random.default_rng(0)
    recordings = []
    for number, word in enumerate(("no", "maybe")):
        soundfile.write(tmp_path / "source" / f"{word}.wav", rng.standard_normal(4000) / 9, 16000)
        recordings.append(Recording(f"{word}.wav", SPLITS[number], {"speech_commands": word}))
    tasks = {"speech_commands": ["maybe", "no"]}
    more = prepare(Corpus("more", tmp_path / "source", "given", tasks, recordings), tmp_path / "out")
    both = module(store, more)
    assert both.labels == {"speech_commands": ["no", "stop", "yes", "maybe"]}
    train, valid = both.select("train"), both.select("valid")
    assert Counter(train.labels["speech_commands"].tolist()) == {0: 7, 1: 6, 2: 6}
    assert Counter(valid.labels["speech_commands"].tolist()) == {0: 2, 1: 2, 2: 2, 3: 1}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"tasks": "pitch"}, "data.tasks names the task pitch: there are shape, level"),
        ({"leave_out": ["pitch"]}, "data.leave_out names the task pitch: there are shape, level"),
        ({"leave_out": ["shape", "level"]}, "data.leave_out leaves no task: there are shape, level"),
        (
            {"labels": ["low", "high"]},
            "data.labels lists the labels of one task, but there are shape",
        ),
        ({"labels": {"pitch": ["a", "b"]}}, "data.labels names the task pitch"),
        ({"sampling": {"pitch": 1.0}}, "data.sampling names the task pitch"),
        ({"sampling": {"shape": 0.0, "level": 0.0}}, "data.sampling is 0 for every task"),
    ],
)
def test_unknown_tasks_are_told_in_a_sentence(data: dict[str, Any], sentence: str, sounds: Store) -> None:
    with pytest.raises(UserError, match=sentence):
        module(sounds, **data).shares()


def test_shares_are_uniform_proportional_or_given(store: Store, sounds: Store) -> None:
    assert module(store, sounds).shares() == {"speech_commands": 1, "shape": 1, "level": 1}
    assert module(store, sounds, sampling="proportional").shares() == {
        "speech_commands": 18,
        "shape": 20,
        "level": 16,
    }
    assert module(store, sounds, sampling={"level": 0.5}).shares() == {
        "speech_commands": 1,
        "shape": 1,
        "level": 0.5,
    }


# Validation where the corpus has none


def test_a_share_of_training_validates_where_nothing_else_does(unvalidated: Store) -> None:
    held = module(unvalidated, holdout=0.2)
    train, valid = held.select("train"), held.select("valid")
    assert len(train.recordings) + len(valid.recordings) == 30
    assert 4 <= len(valid.recordings) <= 8
    groups = unvalidated.groups
    assert not set(groups[train.recordings]) & set(groups[valid.recordings])
    assert np.array_equal(module(unvalidated, holdout=0.2).select("valid").recordings, valid.recordings)


def test_a_corpus_with_validation_recordings_keeps_them(sounds: Store) -> None:
    assert len(module(sounds, holdout=0.5).select("valid").recordings) == 10


# Several processes


def test_what_workers_are_sent_does_not_grow_with_the_corpus(
    store: Store, sounds: Store, tmp_path: Path
) -> None:
    noise = Augmentation(AugmentationSettings(noise=str(store.folder)))
    windows = TrainingWindows(every([store, sounds]), 5, 4000, seed=7, augmentation=noise)
    windows[0]  # opens the maps
    sent = pickle.dumps(windows)
    assert len(sent) < 20_000 < store.waveforms.nbytes
    assert pickle.loads(sent)[3]["waveform"].equal(windows[3]["waveform"])


def test_an_open_corpus_takes_no_private_memory(sounds: Store) -> None:
    assert not sounds.waveforms.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        every([sounds]).cut(np.array([0]), np.array([0]), 100)
