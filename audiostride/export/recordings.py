"""Recordings of the corpora that a run was trained on, if they are at hand, to check exports."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audiostride.config.recipe import recipe_of
from audiostride.data.datamodule import WindowsModule
from audiostride.data.windows import EvaluationWindows
from audiostride.errors import UserError
from audiostride.export.check import Runner
from audiostride.training.metrics import RecordingLogits, accuracy

# A recording that an export is checked on is cut off after this many seconds.
_LONGEST_S = 10
_CALIBRATION_BATCH = 32


def open_corpora(model: str, saved: Mapping[str, Any]) -> WindowsModule | None:
    """Open the corpora that a model was trained on, or return None if they are not known or not at hand.

    Args:
        model: a run folder, a checkpoint file or a model folder.
        saved: its content, see `read_checkpoint`.
    """
    recipe = recipe_of(Path(model), saved)
    if recipe is None:
        return None
    try:
        data = WindowsModule(recipe.data, recipe.training, labels=saved["classifier"]["labels"])
    except (UserError, OSError):
        return None
    return None if data.changed_corpora(saved) else data


def some_recordings(data: WindowsModule, split: str, count: int = 16) -> list[Tensor]:
    """Return the beginnings of recordings (samples,) evenly from a split, float32 in [−1, 1]."""
    selection = data.select(split)
    longest = _LONGEST_S * data.sample_rate
    sounds = []
    for recording in evenly(len(selection.recordings), count):
        length = int(min(longest, selection.lengths[recording]))
        batch = selection.cut(np.array([recording]), np.zeros(1, np.int64), length)
        sounds.append(batch["waveform"][0].float() / 32768)
    return sounds


def calibration_batches(data: WindowsModule, samples: int | None, count: int = 256) -> list[Tensor]:
    """Return batches (batch, samples) of windows evenly from the training split, float32 in [−1, 1].

    Args:
        data: the corpora.
        samples: length of the windows, by default that of training.
        count: number of windows.
    """
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


def accuracies(
    data: WindowsModule, tasks: list[str], model: Runner, samples: int | None = None, int16: bool = False
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
    windows = EvaluationWindows(selection, 64, samples or data.window)
    logits = RecordingLogits(len(selection.recordings))
    for number in range(len(windows)):
        batch = windows[number]
        outputs = model(batch["waveform"] if int16 else batch["waveform"].float() / 32768)
        logits.update(batch, dict(zip(tasks, outputs, strict=False)))
    labelled = {task: logits.mean(task) for task in tasks if selection.labelled(task)}
    return {task: 100 * accuracy(*pair).item() for task, pair in labelled.items()}
