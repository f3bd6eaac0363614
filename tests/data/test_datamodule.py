"""Tasks, labels and splits of a run's data, and its loaders in several processes."""

import pickle
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
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


def module(*stores: Store, **data: Any) -> WindowsModule:
    return WindowsModule(DataSettings([str(s.folder) for s in stores], **data), TrainingSettings())


def test_corpus_given_twice_reports_a_clear_error(sounds: Store, tmp_path: Path) -> None:
    shutil.copytree(sounds.folder, tmp_path / "copy")
    for second in (str(sounds.folder), str(tmp_path / "copy")):
        with pytest.raises(
            UserError, match=r"data\.corpus has the same recordings in .* and .*: leave one out"
        ):
            WindowsModule(DataSettings([str(sounds.folder), second]), TrainingSettings())


def test_every_device_gets_its_part_of_the_same_batches(store: Store) -> None:
    def numbers(rank: int, world: int, step: int) -> list[int]:
        data = WindowsModule(DataSettings(str(store.folder)), TrainingSettings(steps=6, validate_every=4))
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            accumulate_grad_batches=1, world_size=world, global_step=step, global_rank=rank
        )
        loader = data.train_dataloader()
        assert isinstance(loader.dataset, TrainingWindows)
        assert (loader.dataset.devices, loader.dataset.device) == (world, rank)
        return list(loader.sampler)

    assert numbers(0, 1, 0) == [0, 1, 2, 3]
    assert numbers(0, 1, 4) == [4, 5]
    assert (numbers(0, 2, 0), numbers(1, 2, 0)) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert (numbers(0, 2, 4), numbers(1, 2, 4)) == ([4, 5], [4, 5])


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


def test_task_of_two_corpora_has_the_labels_of_both(store: Store, tmp_path: Path) -> None:
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
    ("data", "message"),
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
def test_unknown_tasks_report_a_clear_error(data: dict[str, Any], message: str, sounds: Store) -> None:
    with pytest.raises(UserError, match=message):
        module(sounds, **data).weights()


def test_weights_are_uniform_proportional_or_given(store: Store, sounds: Store) -> None:
    assert module(store, sounds).weights() == {"speech_commands": 1, "shape": 1, "level": 1}
    assert module(store, sounds, sampling="proportional").weights() == {
        "speech_commands": 18,
        "shape": 20,
        "level": 16,
    }
    assert module(store, sounds, sampling={"level": 0.5}).weights() == {
        "speech_commands": 1,
        "shape": 1,
        "level": 0.5,
    }


def test_recordings_are_held_out_of_training_without_a_validation_split(unvalidated: Store) -> None:
    held = module(unvalidated, holdout=0.2)
    train, valid = held.select("train"), held.select("valid")
    assert len(train.recordings) + len(valid.recordings) == 30
    assert 4 <= len(valid.recordings) <= 8
    groups = unvalidated.groups
    assert not set(groups[train.recordings]) & set(groups[valid.recordings])
    assert np.array_equal(module(unvalidated, holdout=0.2).select("valid").recordings, valid.recordings)


def test_corpus_keeps_its_validation_split(sounds: Store) -> None:
    assert len(module(sounds, holdout=0.5).select("valid").recordings) == 10


def test_pickled_windows_do_not_grow_with_the_corpus(store: Store, sounds: Store, tmp_path: Path) -> None:
    noise = Augmentation(AugmentationSettings(noise=str(store.folder)), 16000)
    windows = TrainingWindows(every([store, sounds]), 5, 4000, seed=7, augmentation=noise)
    windows[0]  # opens the maps
    sent = pickle.dumps(windows)
    assert len(sent) < 20_000 < store.waveforms.nbytes
    assert pickle.loads(sent)[3]["waveform"].equal(windows[3]["waveform"])


def test_per_label_limits_training_alone(store: Store) -> None:
    whole, limited = module(store), module(store, per_label=2)
    assert limited.select("train").labelled("speech_commands") == 3 * 2
    for split in ("valid", "test"):
        assert len(limited.select(split).recordings) == len(whole.select(split).recordings)
    assert len(limited.state_dict()["trained"]) == 3 * 2


def test_per_label_limits_what_is_left_after_holding_out(unvalidated: Store) -> None:
    train, valid = (module(unvalidated, per_label=2).select(split) for split in ("train", "valid"))
    assert np.bincount(train.labels["shape"][train.labels["shape"] >= 0]).tolist() == [2, 2]
    assert not set(train.recordings) & set(valid.recordings)
    assert len(valid.recordings) == len(module(unvalidated).select("valid").recordings)
