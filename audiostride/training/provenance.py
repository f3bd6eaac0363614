"""What a run was made from: its recordings, its prepared corpora, and the commands that repeat it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiostride.analysis.trained import TrainedRun
from audiostride.config.arguments import command_line, options
from audiostride.config.recipe import base_of
from audiostride.config.run_folder import CONFIG
from audiostride.corpora.base import SPLITS
from audiostride.data.datamodule import CorpusModule
from audiostride.data.examples import Examples
from audiostride.data.prepare_command import prepare_command
from audiostride.data.store import Store

Rows = list[dict[str, Any]]


def data_tables(data: CorpusModule) -> tuple[Rows, Rows]:
    """Describe the recordings of each task, and the prepared corpora that they come from.

    Returns:
        A row per task with labels (their number), train, valid, test (numbers of recordings) and splits (the
        names that the corpora give them); and a row per corpus.
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
    return tasks, [store.facts() for store in data.stores]


def commands(run: TrainedRun, stores: Sequence[Examples], split: str, checkpoint: str) -> list[str]:
    """Return the commands that lead to the same corpora, run and numbers, or comments that begin with #."""
    if not run.recipe_known:
        return []
    name, below = base_of(run.recipe)
    out = [f"--out={run.name}"] if (Path(run.name) / CONFIG).is_file() else []
    return [
        *map(_how_to_prepare, stores),
        command_line("train", name, *options(run.recipe, below), *out),
        command_line("test", run.name, *non_default_options(split, checkpoint)),
        command_line("strides", run.name, *non_default_options(checkpoint=checkpoint)),
    ]


def non_default_options(split: str = "test", checkpoint: str = "best") -> list[str]:
    """Return the command-line options for a split and a checkpoint, without those that are the default."""
    given = [f"--split={split}", f"--checkpoint={checkpoint}"]
    return [option for option in given if option not in ("--split=test", "--checkpoint=best")]


def _how_to_prepare(store: Examples) -> str:
    """Return the command that makes a corpus, or a comment about what it is."""
    if not isinstance(store, Store):
        return f"# {store.folder} contains the images of {store.card['corpus']}"
    return prepare_command(store) or (
        f"# {store.folder} contains sounds of {store.card['folder']}: audiostride prepare folder, or csv"
    )
