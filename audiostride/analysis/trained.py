"""Reading runs, finished or not, and naming how their recipes differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostride.analysis.cutoffs import axis_names
from audiostride.config.differences import differences
from audiostride.config.recipe import recipe_of
from audiostride.config.run_folder import METRICS, checkpoint_path, is_model_folder, read_metrics
from audiostride.config.settings import DataSettings, Recipe
from audiostride.errors import UserError
from audiostride.models.classifier import Classifier
from audiostride.models.loading import read_checkpoint, restore


@dataclass(frozen=True)
class TrainedRun:
    """A trained classifier with its recipe and log.

    Attributes:
        name: path of the run folder, checkpoint file or model folder, as given.
        classifier: the classifier in evaluation mode, on the CPU.
        recipe: the recipe of the run. If it is not known, only the settings of the frontend and the network
            and the length of the windows are right.
        recipe_known: whether the whole recipe is known.
        log: the lines of metrics.jsonl, with step, seconds, metrics and strides of each validation; and with
            frontend_strides, if the frontend learns its resolution.
        notes: sentences that readers of the results should know.
    """

    name: str
    classifier: Classifier
    recipe: Recipe
    log: list[dict[str, Any]]
    notes: list[str]
    recipe_known: bool = True

    @property
    def tasks(self) -> str:
        """Names of the tasks, separated by commas."""
        return ", ".join(self.classifier.labels)


def open_run(name: str, checkpoint: str = "best") -> TrainedRun:
    """Read a run folder, a checkpoint file or a model folder.

    Raises:
        UserError: if there is no model, or it cannot be read.
    """
    path = checkpoint_path(Path(name), checkpoint)
    saved = read_checkpoint(path)
    classifier = restore(saved, path)
    recipe = recipe_of(Path(name), saved)
    if recipe is None:
        data = DataSettings(window_s=classifier.window_s)
        known = Recipe(model=classifier.settings, data=data, frontend=classifier.frontend_settings)
        return TrainedRun(name, classifier, known, [], [], False)
    if is_model_folder(path):
        return TrainedRun(name, classifier, recipe, [], [])
    folder = Path(name) if Path(name).is_dir() else Path(name).parent.parent
    entries = read_metrics(folder / METRICS)
    log = [entry for entry in entries if len(entry["strides"]) == len(classifier.trunk.initial_strides)]
    notes = []
    if len(log) < len(entries):
        notes.append(f"{name}: {METRICS} has entries of another network; left out")
    if not log:
        notes.append(f"{name} has no log ({METRICS} is missing or empty): its training is not shown")
    elif log[-1]["step"] < recipe.training.steps:
        notes.append(
            f"{name} is at step {log[-1]['step']} of {recipe.training.steps}: "
            f"its present {checkpoint} checkpoint is shown"
        )
    if classifier.trunk.downsampling != "diffstride" and classifier.frontend.strides is None:
        notes.append(f"{name} learns no strides, its downsampling is {classifier.trunk.downsampling}")
    return TrainedRun(name, classifier, recipe, log, notes)


def open_runs(names: Sequence[str], checkpoint: str = "best") -> tuple[list[TrainedRun], list[str]]:
    """Read several runs, and leave out those that cannot be read.

    Returns:
        The runs; and a sentence for each run that cannot be read, followed by the notes of the others.

    Raises:
        UserError: if no run can be read, or if some take sound and others images.
    """
    runs, failures = [], []
    for name in names:
        try:
            runs.append(open_run(name, checkpoint))
        except UserError as error:
            failures.append(error)
    if not runs:
        raise failures[0]
    _check_same_input(runs)
    notes = [f"{error}; left out" for error in failures]
    notes += [note for run in runs for note in run.notes]
    depths = {len(run.classifier.trunk.initial_strides) for run in runs}
    if len(depths) > 1:
        numbers = " and ".join(map(str, sorted(depths)))
        notes.append(f"the runs differ in depth ({numbers} layers): layers are compared by their number")
    return runs, notes


def _check_same_input(runs: Sequence[TrainedRun]) -> None:
    """Raise `UserError` if runs have features with different axes."""
    first = runs[0].classifier.frontend
    for run in runs:
        frontend = run.classifier.frontend
        if axis_names(frontend) != axis_names(first):
            raise UserError(
                f"{runs[0].name} takes {first.takes}, but {run.name} takes {frontend.takes}: compare runs "
                "of one kind"
            )


def axes_of(runs: Sequence[TrainedRun]) -> tuple[str, str]:
    """Return the names of both axes of the features, which are the same for all runs of `open_runs`."""
    return axis_names(runs[0].classifier.frontend)


def by_group(runs: Sequence[TrainedRun], names: Sequence[str]) -> dict[str, list[TrainedRun]]:
    """Return the runs of each group, by the group of each run."""
    groups: dict[str, list[TrainedRun]] = {name: [] for name in names}
    for run, name in zip(runs, names, strict=True):
        groups[name].append(run)
    return groups


def titles(runs: Sequence[TrainedRun]) -> list[str]:
    """Return the settings that distinguish each run's recipe from the others, apart from seeds.

    A title is for example "smoothness 4, downsampling diffstride" or "frontend leaf, frontend hop_ms 5". If
    nothing differs, it is the tasks.
    """
    several_tasks = len({run.tasks for run in runs}) > 1
    result = []
    for run, different in zip(runs, differences([run.recipe for run in runs]), strict=True):
        words = [run.tasks] if several_tasks else []
        words += [f"{_short_name(name)} {_short(value)}" for name, value in different.items()]
        result.append(", ".join(words) or run.tasks)
    return result


def _short_name(name: str) -> str:
    """Return the name of a setting without its group, unless that is the frontend's."""
    group, _, last = name.rpartition(".")
    if group != "frontend":
        return last
    return group if last == "kind" else f"{group} {last}"


def _short(value: Any) -> str:
    """Return a setting as short text, for example "2×3" for (2.0, 3.0)."""
    if value is None:
        return "default"
    if isinstance(value, list | tuple):
        paired = len(value) == 2 and all(isinstance(item, int | float) for item in value)
        return ("×" if paired else " ").join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
