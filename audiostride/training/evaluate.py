"""Testing a run by the paper's protocol."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from audiostride.analysis.confusion import confusion_counts
from audiostride.config.recipe import read_config
from audiostride.config.run_folder import checkpoint_path
from audiostride.config.settings import TrainingSettings
from audiostride.data.datamodule import WindowsModule
from audiostride.errors import UserError
from audiostride.models.classifier import load, read_checkpoint
from audiostride.training.fit import memory_told, quiet
from audiostride.training.lightning_module import ClassifierTraining


@dataclass(frozen=True)
class Evaluation:
    """What a test has found.

    Attributes:
        rows: one per task, see `evaluate`.
        labels: from task to its labels.
        outcomes: from task to (recordings, 2): the label of each, and the prediction, by their numbers.
    """

    rows: list[dict[str, Any]]
    labels: dict[str, list[str]]
    outcomes: dict[str, Tensor]

    def confusion(self, task: str) -> Tensor:
        """(classes, classes), recordings by label and prediction."""
        return confusion_counts(self.outcomes[task], len(self.labels[task]))


def evaluate(
    run: Path,
    split: str = "test",
    checkpoint: str = "best",
    corpus: str | list[str] | None = None,
    confusion: Path | None = None,
) -> list[dict[str, Any]]:
    """Accuracy of a run by the paper's protocol: logits averaged over each recording's one-second windows.

    Args:
        run: folder of a trained run.
        split: "test", "valid" or "train" of the corpus.
        checkpoint: "best" or "last".
        corpus: folder of a prepared corpus or several, by default those that the run was trained on.
        confusion: folder for a confusion matrix per task, TASK.csv, with labels as rows and predictions as
            columns.

    Returns:
        One row per task that the corpora have recordings of in the split.

    Raises:
        UserError: where there is no such run or corpus, or nothing to evaluate on.
    """
    if confusion is not None:
        confusion.mkdir(parents=True, exist_ok=True)
    found = evaluation(run, split, checkpoint, corpus)
    if confusion is not None:
        _write_confusion(found, confusion)
    return found.rows


def evaluation(
    run: Path, split: str = "test", checkpoint: str = "best", corpus: str | list[str] | None = None
) -> Evaluation:
    """`evaluate` with the outcome of every recording."""
    recipe = read_config(run)
    classifier = load(run, checkpoint)
    if corpus is not None:
        recipe.data.corpus = corpus
    data = WindowsModule(recipe.data, recipe.training, labels=classifier.labels)
    selection = data.select(split)
    labels = {task: names for task, names in classifier.labels.items() if selection.labelled(task)}
    if not labels:
        raise UserError(
            f"{' and '.join(recipe.data.corpora)} has no {split} recordings of {', '.join(classifier.labels)}"
        )
    loader = data.evaluation_dataloader(split)
    with quiet():
        trainer = Trainer(
            accelerator="cuda" if torch.cuda.is_available() else "cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module = ClassifierTraining(classifier, TrainingSettings())
        with memory_told():
            (metrics,) = trainer.test(module, loader, verbose=False)
    step = read_checkpoint(checkpoint_path(run, checkpoint))["global_step"]
    rows = [
        {
            "run": str(run),
            "task": task,
            "accuracy_percent": 100 * metrics[f"test/accuracy/{task}"],
            "macro_f1_percent": 100 * metrics[f"test/macro_f1/{task}"],
            "roc_auc": metrics.get(f"test/roc_auc/{task}"),
            "loss": metrics[f"test/loss/{task}"],
            "recordings": selection.labelled(task),
            "classes": len(names),
            "split": data.split(task, split),
            "checkpoint": checkpoint,
            "step": step,
        }
        for task, names in labels.items()
    ]
    return Evaluation(rows, classifier.labels, module.outcomes)


def _write_confusion(found: Evaluation, folder: Path) -> None:
    for task, labels in ((task, found.labels[task]) for task in found.outcomes):
        matrix = found.confusion(task)
        # A task may have any name, a file may not.
        with (folder / f"{quote(task, safe=' ')}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["label", *labels])
            writer.writerows([label, *row] for label, row in zip(labels, matrix.tolist(), strict=True))
