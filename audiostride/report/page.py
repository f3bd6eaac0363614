"""The report: several runs as one HTML file that needs no other files."""

import logging
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

import audiostride
from audiostride.analysis.figures import BACKGROUND, INK
from audiostride.analysis.groups import group_means
from audiostride.analysis.intervals import compare
from audiostride.analysis.resolution import column_per_group, resolution_means
from audiostride.analysis.strided_layers import FRONTEND
from audiostride.analysis.trained import TrainedRun, open_runs, titles
from audiostride.config.arguments import command_line
from audiostride.config.differences import differences
from audiostride.config.recipe import check_trained
from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.frontends.frontend import SoundFrontend
from audiostride.report.examine import (
    BATCHES,
    Examination,
    examine,
    measure_speed,
    setting_text,
    settings_tables,
)
from audiostride.report.images import comparison_images, confusion_images, group_names, run_images
from audiostride.report.mistakes import SECONDS, details
from audiostride.report.words import words_for
from audiostride.tables import Interval, Spread, cell
from audiostride.training.provenance import Rows, non_default_options

# The sounds of mistakes are embedded if there are at most so many runs × tasks; more would make a huge page.
_MOST_WITH_SOUND = 10

logger = logging.getLogger(__name__)

# The columns of `group_means` that fit into the table of the comparison.
_COMPARED = ("group", "runs", "layer", "stride", "effective_stride", "pass_band", "stop_band", "unit")


class Group(NamedTuple):
    """The runs of one recipe.

    Attributes:
        title: how the recipe differs from the others.
        members: its runs.
        means: accuracy in percent by task, for tasks that at least two of the runs were tested on.
        differences: accuracy in percent minus that of the first group by task, see `difference_interval`, for
            tasks that all runs of both groups were tested on with the same recordings.
    """

    title: str
    members: list[Examination]
    means: dict[str, Spread]
    differences: dict[str, Interval]


def write_report(names: Sequence[str], out: Path, split: str = "test", checkpoint: str = "best") -> list[str]:
    """Test runs and write a page about them. If a part of a run is missing, the page and a warning say so.

    Args:
        names: run folders, checkpoint files or model folders.
        out: the HTML file. It is replaced if it exists, and its folder is made if it does not exist.
        split: split of the corpora to test on, "test", "valid" or "train".
        checkpoint: checkpoint of the runs, "best" or "last".

    Returns:
        The names of the runs on the page.

    Raises:
        UserError: if no run can be read, or `out` is a folder.
    """
    if out.is_dir():
        raise UserError(f"--out is the folder {out}: give the name of a file, as in {out / 'report.html'}")
    runs, notes = _open(names, checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    for note in notes:
        logger.warning(note)
    examined = []
    for number, (run, title) in enumerate(zip(runs, titles(runs), strict=True), 1):
        logger.info(f"[{number}/{len(runs)}] {run.name}: testing on the {split} split")
        examined.append(examine(run, title, split, checkpoint))
        for note in examined[-1].notes:
            logger.warning(note)
    logger.info("measuring speed")
    measure_speed(examined)
    logger.info("drawing")
    command = command_line("report", *names, *non_default_options(split, checkpoint), f"--out={out}")
    with replace_when_complete(out) as new:
        # The name of a file need not be valid Unicode.
        new.write_text(page(examined, notes, split, checkpoint, command), encoding="utf-8", errors="replace")
    return [run.name for run in runs]


def _open(names: Sequence[str], checkpoint: str) -> tuple[list[TrainedRun], list[str]]:
    """Read all runs that can be read."""
    readable, failures = [], []
    for name in dict.fromkeys(names):
        try:
            check_trained(Path(name))
            readable.append(name)
        except UserError as error:
            failures.append(error)
    if not readable:
        raise failures[0]
    runs, notes = open_runs(readable, checkpoint)
    notes = [f"{error}; left out" for error in failures] + notes
    if len({run.recipe.data.window_s for run in runs}) > 1:
        notes.append("the runs have windows of several lengths: each is shown for windows of its own length")
    return runs, notes


def page(
    examined: Sequence[Examination], notes: Sequence[str], split: str, checkpoint: str, command: str
) -> str:
    """Return the HTML of a report.

    Args:
        examined: the runs.
        notes: notes on all runs together.
        split: split that the runs were tested on.
        checkpoint: checkpoint that was tested.
        command: command that makes this report.
    """
    environment = Environment(
        loader=PackageLoader("audiostride", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = cell
    return environment.get_template("template.html").render(
        version=audiostride.__version__,
        torch_version=torch.__version__,
        threads=torch.get_num_threads(),
        made=date.today(),
        dates=sorted({one.written for one in examined}),
        tasks=list(dict.fromkeys(task for one in examined for task in one.run.classifier.labels)),
        notes=[*notes, *(note for one in examined for note in one.notes)],
        split=split,
        checkpoint=checkpoint,
        batches=BATCHES,
        words=words_for(examined[0].run.classifier.frontend),
        comparison=_comparison(examined) if len(examined) > 1 else None,
        sections=[_section(one, len(examined) == 1, _with_sound(examined)) for one in examined],
        mistake_s=SECONDS,
        command=command,
        background=BACKGROUND,
        ink=INK,
    )


def _comparison(examined: Sequence[Examination]) -> dict[str, Any]:
    """Return the content of the section that compares all runs."""
    strides = group_means([(one.title, one.strides) for one in examined])
    names = group_names(examined)
    resolutions = [(name, one.resolution) for name, one in zip(names, examined, strict=True)]
    rows = [row for one in examined for row in one.accuracies]
    words = words_for(examined[0].run.classifier.frontend)
    return {
        "groups": group_by_recipe(examined),
        "recordings": {
            task: sorted({row[words.examples] for row in rows if row["task"] == task})
            for one in examined
            for task in one.run.classifier.labels
        },
        "differing": _different_settings(examined),
        "images": comparison_images(examined),
        "strides": [{name: row[name] for name in row if name in _COMPARED} for row in _by_layer(strides)],
        "resolution": column_per_group(resolution_means(resolutions)),
    }


def _with_sound(examined: Sequence[Examination]) -> bool:
    of_sound = isinstance(examined[0].run.classifier.frontend, SoundFrontend)
    return of_sound and sum(len(one.accuracies) for one in examined) <= _MOST_WITH_SOUND


def _section(one: Examination, alone: bool, with_sound: bool) -> dict[str, Any]:
    """Return the content of the section about one run."""
    images = run_images(one, alone)
    different, settings = settings_tables(one.run.recipe) if one.run.recipe_known else ([], [])
    predictions = one.evaluation.predictions if one.evaluation else []
    noun = words_for(one.run.classifier.frontend).examples
    return {
        "examined": one,
        "confusions": confusion_images(one.evaluation) if one.evaluation else [],
        "details": [details(of_task, with_sound, noun) for of_task in predictions],
        "curves": [image for image in images if image.name == "learning_curves"],
        "strides": _by_layer(one.strides),
        "cost": [image for image in images if image.name == "cost"],
        "images": [image for image in images if image.name not in ("learning_curves", "cost")],
        "different": different,
        "settings": settings,
    }


def group_by_recipe(examined: Sequence[Examination]) -> list[Group]:
    """Group runs by their titles, in order of first appearance."""
    by_title: dict[str, list[Examination]] = {}
    for one in examined:
        by_title.setdefault(one.title, []).append(one)
    first = next(iter(by_title.values()))
    return [
        Group(title, members, _means(members), _differences(members, first) if members is not first else {})
        for title, members in by_title.items()
    ]


def _means(members: Sequence[Examination]) -> dict[str, Spread]:
    accuracies: dict[str, list[float]] = {}
    for row in (row for one in members for row in one.accuracies):
        accuracies.setdefault(row["task"], []).append(row["accuracy_percent"])
    return {task: Spread.of(values) for task, values in accuracies.items() if len(values) > 1}


def _differences(members: Sequence[Examination], first: Sequence[Examination]) -> dict[str, Interval]:
    evaluations = [one.evaluation for one in (*members, *first) if one.evaluation]
    if len(evaluations) < len(members) + len(first):
        return {}
    differences = {}
    for task in evaluations[0].predicted:
        if all(task in evaluation.predicted for evaluation in evaluations):
            predicted = [evaluation.predicted[task] for evaluation in evaluations]
            difference = compare((predicted[: len(members)], predicted[len(members) :]))
            if difference:
                differences[task] = difference.percent()
    return differences


def _by_layer(rows: Rows) -> Rows:
    """Join layer and axis into one column, the head of each row."""
    return [
        {
            name: f"{'frontend' if value == FRONTEND else value} {row['axis']}" if name == "layer" else value
            for name, value in row.items()
            if name != "axis"
        }
        for row in rows
    ]


def _different_settings(examined: Sequence[Examination]) -> Rows:
    """Return a row per run with the settings in which the recipes differ, or no rows if they are equal."""
    different = differences([one.run.recipe for one in examined])
    return [
        {"run": one.run.name} | {name: setting_text(value) for name, value in settings.items()}
        for one, settings in zip(examined, different, strict=True)
        if settings
    ]
