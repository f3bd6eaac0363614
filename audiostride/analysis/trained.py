"""Runs as they lie on disk, finished or not, and what sets them apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostride.config.recipe import differences, read_config
from audiostride.config.run_folder import CONFIG, METRICS, read_metrics
from audiostride.config.settings import Recipe
from audiostride.errors import UserError
from audiostride.models.classifier import Classifier, load


@dataclass(frozen=True)
class TrainedRun:
    """A trained model with what led to it.

    Attributes:
        name: the folder or file as it was given.
        classifier: in evaluation mode, on the CPU.
        recipe: what it was trained with; of a checkpoint file away from its run only the model is known.
        log: lines of metrics.jsonl: step, seconds, metrics and strides of each validation.
        notes: what someone who reads its results should know, a sentence each.
    """

    name: str
    classifier: Classifier
    recipe: Recipe
    log: list[dict[str, Any]]
    notes: list[str]

    @property
    def tasks(self) -> str:
        return ", ".join(self.classifier.labels)


def open_run(name: str, checkpoint: str = "best") -> TrainedRun:
    """Read a run folder, or a checkpoint file.

    Raises:
        UserError: where there is no checkpoint, or one that cannot be read.
    """
    classifier = load(name, checkpoint)
    folder = Path(name) if Path(name).is_dir() else Path(name).parent.parent
    if not (folder / CONFIG).is_file():
        return TrainedRun(name, classifier, Recipe(model=classifier.settings), [], [])
    recipe, log = read_config(folder), read_metrics(folder / METRICS)
    notes = []
    if not log:
        notes.append(f"{name} has no log ({METRICS} is missing or empty): its course is not shown")
    elif log[-1]["step"] < recipe.training.steps:
        notes.append(
            f"{name} is at step {log[-1]['step']} of {recipe.training.steps}: shown as it is now, "
            f"at its {checkpoint} checkpoint"
        )
    if classifier.trunk.downsampling != "diffstride":
        notes.append(f"{name} learns no strides, its downsampling is {classifier.trunk.downsampling}")
    return TrainedRun(name, classifier, recipe, log, notes)


def open_runs(names: Sequence[str], checkpoint: str = "best") -> tuple[list[TrainedRun], list[str]]:
    """Read what can be read of several runs.

    Returns:
        The runs, and a sentence for each that cannot be read, followed by the notes of the others.

    Raises:
        UserError: where none can be read.
    """
    runs, failures = [], []
    for name in names:
        try:
            runs.append(open_run(name, checkpoint))
        except UserError as error:
            failures.append(error)
    if not runs:
        raise failures[0]
    notes = [f"{error}; left out" for error in failures]
    notes += [note for run in runs for note in run.notes]
    depths = {len(run.classifier.settings.channels) for run in runs}
    if len(depths) > 1:
        numbers = " and ".join(map(str, sorted(depths)))
        notes.append(f"the runs differ in depth ({numbers} layers): layers are compared by their number")
    return runs, notes


def titles(runs: Sequence[TrainedRun]) -> list[str]:
    """Of each run what sets it apart from the others, seeds aside; the tasks where nothing does.

    "smoothness 4, downsampling diffstride"
    """
    several_tasks = len({run.tasks for run in runs}) > 1
    result = []
    for run, different in zip(runs, differences([run.recipe for run in runs]), strict=True):
        words = [run.tasks] if several_tasks else []
        words += [f"{name.rpartition('.')[2]} {_plain(value)}" for name, value in different.items()]
        result.append(", ".join(words) or run.tasks)
    return result


def _plain(value: Any) -> str:
    """(2.0, 3.0) as 2×3, nothing longer than it need be."""
    if value is None:
        return "default"
    if isinstance(value, list | tuple):
        paired = len(value) == 2 and all(isinstance(item, int | float) for item in value)
        return ("×" if paired else " ").join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
