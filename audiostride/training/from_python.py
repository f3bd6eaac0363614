"""Trains a recipe from a Python program or a notebook: `audiostride.fit`."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audiostride.config import recipe as recipes
from audiostride.config.run_folder import METRICS, last_checkpoint, read_metrics
from audiostride.config.settings import Recipe
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.log import messages_shown
from audiostride.models.classifier import Classifier
from audiostride.models.loading import load
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import InterruptionError, train
from audiostride.training.initial_weights import network_settings

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class FitResult:
    """What `fit` has trained.

    Attributes:
        run: the run folder, which all commands take.
        classifier: the classifier of the best checkpoint, in evaluation mode, on the CPU.
        metrics: the entries of metrics.jsonl, with step, seconds, metrics and strides of each validation.
    """

    run: Path
    classifier: Classifier
    metrics: list[dict[str, Any]]

    def test(self, split: str = "test", corpus: PathLike | None = None) -> list[dict[str, Any]]:
        """Return the accuracy of each task, see `audiostride.training.evaluate.evaluate`.

        Args:
            split: the split to test on, "test", "valid" or "train".
            corpus: folder of another prepared corpus. By default the corpora are those of the run.
        """
        return evaluate(self.run, split, corpus=None if corpus is None else os.fspath(corpus))

    def __repr__(self) -> str:
        step = self.metrics[-1]["step"] if self.metrics else 0
        metrics = self.metrics[-1]["metrics"] if self.metrics else {}
        accuracies = [
            f", {name.removeprefix('valid/accuracy/')} {100 * value:.1f} % in validation"
            for name, value in metrics.items()
            if name.startswith("valid/accuracy/")
        ]
        return f"FitResult({str(self.run)!r}, step {step}{''.join(accuracies)})"


def fit(
    recipe: PathLike | Recipe | Mapping[str, Any] = "small",
    corpus: PathLike | Store | Sequence[PathLike | Store] | None = None,
    out: PathLike | None = None,
    *,
    init_from: PathLike | None = None,
    resume: bool = False,
    progress: bool = True,
    **settings: Any,
) -> FitResult:
    """Train a recipe on prepared corpora, as `audiostride train` does.

    Messages go to standard error, unless the program has set up `logging`.

    Args:
        recipe: name of a recipe, such as "small", a YAML file, a `Recipe`, or a mapping that holds what a
            file may hold, such as {"base": "small", "training": {"steps": 500}}.
        corpus: folder of a prepared corpus, what `prepare` returned, or several of them. By default those of
            the recipe.
        out: the run folder. By default a new folder runs/NAME, or runs/NAME-2 and so on.
        init_from: run folder, checkpoint file or model folder whose weights the training begins with. The
            network is then that of this model, unless the settings say otherwise.
        resume: continue the run in `out` from its last checkpoint.
        progress: show a progress bar on standard error.
        **settings: settings on top of the recipe, as a group, training={"steps": 500}, or by their full
            names, **{"training.steps": 500}.

    Returns:
        The run folder, the trained classifier and the metrics.

    Raises:
        UserError: if a setting or a corpus is wrong, if `out` already holds a run, if training diverges or
            memory runs out, or if training is interrupted. The checkpoint of the last validation stays.
    """
    if resume and out is None:
        raise UserError("resume=True needs out, the folder of the run to resume")
    run = _new_folder(recipe) if out is None else Path(out)
    if not resume and last_checkpoint(run).exists():
        raise UserError(f"{run} already holds a run: give resume=True to continue it, or another out")
    if corpus is not None:
        settings = recipes.merge(settings, {"data.corpus": _folders(corpus)})
    if init_from is not None:
        settings = recipes.merge(settings, {"training.init_from": os.fspath(init_from)})
    if not progress:
        settings = recipes.merge(settings, {"trainer.enable_progress_bar": False})
    complete = _recipe(recipe, settings, run if resume else None)
    with messages_shown(), _sigint_kept():
        try:
            train(complete, run, resume)
        except InterruptionError as error:
            advice = (
                f"call fit again with out={str(run)!r} and resume=True to continue"
                if last_checkpoint(run).exists()
                else "there is no checkpoint to resume from yet"
            )
            raise InterruptionError(f"interrupted at step {error.step}: {advice}", error.step) from error
    return FitResult(run, load(run), read_metrics(run / METRICS))


def _recipe(
    recipe: PathLike | Recipe | Mapping[str, Any], settings: Mapping[str, Any], resumed: Path | None
) -> Recipe:
    """Return the recipe with the settings on top."""
    if isinstance(recipe, Recipe):
        below = asdict(recipe)
    elif isinstance(recipe, Mapping):
        below = recipes.from_python(recipe)
    else:
        below = recipes.read(recipes.find(os.fspath(recipe)))
    merged = recipes.merge(below, recipes.from_python(settings))
    return recipes.build(recipes.with_network(merged, {}, lambda name: network_settings(name, resumed)))


def _folders(corpus: PathLike | Store | Sequence[PathLike | Store]) -> str | list[str]:
    if isinstance(corpus, str | os.PathLike | Store):
        return os.fspath(corpus.folder if isinstance(corpus, Store) else corpus)
    return [os.fspath(one.folder if isinstance(one, Store) else one) for one in corpus]


def _new_folder(recipe: PathLike | Recipe | Mapping[str, Any]) -> Path:
    """Return a folder below runs/ that holds no run yet, named after the recipe."""
    name = "fit" if isinstance(recipe, Recipe | Mapping) else Path(recipe).stem
    run, number = Path("runs") / name, 1
    while last_checkpoint(run).exists():
        number += 1
        run = Path("runs") / f"{name}-{number}"
    return run


@contextmanager
def _sigint_kept() -> Iterator[None]:
    """Keep the handler of Ctrl-C: after an interruption Lightning leaves it switched off."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
