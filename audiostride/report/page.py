"""Runs as a page to read, to print and to pass on: one HTML file that needs nothing else."""

import logging
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

import audiostride
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.groups import grouped
from audiostride.analysis.plots import INK, PAPER
from audiostride.analysis.trained import TrainedRun, open_runs, titles
from audiostride.config.arguments import command_line
from audiostride.config.recipe import differences, read_config
from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.report.examine import (
    BATCHES,
    Findings,
    Rows,
    as_text,
    asked,
    find,
    measure,
    settings_tables,
)
from audiostride.report.images import confusions, of_all, of_one
from audiostride.tables import Spread, cell

logger = logging.getLogger(__name__)

# Of the columns of `grouped`, what there is room for.
_COMPARED = ("group", "runs", "layer", "stride", "effective_stride", "pass_band", "stop_band", "unit")


class Group(NamedTuple):
    """Runs of the same recipe, and their accuracy in percent on each task that several were tested on."""

    title: str
    members: list[Findings]
    means: dict[str, Spread]


def write_report(names: Sequence[str], out: Path, split: str = "test", checkpoint: str = "best") -> list[str]:
    """Write a page on runs. What is missing of them is told there and on standard error; the rest is shown.

    Args:
        names: folders of runs.
        out: the file; one that is there is replaced, and its folder made.
        split: "test", "valid" or "train" of the corpora, to test on.
        checkpoint: of the runs, "best" or "last".

    Returns:
        The names of the runs on the page.

    Raises:
        UserError: where no run can be read, or `out` is a folder.
    """
    if out.is_dir():
        raise UserError(f"--out is the folder {out}: give the name of a file, as in {out / 'report.html'}")
    runs, notes = _open(names, checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    for note in notes:
        logger.warning(note)
    found = []
    for number, (run, title) in enumerate(zip(runs, titles(runs), strict=True), 1):
        logger.info(f"[{number}/{len(runs)}] {run.name}: testing on the {split} split")
        found.append(find(run, title, split, checkpoint))
        for note in found[-1].notes:
            logger.warning(note)
    logger.info("measuring speed")
    measure(found)
    logger.info("drawing")
    again = command_line("report", *names, *asked(split, checkpoint), f"--out={out}")
    with replace_when_complete(out) as new:
        # A path may hold bytes that are no text.
        new.write_text(page(found, notes, split, checkpoint, again), encoding="utf-8", errors="replace")
    return [run.name for run in runs]


def _open(names: Sequence[str], checkpoint: str) -> tuple[list[TrainedRun], list[str]]:
    """What can be read of several run folders; `open_runs` would take bare checkpoints as well."""
    readable, failures = [], []
    for name in dict.fromkeys(names):
        try:
            read_config(Path(name))
            readable.append(name)
        except UserError as error:
            failures.append(error)
    if not readable:
        raise failures[0]
    runs, notes = open_runs(readable, checkpoint)
    notes = [f"{error}; left out" for error in failures] + notes
    lengths = [run.recipe.data.window_s for run in runs]
    if len(set(lengths)) > 1:
        notes.append(f"the runs have windows of several lengths: they are compared at {lengths[0]:g} s")
    return runs, notes


def page(found: Sequence[Findings], notes: Sequence[str], split: str, checkpoint: str, again: str) -> str:
    """The HTML of a report.

    Args:
        found: of each run.
        notes: on all of them.
        split: that they were tested on.
        checkpoint: that was tested.
        again: the command that makes the report.
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
        dates=sorted({one.ended for one in found}),
        tasks=list(dict.fromkeys(task for one in found for task in one.run.classifier.labels)),
        notes=[*notes, *(note for one in found for note in one.notes)],
        split=split,
        checkpoint=checkpoint,
        batches=BATCHES,
        comparison=_comparison(found) if len(found) > 1 else None,
        sections=[_section(one, alone=len(found) == 1) for one in found],
        again=again,
        paper=PAPER,
        ink=INK,
    )


def _comparison(found: Sequence[Findings]) -> dict[str, Any]:
    """What the page has of all runs together."""
    frames = found[0].run.recipe.data.frames
    tables = [(one.title, stride_table(one.run.classifier, frames)) for one in found]
    rows = [row for one in found for row in one.accuracies]
    return {
        "groups": groups(found),
        "recordings": {
            task: sorted({row["recordings"] for row in rows if row["task"] == task})
            for one in found
            for task in one.run.classifier.labels
        },
        "differing": _differing(found),
        "images": of_all(found, frames),
        "window_s": found[0].run.recipe.data.window_s,
        "strides": [
            {name: row[name] for name in row if name in _COMPARED} for row in _by_layer(grouped(tables))
        ],
    }


def _section(one: Findings, alone: bool) -> dict[str, Any]:
    """What the page has of one run."""
    images = of_one(one, alone)
    different, settings = settings_tables(one.run.recipe)
    return {
        "found": one,
        "confusions": confusions(one.tested) if one.tested else [],
        "curves": [image for image in images if image.name == "learning_curves"],
        "strides": _by_layer(one.strides),
        "images": [image for image in images if image.name != "learning_curves"],
        "different": different,
        "settings": settings,
    }


def groups(found: Sequence[Findings]) -> list[Group]:
    """Runs by what sets their recipes apart, in the order in which they came."""
    result = []
    for title in dict.fromkeys(one.title for one in found):
        members = [one for one in found if one.title == title]
        accuracies: dict[str, list[float]] = {}
        for row in (row for one in members for row in one.accuracies):
            accuracies.setdefault(row["task"], []).append(row["accuracy_percent"])
        means = {task: Spread.of(values) for task, values in accuracies.items() if len(values) > 1}
        result.append(Group(title, members, means))
    return result


def _by_layer(rows: Rows) -> Rows:
    """Layer and axis in one, to head a row."""
    return [
        {
            name: f"{value} {row['axis']}" if name == "layer" else value
            for name, value in row.items()
            if name != "axis"
        }
        for row in rows
    ]


def _differing(found: Sequence[Findings]) -> Rows:
    """The settings in which the recipes differ: a row per run, or none where they are alike."""
    different = differences([one.run.recipe for one in found])
    return [
        {"run": one.run.name} | {name: as_text(value) for name, value in own.items()}
        for one, own in zip(found, different, strict=True)
        if own
    ]
