"""What a run was made from: its recordings, its prepared corpora, and the commands that repeat it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiostride.analysis.trained import TrainedRun
from audiostride.config.arguments import command_line, options
from audiostride.config.run_folder import CONFIG
from audiostride.config.settings import Recipe
from audiostride.corpora.base import SPLITS
from audiostride.data.datamodule import WindowsModule
from audiostride.data.prepare_command import prepare_command
from audiostride.data.store import Store

Rows = list[dict[str, Any]]

# The recipe that commands begin with: all of its settings are the defaults.
_DEFAULT_RECIPE = "speech_commands"


def data_tables(data: WindowsModule) -> tuple[Rows, Rows]:
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
    corpora = [
        {
            "corpus": str(store.folder),
            "recordings": store.card["recordings"],
            "sample_rate": store.sample_rate,
            "minutes": store.card["seconds"] / 60,
            "left_out": store.card["left_out"],
            "problems": ", ".join(f"{n} × {reason}" for reason, n in store.card["problems"].items()) or None,
            "made_of": store.card["folder"],
            "hash": store.card["hash"][:12],
        }
        for store in data.stores
    ]
    return tasks, corpora


def commands(run: TrainedRun, stores: Sequence[Store], split: str, checkpoint: str) -> list[str]:
    """Return the commands that lead to the same corpora, run and numbers, or comments that begin with #."""
    if not run.recipe_known:
        return []
    out = [f"--out={run.name}"] if (Path(run.name) / CONFIG).is_file() else []
    return [
        *(prepare_command(store) or _how_to_prepare(store) for store in stores),
        command_line("train", _DEFAULT_RECIPE, *options(run.recipe, Recipe()), *out),
        command_line("test", run.name, *non_default_options(split, checkpoint)),
        command_line("strides", run.name, *non_default_options(checkpoint=checkpoint)),
    ]


def non_default_options(split: str = "test", checkpoint: str = "best") -> list[str]:
    """Return the command-line options for a split and a checkpoint, without those that are the default."""
    given = [f"--split={split}", f"--checkpoint={checkpoint}"]
    return [option for option in given if option not in ("--split=test", "--checkpoint=best")]


def _how_to_prepare(store: Store) -> str:
    return f"# {store.folder} contains sounds of {store.card['folder']}: audiostride prepare folder, or csv"
