"""What a training says about overfitting at its end."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.tiny_run import tiny

from audiostride import Classifier
from audiostride.config.settings import AugmentationSettings, ModelSettings, Recipe, TrainingSettings
from audiostride.corpora.base import Corpus, Recording
from audiostride.data.selection import Selection, select
from audiostride.data.store import Store
from audiostride.prepare.prepare import prepare
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining
from audiostride.training.overfitting import overfitting


@pytest.fixture(scope="module")
def by_heart(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Few recordings to learn by heart: their labels depend on the rhythm in training, on nothing else."""
    folder = tmp_path_factory.mktemp("by_heart")
    rng, recordings = np.random.default_rng(0), []
    (folder / "source").mkdir()
    for number in range(56):
        split = "train" if number < 6 else "valid"
        period = (400, 1600)[number % 2] if split == "train" else rng.choice([400, 1600])
        sound = np.where(np.arange(8000) % period == 100, 0.9, 0.0) + 0.01 * rng.standard_normal(8000)
        soundfile.write(folder / "source" / f"{number}.wav", sound, 16000)
        recordings.append(Recording(f"{number}.wav", split, {"task": "ab"[number % 2]}, str(number)))
    corpus = Corpus("sounds", folder / "source", "given", {"task": ["a", "b"]}, recordings)
    return prepare(corpus, folder / "prepared")


def recipe(store: Store, steps: int) -> Recipe:
    made = tiny(store, steps=steps, validate_every=steps // 2, learning_rate=1e-2)
    made.data.window_s = 0.5
    return made


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_training_says_once_at_its_end_that_it_overfits(
    by_heart: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(recipe(by_heart, 60), tmp_path / "run")
    (sentence,) = [text for text in warnings(caplog) if "overfits" in text]
    assert sentence.startswith("the model overfits: task training 100 %, validation ")
    assert ": try --model.level rms, " in sentence


def test_training_that_generalises_says_nothing(
    sounds: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(tiny(sounds, steps=4), tmp_path / "run")
    assert warnings(caplog) == []


def module_with(
    store: Store, trained: tuple[int, int], right: list[bool]
) -> tuple[ClassifierTraining, Selection]:
    """Return a module that has these numbers of right and of all windows, and the given validation."""
    valid = select(store, "valid", {"task": ["a", "b"]})
    module = ClassifierTraining(
        Classifier({"task": ["a", "b"]}, ModelSettings((4,), ((2, 2),))), TrainingSettings()
    )
    labels = torch.zeros(len(right), dtype=torch.long)
    module.outcomes["task"] = torch.stack([labels, (~torch.tensor(right)).long()], 1)
    module.trained_windows["task"] = torch.tensor(trained)
    return module, valid


@pytest.mark.parametrize(
    ("trained", "right", "overfits"),
    [
        ((1000, 1000), 30, True),  # of 50 recordings
        ((1000, 1000), 40, False),  # 80 %, which may be 90 %
        ((700, 1000), 30, False),
        ((6, 6), 30, False),  # six windows may be chance
        ((100, 1000), 30, False),
    ],
)
def test_only_a_large_and_certain_difference_counts(
    trained: tuple[int, int], right: int, overfits: bool, by_heart: Store
) -> None:
    module, valid = module_with(by_heart, trained, [number < right for number in range(50)])
    assert bool(overfitting(module, valid)) == overfits


def test_few_speakers_are_no_evidence(by_heart: Store) -> None:
    """The same numbers count less if all wrong recordings are those of one speaker."""
    right = [number < 30 for number in range(50)]
    module, valid = module_with(by_heart, (1000, 1000), right)
    assert overfitting(module, valid) is not None
    few = replace(valid)
    few.__dict__["groups"] = np.repeat(np.arange(5, dtype=np.uint64), 10)
    assert overfitting(module, few) is None


def test_what_is_used_already_is_not_recommended(by_heart: Store) -> None:
    module, valid = module_with(by_heart, (1000, 1000), [False] * 50)
    module.augmentation = AugmentationSettings(shift_s=0.1, gain_db=6, noise="x", time_masks=1)
    module.classifier.settings = replace(module.classifier.settings, level="rms")
    sentence = overfitting(module, valid)
    assert sentence is not None
    rest = "fewer channels (--model.channels), or more recordings, of more speakers, instruments or places"
    assert sentence == f"the model overfits: task training 100 %, validation 0 %: try {rest}"
