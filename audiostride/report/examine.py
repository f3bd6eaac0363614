"""What a report tells of a run, as numbers: accuracies, data, cost, settings; commands that lead there."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest

from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.summary import summary
from audiostride.analysis.trained import TrainedRun
from audiostride.config.arguments import command_line, options
from audiostride.config.recipe import changed, flat
from audiostride.config.run_folder import checkpoint_path, last_checkpoint
from audiostride.config.settings import PrepareSettings, Recipe
from audiostride.corpora import DATASETS
from audiostride.corpora.base import SPLITS
from audiostride.data.datamodule import WindowsModule
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.models.classifier import Classifier, read_checkpoint
from audiostride.timing import in_turns
from audiostride.training.evaluate import Evaluation, evaluation

Rows = list[dict[str, Any]]

# Windows at once in the measurement of speed, and how often each is measured.
BATCHES, _ROUNDS = (1, 32), 5
# The recipe whose settings are all defaults.
_DEFAULTS = "speech_commands"


@dataclass
class Findings:
    """What there is to tell of a run.

    Attributes:
        run: as it lies on disk.
        title: what sets it apart from the other runs of the report.
        step: at which its checkpoint was written.
        ended: when its last checkpoint was written.
        tested: what a test has found, or None where it cannot be tested.
        accuracies: a row per task that was tested, see `accuracies`.
        tasks, corpora: see `data_tables`; empty where a corpus cannot be read.
        strides: see `stride_table`.
        parameters: of frontend, trunk and heads.
        mega_macs: multiply-accumulates of the trunk for one window, in millions.
        milliseconds: of computing per second of sound, by how many windows are taken at once.
        commands: that lead to the run and to this report of it.
        notes: what someone who reads the numbers should know, a sentence each.
    """

    run: TrainedRun
    title: str
    step: int
    ended: date
    tested: Evaluation | None = None
    accuracies: Rows = field(default_factory=list)
    tasks: Rows = field(default_factory=list)
    corpora: Rows = field(default_factory=list)
    milliseconds: dict[int, float] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def strides(self) -> Rows:
        return stride_table(self.run.classifier, self.run.recipe.data.frames)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.run.classifier.parameters())

    @property
    def mega_macs(self) -> float:
        return summary(self.run.classifier.trunk, self.run.recipe.data.frames)[-1]["mega_macs"]


def find(run: TrainedRun, title: str, split: str, checkpoint: str) -> Findings:
    """Test a run and look at its data. What cannot be had is a note, the rest is there.

    Args:
        run: of a folder.
        title: what sets it apart.
        split: of the corpus, to test on.
        checkpoint: "best" or "last".
    """
    folder = Path(run.name)
    chosen = checkpoint_path(folder, checkpoint)
    last = last_checkpoint(folder)
    written = (last if last.is_file() else chosen).stat().st_mtime
    found = Findings(run, title, read_checkpoint(chosen)["global_step"], date.fromtimestamp(written))
    stores: Sequence[Store] = ()
    try:
        data = WindowsModule(run.recipe.data, run.recipe.training, labels=run.classifier.labels)
        stores = data.stores
        found.tasks, found.corpora = data_tables(data)
        found.notes += [f"{store.folder}: {note}" for store in stores for note in store.card["notes"]]
        found.tested = evaluation(folder, split, checkpoint)
        found.accuracies = accuracies(found.tested)
    except (UserError, OSError) as error:
        found.notes.append(f"{run.name} cannot be tested: {error}")
    tested = {row["task"] for row in found.accuracies}
    for task in found.run.classifier.labels if tested else ():
        if task not in tested:
            found.notes.append(f"{run.name} is not tested on {task}: there are no {split} recordings of it")
    found.commands = commands(run, stores, split, checkpoint)
    return found


def accuracies(tested: Evaluation) -> Rows:
    """Return the rows of an evaluation with low_percent and high_percent, see `interval`."""
    rows = []
    for row in tested.rows:
        labels, predictions = tested.outcomes[row["task"]].T
        low, high = interval(int((labels == predictions).sum()), len(labels))
        rows.append(row | {"low_percent": 100 * low, "high_percent": 100 * high})
    return rows


def interval(correct: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % confidence interval of an accuracy (Clopper & Pearson 1934).

    Args:
        correct: number of recordings with the correct prediction, 0 to n.
        n: number of recordings, ≥ 1.

    Returns:
        Lower and upper limit, from 0 to 1.
    """
    limits = binomtest(correct, n).proportion_ci(0.95, "exact")
    return float(limits.low), float(limits.high)


def data_tables(data: WindowsModule) -> tuple[Rows, Rows]:
    """Recordings per task and split, and the prepared corpora that they come from.

    Returns:
        A row per task with labels (how many), train, valid, test (recordings of each) and splits (in the
        words of the corpora); and a row per corpus.
    """
    tasks = [
        {
            "task": task,
            "labels": len(labels),
            **{split: data.select(split).labelled(task) for split in SPLITS},
            "splits": "; ".join(data.split(task, split) for split in SPLITS),
        }
        for task, labels in data.labels.items()
    ]
    corpora = [
        {
            "corpus": str(store.folder),
            "recordings": store.card["recordings"],
            "minutes": store.card["seconds"] / 60,
            "left_out": store.card["left_out"],
            "problems": ", ".join(f"{n} × {reason}" for reason, n in store.card["problems"].items()) or None,
            "made_of": store.card["folder"],
            "hash": store.card["hash"][:12],
        }
        for store in data.stores
    ]
    return tasks, corpora


def settings_tables(recipe: Recipe) -> tuple[Rows, Rows]:
    """The settings that differ from the paper's, with both values; and all of them."""
    different = [
        {"setting": name, "here": as_text(now), "in_the_paper": as_text(paper)}
        for name, (paper, now) in changed(Recipe(), recipe).items()
    ]
    return different, [{"setting": name, "value": as_text(value)} for name, value in flat(recipe).items()]


def as_text(value: Any) -> str:
    """A setting as it is written on the command line; none is a dash."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def measure(found: Sequence[Findings]) -> None:
    """Fill in the milliseconds of computing per second of sound, of all runs in turns, on the CPU."""
    work = {
        (number, batch): _call(one.run.classifier, batch, one.run.recipe.data.window_s)
        for number, one in enumerate(found)
        for batch in BATCHES
    }
    for (number, batch), taken in in_turns(work, _ROUNDS).items():
        one = found[number]
        one.milliseconds[batch] = taken / (batch * one.run.recipe.data.window_s)


def _call(classifier: Classifier, batch: int, window_s: float) -> Callable[[], Any]:
    waveforms = torch.rand(batch, round(window_s * classifier.sample_rate)) - 0.5
    return torch.inference_mode()(lambda: classifier(waveforms))


def commands(run: TrainedRun, stores: Sequence[Store], split: str, checkpoint: str) -> list[str]:
    """What to type for the same corpora, run and numbers; a line that begins with # is a remark."""
    chosen = asked(checkpoint=checkpoint)
    return [
        *map(_prepare_command, stores),
        command_line("train", _DEFAULTS, *options(run.recipe, Recipe()), f"--out={run.name}"),
        command_line("test", run.name, *asked(split, checkpoint)),
        command_line("strides", run.name, *chosen),
    ]


def asked(split: str = "test", checkpoint: str = "best") -> list[str]:
    """The options of a split and a checkpoint, but for those that are the default."""
    given = [f"--split={split}", f"--checkpoint={checkpoint}"]
    return [option for option in given if option not in ("--split=test", "--checkpoint=best")]


def _prepare_command(store: Store) -> str:
    card = store.card
    dataset = DATASETS.get(card["corpus"])
    if not dataset or not dataset.archives:
        return f"# {store.folder} holds sounds of {card['folder']}: audiostride prepare folder, or csv"
    longest = [f"--longest={card['longest']:g}"] if card["longest"] != PrepareSettings.longest else []
    chosen = [f"--split={card['split']}", *longest, f"--out={store.folder}"]
    return command_line("prepare", card["corpus"], card["folder"], *chosen)
