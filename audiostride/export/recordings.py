"""Recordings or images that a run was trained on, if they are at hand, to check exports."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiostride.config.recipe import recipe_of
from audiostride.data.datamodule import CorpusModule, WindowsModule
from audiostride.data.selection import Batch
from audiostride.data.windows import EvaluationWindows
from audiostride.errors import UserError
from audiostride.export.check import Runner
from audiostride.training.inputs import open_data
from audiostride.training.metrics import RecordingLogits, accuracy

# A recording that an export is checked on is cut off after this many seconds.
_LONGEST_S = 10
_CALIBRATION_BATCH = 32
# What the largest number of a type stands for.
_FULL_SCALE = {torch.int16: 32768, torch.uint8: 255}


def open_corpora(model: str, saved: Mapping[str, Any]) -> CorpusModule | None:
    """Open the corpora that a model was trained on, or return None if they are not known or not at hand.

    Args:
        model: a run folder, a checkpoint file or a model folder.
        saved: its content, see `read_checkpoint`.
    """
    recipe = recipe_of(Path(model), saved)
    if recipe is None:
        return None
    try:
        data = open_data(recipe.data, recipe.training, recipe.frontend, labels=saved["classifier"]["labels"])
    except (UserError, OSError):
        return None
    return None if data.changed_corpora(saved) else data


def some_recordings(data: CorpusModule, split: str, count: int = 16) -> list[Tensor]:
    """Return the beginnings of recordings (samples,) evenly from a split, float32 in [−1, 1]; or images."""
    if not isinstance(data, WindowsModule):
        return list(_images(data, split, count))
    selection = data.select(split)
    longest = _LONGEST_S * data.sample_rate
    sounds = []
    for recording in evenly(len(selection.recordings), count):
        length = int(min(longest, selection.lengths[recording]))
        batch = selection.cut(np.array([recording]), np.zeros(1, np.int64), length)
        sounds.append(batch["waveform"][0].float() / 32768)
    return sounds


def _images(data: CorpusModule, split: str, count: int) -> Tensor:
    """Return images evenly from a split, float32 in [0, 1]."""
    from audiostride.images.datamodule import ImagesModule

    assert isinstance(data, ImagesModule)
    return data.images(split, evenly(len(data.select(split).recordings), count))


def calibration_batches(data: CorpusModule, samples: int | None, count: int = 256) -> list[Tensor]:
    """Return batches (batch, samples) of windows evenly from the training split, float32 in [−1, 1]; or of
    images.

    Args:
        data: the corpora.
        samples: length of the windows, by default that of training.
        count: number of windows.
    """
    if not isinstance(data, WindowsModule):
        return list(_images(data, "train", count).split(_CALIBRATION_BATCH))
    windows = EvaluationWindows(data.select("train"), 1, samples or data.window)
    chosen = evenly(len(windows), count)
    batch = windows.selection.cut(windows.chosen[chosen], windows.begins[chosen], windows.window)
    return list((batch["waveform"].float() / 32768).split(_CALIBRATION_BATCH))


def evenly(total: int, count: int) -> NDArray[np.int64]:
    """Return up to `count` indices below `total`, evenly spread."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)


def windows_of_tests(data: WindowsModule, samples: int) -> Iterator[Tensor]:
    """Yield batches (batch, samples) of all windows of the test recordings, float32 in [−1, 1]."""
    windows = EvaluationWindows(data.select("test"), 64, samples)
    for number in range(len(windows)):
        yield windows[number]["waveform"].float() / 32768


def _test_batches(data: CorpusModule, samples: int | None) -> Iterator[Batch]:
    """Yield all windows of the test recordings, or all test images."""
    if isinstance(data, WindowsModule):
        windows = EvaluationWindows(data.select("test"), 64, samples or data.window)
        yield from (windows[number] for number in range(len(windows)))
    else:
        yield from data.evaluation_dataloader("test")


def accuracies(
    data: CorpusModule, tasks: list[str], model: Runner, samples: int | None = None, int16: bool = False
) -> dict[str, float]:
    """Return the accuracy in percent of a model in each task that has test recordings.

    It is measured as by `audiostride test`: logits averaged over the windows of each recording.

    Args:
        data: the corpora.
        tasks: tasks of the model, in the order of its outputs.
        model: the model.
        samples: length of the windows, by default that of training.
        int16: whether the model takes int16 samples.
    """
    selection = data.select("test")
    logits = RecordingLogits(len(selection.recordings))
    for batch in _test_batches(data, samples):
        x = batch["waveform"]
        outputs = model(x if int16 else x.float() / _FULL_SCALE[x.dtype])
        logits.update(batch, dict(zip(tasks, outputs, strict=False)))
    labelled = {task: logits.mean(task) for task in tasks if selection.labelled(task)}
    return {task: 100 * accuracy(*pair).item() for task, pair in labelled.items()}
