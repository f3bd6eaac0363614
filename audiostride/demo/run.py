"""Make five small tasks, train one model on them, test it, and read its strides."""

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

from audiostride.analysis.cutoffs import stride_table
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
from audiostride.models.classifier import load, read_checkpoint
from audiostride.prepare.prepare import prepare
from audiostride.tables import Format, render
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train

logger = logging.getLogger(__name__)


@dataclass
class DemoSettings:
    """How much is made of each corpus."""

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
) -> None:
    """Make corpora, prepare, train, test and read the strides; what an earlier demo left is used again.

    Args:
        folder: for the corpora, as made and as prepared.
        run: for the model.
        format: of the results on standard output, where JSON is one object with "test" and "strides" and CSV
            two tables; all else goes to standard error.
        settings: what the corpora hold.
        recipe: what to train on them, by default recipes/demo.yaml.

    Raises:
        UserError: where a folder is in the way, or eSpeak NG is missing.
    """
    recipe = recipe or recipes.load("demo")
    _stage(1, f"words spoken by eSpeak NG; notes, birds and scenes rendered: {folder}")
    _make(folder, settings or DemoSettings())
    _stage(2, f"packed for training: {folder / 'prepared'}")
    recipe.data.corpus = _prepare(folder)
    _stage(3, f"one DiffStride model of five tasks: {run} (tensorboard --logdir {run.parent} shows it)")
    _train(recipe, run)
    _stage(4, "accuracy on speakers, instruments, birds and places not in training, and the learned strides")
    accuracy, strides = evaluate(run), stride_table(load(run))
    if format == "json":
        print(json.dumps({"test": accuracy, "strides": strides}, indent=2))
    else:
        print(render(accuracy, format), render(strides, format), sep="\n\n")


def _make(folder: Path, settings: DemoSettings) -> None:
    speak_corpus(folder / "speech_commands", settings.words)
    render_notes(folder / "nsynth", settings.notes)
    render_birds(folder / "birdsong", settings.birds)
    render_scenes(folder / "acoustic_scenes", settings.scenes)


def _prepare(folder: Path) -> list[str]:
    """Pack each corpus; tell where they lie."""
    prepared = []
    for name in ("speech_commands", "nsynth", "birdsong", "acoustic_scenes"):
        out = folder / "prepared" / name
        prepare(DATASETS[name].read(folder / name), out)
        prepared.append(str(out))
    return prepared


def _train(recipe: Recipe, run: Path) -> None:
    last = last_checkpoint(run)
    if not last.is_file():
        train(recipe, run)
    elif read_checkpoint(last)["global_step"] < recipe.training.steps:
        train(recipe, run, resume=True)
    elif asdict(read_config(run)) != asdict(recipe):
        raise UserError(f"{run} holds a run of another recipe: move it away, or give another --out")
    elif read_checkpoint(last)["WindowsModule"] != WindowsModule(recipe.data, recipe.training).state_dict():
        raise UserError(f"{run} holds a run on other corpora: move it away, or give another --out")


def _stage(number: int, what: str) -> None:
    logger.info(f"[{number}/4] {what}")
