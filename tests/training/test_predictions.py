"""The predictions for each recording, as a file and as the mistakes that a run was surest of."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.command_line import fails
from helpers.two_tasks import recipe

from audiostride import load
from audiostride.cli import main
from audiostride.corpora.base import SPLITS
from audiostride.data.selection import select
from audiostride.data.store import Store
from audiostride.data.windows import EvaluationWindows
from audiostride.training.evaluate import evaluate, evaluation
from audiostride.training.fit import train


@pytest.fixture(scope="module")
def run(sounds: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two tasks, trained so little that it makes mistakes."""
    folder = tmp_path_factory.mktemp("predictions") / "run"
    train(recipe(sounds, steps=4, validate_every=4, batch_size=8), folder)
    return folder


@pytest.fixture(scope="module")
def lines(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    file = tmp_path_factory.mktemp("written") / "not yet there" / "p.jsonl"
    assert main(["test", str(run), "--predictions", str(file)]) == 0
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_file_has_each_recording_of_a_task_with_its_probabilities(
    run: Path, sounds: Store, lines: list[dict[str, Any]]
) -> None:
    """Compare with the classifier. Each recording is shorter than a window."""
    classifier = load(run)
    batch = EvaluationWindows(select(sounds, "test", classifier.labels), 64, 16000)[0]
    with torch.no_grad():
        probabilities = {task: logits.softmax(1) for task, logits in classifier(batch["waveform"]).items()}
    chosen = np.flatnonzero(sounds.splits == SPLITS.index("test")).tolist()
    position = {str(sounds.names[number]): number for number in chosen}
    for line in lines:
        number, task = position[line["file"]], line["task"]
        assert line["label"] == sounds.tasks[task][sounds.labels[task][number]]
        expected = probabilities[task][chosen.index(number)]
        assert list(line["probabilities"]) == classifier.labels[task]
        assert list(line["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-4)
        assert line["prediction"] == max(line["probabilities"], key=line["probabilities"].__getitem__)
        assert line["probability"] == max(line["probabilities"].values())
        assert line["label_probability"] == line["probabilities"][line["label"]]
        assert line["correct"] is (line["prediction"] == line["label"])
        assert (line["corpus"], line["group"]) == (str(sounds.folder), f"{sounds.groups[number]:016x}")
    for row in evaluate(run):
        of_task = [line for line in lines if line["task"] == row["task"]]
        assert len({line["file"] for line in of_task}) == len(of_task) == row["recordings"]
        assert 100 * np.mean([line["correct"] for line in of_task]) == pytest.approx(row["accuracy_percent"])


def test_csv_has_the_same_rows_without_the_probabilities_of_all_labels(
    run: Path, lines: list[dict[str, Any]], tmp_path: Path
) -> None:
    evaluate(run, predictions=tmp_path / "p.CSV")
    with (tmp_path / "p.CSV").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {name: str(value) for name, value in line.items() if name != "probabilities"} for line in lines
    ]


@pytest.mark.parametrize("name", ["p.txt", "p", "folder.csv"])
def test_other_suffix_or_a_folder_reports_a_clear_error_before_the_test(
    name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.csv").mkdir()
    message = fails(capsys, 1, "test", str(run), "--predictions", str(tmp_path / name))
    assert "is a folder: give the name" in message or "must end in .csv or .jsonl" in message
    assert ("is a folder" in message) == (name == "folder.csv")


def test_most_confident_mistakes_come_first_with_their_sound(run: Path, sounds: Store) -> None:
    found = 0
    for task in evaluation(run, "train").predictions:
        rows = list(task.rows())
        wrong = sorted(row["probability"] for row in rows if not row["correct"])
        mistakes = task.most_confident_mistakes(3)
        assert [task.row(number)["probability"] for number in mistakes] == wrong[: -1 - len(mistakes) : -1]
        for number in mistakes:
            position = sounds.names.tolist().index(rows[number]["file"])
            assert np.array_equal(task.samples(number), sounds.samples(position))
        found += len(mistakes)
    assert found
