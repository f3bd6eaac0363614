"""Evaluates a run by the paper's protocol: logits averaged over each recording's one-second windows."""

import csv
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from audiostride.allocator import keep_freed_memory
from audiostride.analysis.confusion import confusion_counts
from audiostride.analysis.intervals import Outcomes
from audiostride.analysis.trained import TrainedRun
from audiostride.config.input_kinds import check_images_named
from audiostride.config.recipe import check_trained, recipe_of
from audiostride.config.run_folder import checkpoint_path, data_state
from audiostride.config.settings import DataSettings, Recipe, TrainingSettings
from audiostride.data.datamodule import CorpusModule
from audiostride.data.selection import Selection
from audiostride.errors import UserError
from audiostride.models.loading import read_checkpoint, restore
from audiostride.tables import csv_cell
from audiostride.training.inputs import open_data
from audiostride.training.lightning_module import ClassifierTraining
from audiostride.training.predictions import Predictions, check_predictions_file, write_predictions
from audiostride.training.trainer import out_of_memory_as_user_error, quiet_lightning

# The columns that a narrow terminal leaves out first, see `audiostride.tables.render`.
LEAST_COLUMNS = (
    "note",
    "step",
    "checkpoint",
    "run",
    "roc_auc",
    "loss",
    "classes",
    "groups",
    "split",
    "macro_f1_percent",
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation.

    Attributes:
        rows: one per task, see `evaluate`.
        labels: from task to its labels.
        outcomes: from task to (recordings, 2), label and prediction of each recording as indices of labels.
        predicted: from task to the same with the group of each recording, such as its speaker.
        predictions: one per task, the prediction and the probabilities of each recording.
        notes: sentences that readers of the results should know.
    """

    rows: list[dict[str, Any]]
    labels: dict[str, list[str]]
    outcomes: dict[str, Tensor]
    predicted: dict[str, Outcomes]
    predictions: list[Predictions]
    notes: list[str]

    def confusion(self, task: str) -> Tensor:
        """Return (classes, classes), numbers of recordings by label (rows) and prediction (columns)."""
        return confusion_counts(self.outcomes[task], len(self.labels[task]))


def evaluate(
    run: Path,
    split: str = "test",
    checkpoint: str = "best",
    corpus: str | list[str] | None = None,
    confusion: Path | None = None,
    predictions: Path | None = None,
) -> list[dict[str, Any]]:
    """Evaluate a run on a split.

    Args:
        run: a run folder, a checkpoint file or a model folder.
        split: "test", "valid" or "train".
        checkpoint: "best" or "last", of a run folder.
        corpus: folder of a prepared corpus, or several. By default those that the run was trained on.
        confusion: folder for the confusion matrices, one TASK.csv per task, with labels as rows and
            predictions as columns.
        predictions: a .csv or .jsonl file for the prediction of each recording, see `Predictions.rows`.

    Returns:
        One row per task that has recordings in the split: accuracy in percent with its 95 % confidence
        interval (see `accuracy_interval`), macro F1 in percent, area under the ROC curve from 0 to 1 (None
        unless there are two classes and both occur), mean cross-entropy, and what was evaluated, recordings
        and groups or images. If the run
        was not trained on `corpus`, a note says so, and how many of its recordings were trained on.

    Raises:
        UserError: if the run or a corpus does not exist, if a corpus of the run has changed since its
            training, if a corpus has another sample rate than the model, or if no recording has a label for
            one of its tasks.
    """
    if predictions is not None:
        check_predictions_file(predictions)
    if confusion is not None:
        confusion.mkdir(parents=True, exist_ok=True)
    evaluated = evaluation(run, split, checkpoint, corpus)
    for note in evaluated.notes:
        logger.warning(note)
    if confusion is not None:
        _write_confusion(evaluated, confusion)
    if predictions is not None:
        write_predictions(evaluated.predictions, predictions)
    return evaluated.rows


def evaluation(
    run: Path, split: str = "test", checkpoint: str = "best", corpus: str | list[str] | None = None
) -> Evaluation:
    """Evaluate like `evaluate`, and return the outcome of every recording too."""
    keep_freed_memory()
    check_trained(run)
    path = checkpoint_path(run, checkpoint)
    saved = read_checkpoint(path)
    classifier = restore(saved, path)
    recipe = recipe_of(run, saved)
    if recipe is None and corpus is None:
        raise UserError(
            f"{run} does not say which corpora it was trained on: name one, as in "
            f"audiostride test {run} --corpus FOLDER"
        )
    recipe = recipe or Recipe(
        data=DataSettings(window_s=classifier.window_s), frontend=classifier.frontend_settings
    )
    if corpus is not None:
        recipe.data.corpus = corpus
    check_images_named(recipe)
    data = open_data(recipe.data, recipe.training, recipe.frontend, labels=classifier.labels)
    if corpus is None:
        check_corpora(data, saved, run)
    data.check_model(classifier.frontend_settings, str(run))
    selection = data.select(split)
    labels = {task: names for task, names in classifier.labels.items() if selection.labelled(task)}
    if not labels:
        folders, tasks = " and ".join(recipe.data.corpora), ", ".join(classifier.labels)
        raise UserError(f"{folders} has no {split} {data.noun} of {tasks}")
    module = ClassifierTraining(classifier, TrainingSettings())
    metrics = _test(module, data, split)
    note = _note_of_another_corpus(data, split, saved, run)
    predicted = {task: _predicted(module.outcomes[task], selection, task) for task in labels}
    accuracies = {task: predicted[task].accuracy.percent() for task in labels}
    rows = [
        {
            "run": str(run),
            "task": task,
            "accuracy_percent": accuracies[task].value,
            "low_percent": accuracies[task].low,
            "high_percent": accuracies[task].high,
            "macro_f1_percent": 100 * metrics[f"test/macro_f1/{task}"],
            "roc_auc": metrics.get(f"test/roc_auc/{task}"),
            "loss": metrics[f"test/loss/{task}"],
            data.noun: selection.labelled(task),
            **({"groups": len(np.unique(predicted[task].groups))} if data.has_groups else {}),
            "classes": len(names),
            "split": data.split(task, split),
            "checkpoint": None if path == run else checkpoint,
            "step": saved["global_step"],
            **({"note": note} if note else {}),
        }
        for task, names in labels.items()
    ]
    notes = [f"{store.folder}: {text}" for store in data.stores for text in store.card["notes"]]
    notes += [note] if note else []
    predictions = [
        Predictions(
            task,
            names,
            selection,
            np.flatnonzero(selection.labels[task] >= 0),
            predicted[task],
            module.logits[task].softmax(1).cpu().numpy(),
        )
        for task, names in labels.items()
    ]
    return Evaluation(rows, classifier.labels, module.outcomes, predicted, predictions, notes)


def _predicted(outcomes: Tensor, selection: Selection, task: str) -> Outcomes:
    """Return labels and predictions of the recordings of a task with their groups."""
    labels, predictions = outcomes.cpu().numpy().T
    return Outcomes(labels, predictions, selection.groups[selection.labels[task] >= 0])


def open_run_data(run: TrainedRun, saved: Mapping[str, Any]) -> CorpusModule:
    """Open the corpora that a run was trained on.

    Args:
        run: the run.
        saved: the content of its checkpoint.

    Raises:
        UserError: if they are not known, are missing, or have changed.
    """
    if not run.recipe_known:
        raise UserError(f"{run.name} does not say which corpora it was trained on")
    recipe = run.recipe
    data = open_data(recipe.data, recipe.training, recipe.frontend, labels=run.classifier.labels)
    check_corpora(data, saved, Path(run.name))
    return data


def check_corpora(data: CorpusModule, saved: Mapping[str, Any], run: Path) -> None:
    """Raise an error if the corpora of a run are not those that its checkpoint was trained on.

    Raises:
        UserError: naming the corpora that have changed.
    """
    if folders := data.changed_corpora(saved):
        groups, remedy = (" or groups", "prepare it") if data.has_groups else ("", "make it")
        raise UserError(
            f"the corpus {folders} has changed since {run} was trained on it (other {data.noun}, labels, "
            f"splits{groups}): {remedy} as before, or test another one by audiostride test {run} --corpus"
        )


def _note_of_another_corpus(
    data: CorpusModule, split: str, saved: Mapping[str, Any], run: Path
) -> str | None:
    """Return a sentence for results on a corpus that the run was not trained on, or None."""
    state, selection, noun = data_state(saved), data.select(split), data.noun
    others = [
        str(store.folder) for store in selection.stores if store.identity not in state.get("corpora", [])
    ]
    if not others:
        return None
    if "corpora" not in state:
        return f"it is not known whether {run} was trained on {noun} of {' and '.join(others)}"
    note = f"{run} was not trained on {' and '.join(others)}"
    if "trained" not in state:
        return f"{note}, but perhaps on some of its {noun}: the model does not list them"
    trained = int(np.isin(selection.keys, state["trained"].numpy().view(np.uint64)).sum())
    if not trained:
        return note
    tested = f"{trained} of the {len(selection.keys)} tested {noun}"
    return f"{note}, but {tested} have {data.key_text} of {noun} that it was trained on"


def _test(module: ClassifierTraining, data: CorpusModule, split: str) -> dict[str, float]:
    """Return what the module logs in a test on a split."""
    with quiet_lightning(), out_of_memory_as_user_error():
        trainer = Trainer(
            accelerator="cuda" if torch.cuda.is_available() else "cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        (metrics,) = trainer.test(module, data.evaluation_dataloader(split), verbose=False)
    return dict(metrics)


def _write_confusion(evaluated: Evaluation, folder: Path) -> None:
    for task in evaluated.outcomes:
        matrix = evaluated.confusion(task).tolist()
        labels = [csv_cell(label) for label in evaluated.labels[task]]
        # Some characters that a task's name may have are not allowed in names of files.
        path = folder / f"{quote(task, safe=' ')}.csv"
        # Labels of earlier versions may be names of folders that are not UTF-8.
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(["label", *labels])
            writer.writerows([label, *row] for label, row in zip(labels, matrix, strict=True))
