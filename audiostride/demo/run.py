"""The demo: synthesise five small tasks, train one model on them, test it, and show its strides."""

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.stride_report import LEAST_COLUMNS as STRIDE_COLUMNS
from audiostride.config import recipe as recipes
from audiostride.config.recipe import read_config
from audiostride.config.run_folder import last_checkpoint
from audiostride.config.settings import Recipe
from audiostride.corpora import DATASETS
from audiostride.data.datamodule import WindowsModule
from audiostride.demo.rendered import (
    BirdSettings,
    NoteSettings,
    SceneSettings,
    render_birds,
    render_notes,
    render_scenes,
)
from audiostride.demo.spoken import SpokenSettings, speak_corpus
from audiostride.errors import UserError
from audiostride.models.loading import load, read_checkpoint
from audiostride.prepare.prepare import prepare
from audiostride.tables import Format, render
from audiostride.training.evaluate import LEAST_COLUMNS as TEST_COLUMNS
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train

logger = logging.getLogger(__name__)


@dataclass
class DemoSettings:
    """Sizes of the four corpora."""

    words: SpokenSettings = field(default_factory=SpokenSettings)
    notes: NoteSettings = field(default_factory=NoteSettings)
    birds: BirdSettings = field(default_factory=BirdSettings)
    scenes: SceneSettings = field(default_factory=SceneSettings)


def run_demo(
    folder: Path,
    run: Path,
    format: Format = "table",
    settings: DemoSettings | None = None,
    recipe: Recipe | None = None,
    wide: bool = False,
) -> None:
    """Make and prepare the corpora, train, test, and print accuracies and strides.

    What an earlier demo left is used again: corpora that are complete, and a run, which is resumed.

    Args:
        folder: folder of the corpora, synthesised and prepared.
        run: folder of the run.
        format: format of the results on standard output. JSON is one object with "test" and "strides", the
            others are two tables.
        settings: sizes of the corpora.
        recipe: the recipe to train, by default recipes/demo.yaml. Its corpora are replaced.
        wide: show all columns of tables, however wide the terminal is.

    Raises:
        UserError: if a folder is in the way, or eSpeak NG is missing.
    """
    recipe = recipe or recipes.load("demo")
    _stage(1, f"synthesise words, notes, birds and scenes: {folder}")
    _synthesise(folder, settings or DemoSettings())
    _stage(2, f"prepare them for training: {folder / 'prepared'}")
    recipe.data.corpus = _prepare(folder)
    _stage(3, f"train one DiffStride model on five tasks: {run} (watch: tensorboard --logdir {run.parent})")
    _train(recipe, run)
    _stage(4, "test on new speakers, instruments, birds and places, and show the learned strides")
    accuracy, strides = evaluate(run), stride_table(load(run))
    if format == "json":
        parts = {"test": render(accuracy, "json"), "strides": render(strides, "json")}
        print(json.dumps({name: json.loads(rows) for name, rows in parts.items()}, indent=2))
    else:
        tables = (
            render(accuracy, format, wide, TEST_COLUMNS),
            render(strides, format, wide, STRIDE_COLUMNS),
        )
        print(*tables, sep="\n\n")


def _synthesise(folder: Path, settings: DemoSettings) -> None:
    speak_corpus(folder / "speech_commands", settings.words)
    render_notes(folder / "nsynth", settings.notes)
    render_birds(folder / "birdsong", settings.birds)
    render_scenes(folder / "acoustic_scenes", settings.scenes)


def _prepare(folder: Path) -> list[str]:
    """Prepare each corpus and return the folders of the prepared ones."""
    prepared = []
    for name in ("speech_commands", "nsynth", "birdsong", "acoustic_scenes"):
        out = folder / "prepared" / name
        prepare(DATASETS[name].read(folder / name), out)
        prepared.append(str(out))
    return prepared


def _train(recipe: Recipe, run: Path) -> None:
    """Train, resume, or leave a finished run as it is.

    Raises:
        UserError: if the run is of another recipe or on other corpora.
    """
    last = last_checkpoint(run)
    if not last.is_file() or read_checkpoint(last)["global_step"] < recipe.training.steps:
        train(recipe, run, resume="auto")
    elif asdict(read_config(run)) != asdict(recipe):
        raise UserError(f"{run} holds a run of another recipe: move it away, or give another --out")
    elif WindowsModule(recipe.data, recipe.training).changed_corpora(read_checkpoint(last)):
        raise UserError(f"{run} holds a run on other corpora: move it away, or give another --out")


def _stage(number: int, task: str) -> None:
    logger.info(f"[{number}/4] {task}")
