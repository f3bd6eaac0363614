"""The results of a study: tests of its runs, and tables of means and standard deviations."""

import json
import logging
from collections.abc import Sequence
from typing import Any

import torch

from audiostride.allocator import keep_freed_memory
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.groups import group_means
from audiostride.analysis.intervals import Outcomes, compare
from audiostride.analysis.resolution import learns_resolution, resolution
from audiostride.analysis.summary import summarise_classifier
from audiostride.errors import UserError
from audiostride.frontends.frontend import SoundFrontend
from audiostride.models.loading import load
from audiostride.studies.kept_tests import Results, results_of
from audiostride.studies.plan import SEED, Run, Study, Table
from audiostride.studies.train_all import readable
from audiostride.tables import Format, Interval, Spread, render, titled
from audiostride.timing import in_turns, inference, training_step

logger = logging.getLogger(__name__)

Rows = list[dict[str, Any]]
# The runs to average for each row of a table, with the values of the axes that identify the row.
Groups = Sequence[tuple[dict[str, str], list[Run]]]


def tables(study: Study, runs: Sequence[Run], timed: bool = False) -> dict[str, Rows]:
    """Return the rows of each of a study's tables by title, over the runs that are done.

    Runs that are tested for the first time keep their results in their folders. Runs that are left out are
    reported by warnings.

    Args:
        study: the study.
        runs: its runs, see `expand`.
        timed: measure the trained networks side by side, for the columns training_ms and inference_ms: for a
            batch of 32 windows in float32, medians of five.

    Raises:
        UserError: if no table has anything to show.
    """
    done = _finished(runs)
    needs_tests = any(table.show == "accuracy" for table in study.tables)
    tests = _tests(done) if needs_tests else {}
    with_tests = [run for run in done if run.name in tests]
    times = _times(with_tests) if timed else {}
    result = {}
    for table in study.tables:
        if table.show == "accuracy":
            groups = _groups(study, table, with_tests)
            averaged = [axis for axis in table.over or () if axis != SEED]
            rows = _accuracy_rows(groups, tests, times, _rival(study, table), averaged)
        else:
            rows = _stride_rows(_groups(study, table, done), table)
        if rows:
            result[table.title] = rows
        else:
            logger.warning(f"nothing to show in the table {table.title}; left out")
    if not result:
        raise UserError(
            f"{study.file} has nothing to show yet: train it with audiostride study, or see the notes above"
        )
    return result


def show(made: dict[str, Rows], format: Format, wide: bool = False) -> str:
    """Return tables as text, see `render`.

    Titles are above the tables in "table", "markdown" and "latex". JSON is one object with the tables by
    title. In CSV an empty line separates the tables.
    """
    if format == "json":
        parsed = {title: json.loads(render(rows, "json")) for title, rows in made.items()}
        return json.dumps(parsed, indent=2, ensure_ascii=False)
    return "\n\n".join(titled(title, render(rows, format, wide), format) for title, rows in made.items())


def _finished(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that have all their steps, and warn about the others."""
    finished, missing = [], []
    for run, step in readable(runs):
        if step >= run.steps:
            finished.append(run)
        elif step:
            logger.warning(f"{run.name} is at step {step} of {run.steps}; left out")
        else:
            missing.append(run.name)
    if missing:
        logger.warning(f"not trained yet: {', '.join(missing)}; left out")
    return finished


def _tests(runs: Sequence[Run]) -> dict[str, Results]:
    """Return the test results of runs by name, and warn about those that cannot be tested."""
    tests = {}
    for run in runs:
        try:
            tests[run.name] = results_of(run.folder)
        except UserError as error:
            logger.warning(f"{error}; left out")
    return tests


def _times(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Return milliseconds of a training step and of inference by the name of each run."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    classifiers = {run.name: load(run.folder) for run in runs}
    networks = {name: classifier.trunk.to(device) for name, classifier in classifiers.items()}
    x = {
        name: torch.randn(32, classifier.frontend.images, *classifier.input_size()).to(device)
        for name, classifier in classifiers.items()
    }
    logger.info(f"measuring {len(networks)} networks")
    keep_freed_memory()
    inference_ms = in_turns({name: inference(network, x[name]) for name, network in networks.items()}, 5)
    steps = {name: training_step(network.train(), x[name]) for name, network in networks.items()}
    training_ms = in_turns(steps, 5)
    return {name: {"training_ms": training_ms[name], "inference_ms": inference_ms[name]} for name in networks}


def _groups(study: Study, table: Table, runs: Sequence[Run]) -> Groups:
    """Group the runs that a table shows by the axes that it does not average over."""
    axes = table.axes(study.grid)
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in filter(table.includes, runs):
        groups.setdefault(tuple(run.values[axis] for axis in axes), []).append(run)
    columns = _column_names(axes)
    return [(dict(zip(columns, values, strict=True)), members) for values, members in groups.items()]


def _column_names(axes: Sequence[str]) -> list[str]:
    """Return the axes without their groups of settings, unless two would have the same name."""
    short = [axis.rpartition(".")[2] for axis in axes]
    return [name if short.count(name) == 1 else axis for name, axis in zip(short, axes, strict=True)]


def _rival(study: Study, table: Table) -> dict[str, str]:
    """Return the values of the group that a table compares others with, by column."""
    axes = table.axes(study.grid)
    names = dict(zip(axes, _column_names(axes), strict=True))
    return {names[axis]: str(value) for axis, value in table.against.items()}


def _others(groups: Groups, values: dict[str, str], rival: dict[str, str]) -> list[Run]:
    """Return the runs to compare a group with: those that differ by `rival` only, or the first group's."""
    if not rival:
        return groups[0][1]
    return next((runs for others, runs in groups if others == values | rival), [])


def _accuracy_rows(
    groups: Groups,
    tests: dict[str, Results],
    times: dict[str, dict[str, float]],
    rival: dict[str, str],
    averaged: Sequence[str],
) -> Rows:
    """Return one row per group and task: accuracy, million multiply-accumulates for one window, and times.

    If there are several groups, each row also has its accuracy minus that of the group with the values of
    `rival`, or that of the first group, with the runs of both compared for each combination of values of the
    axes `averaged`. If a frontend learns its resolution, rows have the hop in
    milliseconds and the number of mel channels.
    """
    models = {run.name: _describe(run) for _, runs in groups for run in runs}
    columns_of_model = ["mega_macs", "mega_macs_with_frontend"]
    if any(model["learned"] for model in models.values()):
        columns_of_model += ["hop_ms", "mel_channels"]
    result = []
    for values, runs in groups:
        others = _others(groups, values, rival)
        measured = [times[run.name] for run in runs if times]
        timing = {column: Spread.of(ms[column] for ms in measured) for column in (measured or [{}])[0]}
        for task, accuracies in _accuracies(runs, tests).items():
            columns = {
                "task": task,
                "runs": len(accuracies),
                "accuracy_percent": Spread.of(accuracies.values()),
            }
            if len(groups) > 1:
                columns["difference_percent"] = _difference(task, runs, others, tests, averaged)
            for column in columns_of_model:
                columns[column] = Spread.of(models[name][column] for name in accuracies)
            result.append(_join(values, columns | timing))
    return result


def _accuracies(runs: Sequence[Run], tests: dict[str, Results]) -> dict[str, dict[str, float]]:
    """Return accuracies in percent by task and name of the run."""
    accuracies: dict[str, dict[str, float]] = {}
    for run in runs:
        for row in tests[run.name].rows:
            accuracies.setdefault(row["task"], {})[run.name] = row["accuracy_percent"]
    return accuracies


def _difference(
    task: str,
    runs: Sequence[Run],
    others: Sequence[Run],
    tests: dict[str, Results],
    averaged: Sequence[str],
) -> Interval | None:
    """Return the accuracy of runs minus that of others, in percent; None for those themselves.

    Values of the axes `averaged` that one side has no run of are left out, because it would not be compared
    with its like.
    """
    if runs is others:
        return None
    predicted, compared = (_predicted(task, side, tests, averaged) for side in (runs, others))
    conditions = [(predicted[values], compared[values]) for values in predicted if values in compared]
    difference = compare(*conditions) if conditions else None
    return difference and difference.percent()


def _predicted(
    task: str, runs: Sequence[Run], tests: dict[str, Results], axes: Sequence[str]
) -> dict[tuple[str, ...], list[Outcomes]]:
    """Return what runs predicted for a task, by the values of some axes."""
    found: dict[tuple[str, ...], list[Outcomes]] = {}
    for run in runs:
        if task in (predicted := tests[run.name].predicted):
            found.setdefault(tuple(run.values[axis] for axis in axes), []).append(predicted[task])
    return found


def _describe(run: Run) -> dict[str, Any]:
    """Return the cost of a run's model, the resolution of its frontend, and whether that is learned."""
    classifier = load(run.folder)
    macs = {row["layer"]: row["mega_macs"] for row in summarise_classifier(classifier)}
    described: dict[str, Any] = {
        "mega_macs": macs["all"],
        "mega_macs_with_frontend": macs["frontend and all"],
        "learned": learns_resolution(classifier.frontend),
    }
    if isinstance(classifier.frontend, SoundFrontend):
        resolved = resolution(classifier.frontend, classifier.window_s)
        described |= {name: resolved[name] for name in ("hop_ms", "mel_channels")}
    return described


def _stride_rows(groups: Groups, table: Table) -> Rows:
    """Return one row per group, layer and axis, see `stride_table`."""
    result = []
    for values, runs in groups:
        classifiers = [load(run.folder) for run in runs]
        strides = [("", stride_table(one, table.frames)) for one in classifiers]
        rows = [row for row in group_means(strides) if table.layers is None or row["layer"] in table.layers]
        result += [_join(values, {name: row[name] for name in row if name != "group"}) for row in rows]
    return result


def _join(values: dict[str, str], columns: dict[str, Any]) -> dict[str, Any]:
    """Put a group's values before its results. An axis with the name of a result gets a prefix."""
    named = {f"grid_{axis}" if axis in columns else axis: value for axis, value in values.items()}
    return named | columns
