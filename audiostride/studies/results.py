"""What came out of a study: its runs tested, and tables of means and standard deviations."""

import json
import logging
from collections.abc import Sequence
from typing import Any

import torch

from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.groups import grouped
from audiostride.analysis.summary import summary
from audiostride.config.run_folder import TEST, checkpoint_path
from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.models.classifier import load
from audiostride.studies.plan import Run, Study, Table
from audiostride.studies.train_all import readable
from audiostride.tables import Format, Spread, render
from audiostride.timing import in_turns, inference, training_step
from audiostride.training.evaluate import evaluate

logger = logging.getLogger(__name__)

Rows = list[dict[str, Any]]
# What sets the rows of a table apart, by short names of the axes, and the runs to average for each.
Groups = Sequence[tuple[dict[str, str], list[Run]]]


def tables(study: Study, runs: Sequence[Run], timed: bool = False) -> dict[str, Rows]:
    """From the title of each of a study's tables to its rows, over the runs that are done.

    What is missing is told on standard error. Accuracies are kept in the folders of the runs.

    Args:
        study: what was read.
        runs: see `expand`.
        timed: measure the trained networks as well, side by side, for columns training_ms and inference_ms:
            of a batch of 32 windows in float32, medians of five.

    Raises:
        UserError: where no table has anything to show.
    """
    done = _done(runs)
    wanted = done if any(table.show == "accuracy" for table in study.tables) else []
    tested = {run.name: rows for run in wanted if (rows := _tested(run))}
    times = _times([run for run in done if run.name in tested]) if timed else {}
    made = {}
    for table in study.tables:
        if table.show == "accuracy":
            rows = _accuracies(
                _groups(study, table, [run for run in done if run.name in tested]), tested, times
            )
        else:
            rows = _strides(_groups(study, table, done), table)
        if rows:
            made[table.title] = rows
        else:
            logger.warning(f"nothing to show in the table {table.title}; left out")
    if not made:
        raise UserError(
            f"{study.file} has nothing to show yet: train it with audiostride study, or see the notes above"
        )
    return made


def show(made: dict[str, Rows], format: Format) -> str:
    """Tables as text: with titles above them in "table", "markdown" and "latex", as one object in JSON, and
    with an empty line between them in CSV."""
    if format == "json":
        parsed = {title: json.loads(render(rows, "json")) for title, rows in made.items()}
        return json.dumps(parsed, indent=2, ensure_ascii=False)
    head = {"table": "{}\n\n", "markdown": "**{}**\n\n", "latex": "% {}\n", "csv": ""}[format]
    return "\n\n".join(head.format(title) + render(rows, format) for title, rows in made.items())


def _done(runs: Sequence[Run]) -> list[Run]:
    """The runs that have all their steps; what the others lack is told."""
    done, missing = [], []
    for run, step in readable(runs):
        if step >= run.steps:
            done.append(run)
        elif step:
            logger.warning(f"{run.name} is at step {step} of {run.steps}; left out")
        else:
            missing.append(run.name)
    if missing:
        logger.warning(f"left out, as there is nothing of them yet: {', '.join(missing)}")
    return done


def _tested(run: Run) -> Rows:
    """Accuracy of a run per task, kept from the last time if possible; empty where it cannot be had."""
    try:
        kept = _kept(run)
        if kept is None:
            logger.info(f"testing {run.name}")
            kept = evaluate(run.folder)
            with replace_when_complete(run.folder / TEST) as new:
                new.write_text(json.dumps(kept, indent=2), encoding="utf-8")
    except UserError as error:
        logger.warning(f"{error}; left out")
        return []
    return kept


def _kept(run: Run) -> Rows | None:
    """What a test has left, unless there is a newer checkpoint."""
    best, file = checkpoint_path(run.folder), run.folder / TEST
    if not file.is_file() or file.stat().st_mtime_ns < best.stat().st_mtime_ns:
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _groups(study: Study, table: Table, runs: Sequence[Run]) -> Groups:
    kept = [axis for axis in study.grid if axis not in (table.over or ())]
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in filter(table.takes, runs):
        groups.setdefault(tuple(run.values[axis] for axis in kept), []).append(run)
    names = _short(kept)
    return [(dict(zip(names, values, strict=True)), members) for values, members in groups.items()]


def _short(axes: Sequence[str]) -> list[str]:
    """Without the groups of settings, unless two are alike then."""
    short = [axis.rpartition(".")[2] for axis in axes]
    return [one if short.count(one) == 1 else axis for one, axis in zip(short, axes, strict=True)]


def _times(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """From the name of each run to milliseconds of a training step and of inference."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    networks = {run.name: load(run.folder).trunk.to(device) for run in runs}
    x = {run.name: torch.randn(32, 1, run.recipe.data.frames, 64).to(device) for run in runs}
    logger.info(f"measuring {len(networks)} networks")
    inferring = in_turns({name: inference(network, x[name]) for name, network in networks.items()}, 5)
    steps = {name: training_step(network.train(), x[name]) for name, network in networks.items()}
    training = in_turns(steps, 5)
    return {name: {"training_ms": training[name], "inference_ms": inferring[name]} for name in networks}


def _accuracies(groups: Groups, tested: dict[str, Rows], times: dict[str, dict[str, float]]) -> Rows:
    """A row per group and task: accuracy in percent, and multiply-accumulates for one window in millions."""
    result = []
    for values, runs in groups:
        by_task: dict[str, list[tuple[float, float]]] = {}
        for run in runs:
            macs = _mega_macs(run)
            for row in tested[run.name]:
                by_task.setdefault(row["task"], []).append((row["accuracy_percent"], macs))
        measured = [times[run.name] for run in runs if times]
        taken = {name: Spread.of(one[name] for one in measured) for name in (measured or [{}])[0]}
        for task, pairs in by_task.items():
            accuracy, cost = map(Spread.of, zip(*pairs, strict=True))
            columns = {"task": task, "runs": len(pairs), "accuracy_percent": accuracy, "mega_macs": cost}
            result.append(_joined(values, columns | taken))
    return result


def _mega_macs(run: Run) -> float:
    return summary(load(run.folder).trunk, run.recipe.data.frames)[-1]["mega_macs"]


def _strides(groups: Groups, table: Table) -> Rows:
    """A row per group, layer and axis, see `stride_table`."""
    result = []
    for values, runs in groups:
        trained = [
            ("", stride_table(load(run.folder), table.frames or run.recipe.data.frames)) for run in runs
        ]
        rows = [row for row in grouped(trained) if table.layers is None or row["layer"] in table.layers]
        result += [_joined(values, {name: row[name] for name in row if name != "group"}) for row in rows]
    return result


def _joined(values: dict[str, str], columns: dict[str, Any]) -> dict[str, Any]:
    for axis in values.keys() & columns.keys():
        raise UserError(
            f"the axis {axis} has the name of a column of results: rename it, its runs stay as they are"
        )
    return values | columns
