"""What a run predicted for each recording of a split: as a file, and the mistakes that it was surest of."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiostride.analysis.intervals import Outcomes
from audiostride.data.selection import Selection
from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.tables import csv_cell

_SUFFIXES = (".csv", ".jsonl")
_DECIMALS = 6  # of probabilities


@dataclass(frozen=True)
class Predictions:
    """What a run predicted for the recordings of a task.

    Attributes:
        task: the task.
        names: its labels.
        selection: the recordings of the split.
        recordings: (recordings,), index in the selection of each recording that has a label.
        outcomes: the label, the prediction and the group of each.
        probabilities: (recordings, labels), float32. Each row has the sum 1.
    """

    task: str
    names: list[str]
    selection: Selection
    recordings: NDArray[np.int64]
    outcomes: Outcomes
    probabilities: NDArray[np.float32]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row per recording.

        Rows have file (name in the corpus), corpus (folder), group (hash of its group, 16 hexadecimal
        digits), task, label, prediction, correct (true or false), probability (of the prediction),
        label_probability and probabilities (from each label to its probability).
        """
        for number in range(len(self.recordings)):
            yield self.row(number) | {
                "probabilities": {
                    name: round(float(value), _DECIMALS)
                    for name, value in zip(self.names, self.probabilities[number], strict=True)
                }
            }

    def row(self, number: int) -> dict[str, Any]:
        """Return one of `rows`, without the probabilities of all labels."""
        recording, probabilities = self.recordings[number], self.probabilities[number]
        label, prediction = self.outcomes.labels[number], self.outcomes.predictions[number]
        store = self.selection.stores[self.selection.store_of[recording]]
        return {
            "file": str(store.names[self.selection.recordings[recording]]),
            "corpus": str(store.folder),
            "group": f"{self.outcomes.groups[number]:016x}",
            "task": self.task,
            "label": self.names[label],
            "prediction": self.names[prediction],
            "correct": bool(label == prediction),
            "probability": round(float(probabilities[prediction]), _DECIMALS),
            "label_probability": round(float(probabilities[label]), _DECIMALS),
        }

    def most_confident_mistakes(self, most: int) -> list[int]:
        """Return numbers of wrongly labelled recordings for `row`, highest probability first."""
        wrong = np.flatnonzero(~self.outcomes.correct)
        order = np.argsort(-self.probabilities[wrong].max(1), kind="stable")
        return wrong[order[:most]].tolist()

    def samples(self, number: int) -> NDArray[np.int16]:
        """Return (samples,), the sound of a recording as its corpus holds it."""
        recording = self.recordings[number]
        store = self.selection.stores[self.selection.store_of[recording]]
        return store.samples(int(self.selection.recordings[recording]))


def check_predictions_file(file: Path) -> None:
    """Raise `UserError` unless predictions can be written to a file of this name."""
    if file.suffix.lower() not in _SUFFIXES:
        raise UserError(f"--predictions {file} must end in .csv or .jsonl, which says the format")
    if file.is_dir():
        raise UserError(f"--predictions {file} is a folder: give the name of a file")


def write_predictions(predictions: list[Predictions], file: Path) -> None:
    """Write a row per recording and task, as CSV or as JSON lines. Only JSON lines have all probabilities."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = (row for one in predictions for row in one.rows())
    with replace_when_complete(file) as new:
        if file.suffix.lower() == ".csv":
            _write_csv(rows, new)
        else:
            _write_json_lines(rows, new)


def _write_csv(rows: Iterator[dict[str, Any]], file: Path) -> None:
    # Names of files need not be UTF-8.
    with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as text:
        writer = csv.writer(text, lineterminator="\n")
        for number, row in enumerate(rows):
            del row["probabilities"]
            if number == 0:
                writer.writerow(row)
            writer.writerow(csv_cell(value) for value in row.values())


def _write_json_lines(rows: Iterator[dict[str, Any]], file: Path) -> None:
    # A byte that is not UTF-8 becomes \udcXX, as in any JSON text that is written in ASCII.
    with file.open("w", encoding="utf-8", errors="backslashreplace") as text:
        for row in rows:
            text.write(json.dumps(row, ensure_ascii=False) + "\n")
