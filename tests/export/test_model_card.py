"""Model folders with a complete card, and the commands that read model folders."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.command_line import fails
from helpers.report_page import quick_reports

from audiostride import load
from audiostride.analysis.cutoffs import stride_table
from audiostride.cli import main
from audiostride.config import yaml
from audiostride.data.store import Store
from audiostride.training.evaluate import evaluate


def metadata(folder: Path) -> dict[str, Any]:
    return yaml.load((folder / "README.md").read_text().split("---\n", 2)[1])


def rows(capsys: pytest.CaptureFixture[str], *command: str) -> list[dict[str, Any]]:
    """Run a command and return its rows, without the columns that name the run and its checkpoint."""
    capsys.readouterr()
    assert main([*command, "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    return [{name: value for name, value in row.items() if name not in ("run", "checkpoint")} for row in made]


def test_exported_folder_has_a_card_with_what_was_measured(
    trained: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "words"
    assert main(["export", str(trained), str(folder), "--license", "cc-by-4.0"]) == 0
    (row,) = evaluate(trained)
    about = metadata(folder)
    assert about["license"] == "cc-by-4.0"
    (result,) = about["model-index"][0]["results"]
    assert result["dataset"]["name"] == "speech_commands"
    assert result["metrics"][0]["value"] == pytest.approx(row["accuracy_percent"] / 100, abs=1e-4)
    card = (folder / "README.md").read_text()
    interval = f"{row['accuracy_percent']:.1f} ({row['low_percent']:.1f} to {row['high_percent']:.1f})"
    assert re.search(rf"\| speech_commands +\| +{re.escape(interval)} \|", card)
    for cutoff in stride_table(load(trained), 100):
        assert re.search(rf"\| +{cutoff['layer']} \| {cutoff['axis']} +\| +{cutoff['stride']:.4g} \|", card)
    assert "audiostride train speech_commands --model.channels='[4, 6]'" in card
    assert "CC BY 4.0" in card
    assert str(store.folder) in card


def test_commands_say_the_same_of_a_run_its_checkpoint_and_its_folder(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "words"
    load(trained).save(folder)
    alone = shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    for command in ("test", "strides", "summary"):
        expected = rows(capsys, command, str(trained))
        assert expected == rows(capsys, command, str(folder))
        assert expected == rows(capsys, command, str(alone))
    again = tmp_path / "again"
    assert main(["export", str(folder), str(again)]) == 0
    assert metadata(again)["metrics"] == ["accuracy", "f1"]
    assert rows(capsys, "test", str(again)) == rows(capsys, "test", str(trained))


def test_report_shows_what_a_model_folder_says(trained: Path, tmp_path: Path) -> None:
    load(trained).save(tmp_path / "words")
    with quick_reports():
        assert main(["report", str(tmp_path / "words"), "--out", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text()
    (row,) = evaluate(trained)
    assert f"{row['accuracy_percent']:.1f}" in page
    assert "as given, step" in page
    assert "The run has no log." in page


def test_model_of_unknown_origin_needs_a_corpus(
    trained: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load(trained)
    model.origin = {}
    model.save(tmp_path / "words")
    message = fails(capsys, 1, "test", str(tmp_path / "words"))
    example = f"audiostride test {tmp_path / 'words'} --corpus FOLDER"
    assert message.endswith(f"words does not say which corpora it was trained on: name one, as in {example}")
    tested = rows(capsys, "test", str(tmp_path / "words"), "--corpus", str(store.folder))
    assert tested[0]["accuracy_percent"] == pytest.approx(evaluate(trained)[0]["accuracy_percent"], abs=1e-3)
    assert tested[0]["note"].startswith(f"it is not known whether {tmp_path / 'words'} was trained on")
    with quick_reports():
        assert main(["report", str(tmp_path / "words"), "--out", str(tmp_path / "r.html")]) == 0
    assert "The recipe is not known." in (tmp_path / "r.html").read_text()
    assert main(["export", str(tmp_path / "words"), str(tmp_path / "again")]) == 0
    assert "so its card shows no accuracy" in capsys.readouterr().err
    assert "Not tested when this card was made." in (tmp_path / "again" / "README.md").read_text()


def test_mistakes_in_an_export_report_a_clear_error(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = str(trained), str(tmp_path / "m")
    assert "must end in .onnx or .pt2, or in / for a" in fails(capsys, 2, "export", run, f"{folder}.onxn")
    assert "are for .onnx and .pt2" in fails(capsys, 2, "export", run, folder, "--precision", "int8")
    assert "give a folder" in fails(capsys, 2, "export", run, f"{folder}.onnx", "--license", "mit")
    assert fails(capsys, 1, "export", run, run).endswith(
        f"{run} is not empty and no model folder: give the name of a new folder"
    )
    assert not (tmp_path / "m").exists()
