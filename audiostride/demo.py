"""The main job from end to end, on words that are spoken on the spot."""

import json
import sys
from pathlib import Path

from audiostride import recipe as recipes
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.report import Format, render
from audiostride.corpora import READERS
from audiostride.corpora.spoken import SpokenSettings, speak_corpus
from audiostride.data.store import prepare
from audiostride.models.classifier import load, read_checkpoint
from audiostride.runs import last_checkpoint
from audiostride.settings import Recipe
from audiostride.training.run import evaluate, train


def run_demo(
    folder: Path,
    run: Path,
    format: Format = "table",
    spoken: SpokenSettings | None = None,
    recipe: Recipe | None = None,
) -> None:
    """Speak, prepare, train, test and read the strides; what is there from an earlier demo is used again.

    Args:
        folder: for the corpus, as spoken and as prepared.
        run: for the model.
        format: of the results on standard output, where JSON is one object with "test" and "strides" and CSV
            two tables; all else goes to standard error.
        spoken: what the corpus holds.
        recipe: what to train on it, by default recipes/demo.yaml.
    """
    if recipe is None:
        file = recipes.find("demo")
        recipe = recipes.build(recipes.read(file), file)
    source, prepared = folder / "speech_commands", folder / "prepared"
    recipe.data.corpus = str(prepared)

    _stage(1, f"words spoken by eSpeak NG, in the layout of Speech Commands: {source}")
    speak_corpus(source, spoken or SpokenSettings())
    _stage(2, f"packed for training: {prepared}")
    prepare(READERS["speech_commands"](source), prepared)
    _stage(3, f"a small DiffStride model: {run} (tensorboard --logdir {run.parent} shows it)")
    _train(recipe, run)
    _stage(4, "accuracy on speakers not heard in training, and the strides that were learned")
    accuracy, strides = evaluate(run), stride_table(load(run))
    if format == "json":
        print(json.dumps({"test": accuracy, "strides": strides}, indent=2))
    else:
        print(render(accuracy, format), render(strides, format), sep="\n\n")


def _train(recipe: Recipe, run: Path) -> None:
    last = last_checkpoint(run)
    if not last.is_file():
        train(recipe, run)
    elif read_checkpoint(last)["global_step"] < recipe.training.steps:
        train(recipe, run, resume=True)


def _stage(number: int, what: str) -> None:
    print(f"[{number}/4] {what}", file=sys.stderr)
