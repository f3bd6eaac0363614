"""Accuracy of runs on recordings that are softer or louder than those that they were trained on."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from audiostride.analysis.intervals import Outcomes, compare
from audiostride.analysis.trained import TrainedRun, open_runs, titles
from audiostride.bench.settings import LevelBench
from audiostride.config.run_folder import check_runs
from audiostride.data.datamodule import WindowsModule
from audiostride.training.metrics import RecordingLogits


def bench_level(settings: LevelBench) -> list[dict[str, Any]]:
    """Test runs at several levels. Runs that differ only in their seed count as one recipe.

    Returns:
        One row per recipe, task and level: the number of runs, the mean accuracy in percent, and by how much
        it differs from that at 0 dB, in percentage points with its 95 % confidence interval (see
        `difference_interval`).

    Raises:
        UserError: if no run can be read, or a corpus is missing.
    """
    check_runs(settings.runs)
    runs, _ = open_runs(settings.runs)
    recipes: dict[str, list[TrainedRun]] = {}
    for run, title in zip(runs, titles(runs), strict=True):
        recipes.setdefault(title, []).append(run)
    return [row for title, members in recipes.items() for row in _rows(title, members, settings.levels_db)]


def _rows(title: str, runs: Sequence[TrainedRun], levels_db: Sequence[float]) -> list[dict[str, Any]]:
    tested = {level: [_test(run, level) for run in runs] for level in {0.0, *levels_db}}
    rows = []
    for task in runs[0].classifier.labels:
        unchanged = [outcomes[task] for outcomes in tested[0.0]]
        for level in levels_db:
            outcomes = [one[task] for one in tested[level]]
            change = compare((outcomes, unchanged))
            rows.append(
                {
                    "recipe": title,
                    "task": task,
                    "runs": len(runs),
                    "level_db": level,
                    "accuracy_percent": 100 * mean(float(one.correct.mean()) for one in outcomes),
                    "change_percent": change and change.percent(),
                }
            )
    return rows


@torch.inference_mode()
def _test(run: TrainedRun, level_db: float) -> dict[str, Outcomes]:
    """Return the outcomes of each task on the test recordings, whose level is changed by `level_db`."""
    data = WindowsModule(run.recipe.data, run.recipe.training, labels=run.classifier.labels)
    selection = data.select("test")
    logits = RecordingLogits(len(selection.recordings))
    for batch in data.evaluation_dataloader("test"):
        logits.update(batch, run.classifier(change_level(batch["waveform"], level_db)))
    outcomes = {}
    for task in run.classifier.labels:
        scores, labels = logits.mean(task)
        groups = selection.groups[selection.labels[task] >= 0]
        outcomes[task] = Outcomes(labels.numpy(), scores.argmax(1).numpy(), groups)
    return outcomes


def change_level(waveform: Tensor, level_db: float) -> Tensor:
    """Return int16 waveforms at another level, as a microphone records them: rounded, and clipped if loud.

    Args:
        waveform: (…, samples), int16.
        level_db: change of the level in decibels.
    """
    scaled = waveform.double() * 10 ** (level_db / 20)
    return scaled.round().clamp(-32768, 32767).short()
