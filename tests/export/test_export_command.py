"""The command `audiostride export`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from helpers.exported import untrained
from helpers.tiny_run import tiny

from audiostride import cli, load
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import ModelSettings
from audiostride.data.store import Store
from audiostride.export import packages
from audiostride.export.check import classifier_runner
from audiostride.export.recordings import (
    accuracies,
    calibration_batches,
    evenly,
    open_corpora,
    some_recordings,
)
from audiostride.models.loading import read_checkpoint
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_a_run_is_exported_and_compared_on_its_recordings(
    trained: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / name
    assert cli.main(["export", str(trained), str(file), "--seconds", "1", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    (row,) = json.loads(out)
    assert row["task"] == row["output"] == "speech_commands"
    assert row["classes"] == 3
    assert row["logit_difference"] < 1e-4
    assert row["same_label_percent"] == 100
    assert "compared with PyTorch on noise and 6 test recordings" in err
    assert file.is_file()


def test_int8_tells_its_accuracy(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "model.onnx"
    arguments = [
        "export",
        str(trained),
        str(file),
        "--precision",
        "int8",
        "--samples",
        "int16",
        "--seconds",
        "1",
    ]
    assert cli.main([*arguments, "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["float32_percent"] == pytest.approx(evaluate(trained)[0]["accuracy_percent"])
    assert 0 <= row["int8_percent"] <= 100
    types = {node.type for node in onnxruntime.InferenceSession(file).get_inputs()}
    assert types == {"tensor(int16)"}


def test_calibration_and_accuracy_take_the_splits_they_should(trained: Path) -> None:
    path = trained / "checkpoints" / "best.ckpt"
    data = open_corpora(str(trained), read_checkpoint(path))
    assert data is not None
    assert sum(len(batch) for batch in calibration_batches(data, None)) == 18
    assert len(some_recordings(data, "test", count=4)) == 4
    exact = accuracies(data, ["speech_commands"], classifier_runner(load(trained)))
    assert exact["speech_commands"] == pytest.approx(evaluate(trained)[0]["accuracy_percent"])
    assert evenly(0, 4).tolist() == []
    assert evenly(10, 4).tolist() == [0, 3, 6, 9]


def test_int8_without_training_recordings_reports_a_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    untrained().save(tmp_path / "folder")
    file = tmp_path / "model.onnx"
    assert cli.main(["export", str(tmp_path / "folder"), str(file), "--precision", "int8"]) == 1
    assert "int8 is calibrated on training recordings" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.txt"], "model.txt must end in .onnx or .pt2"),
        (["model.pt2", "--precision", "int8"], "int8 needs ONNX Runtime: give a file that ends in .onnx"),
        (["model.onnx", "--seconds", "0.05"], "--seconds must be a number from 0.1 to 3600, but is 0.05"),
        (["model.onnx", "--precision", "int4"], "int4"),
    ],
)
def test_wrong_arguments_report_a_clear_error(
    trained: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(trained), *arguments]) in (1, 2)
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name != "onnx" else object())
    assert cli.main(["export", str(trained), str(tmp_path / "model.onnx")]) == 1
    assert capsys.readouterr().err == (
        "audiostride export: exporting needs onnxscript and onnxruntime: install them with "
        "pip install 'audiostride[export]'\n"
    )


@pytest.mark.parametrize("kind", ["learned_resolution", "leaf"])
def test_run_with_a_learned_frontend_is_exported(
    kind: Any, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In int8 with its accuracy, and as a folder whose card tells the hop and the cut-offs."""
    frontend = FrontendSettings(kind, windows_ms=(25.0, 50.0), mel_channels=32, dense_channels=64)
    model = ModelSettings((4,), ((2, 2),))
    recipe = replace(tiny(store, steps=2, validate_every=2), model=model, frontend=frontend)
    run = tmp_path / "run"
    train(recipe, run)
    file, folder = tmp_path / "model.onnx", tmp_path / "folder"
    options = ["--precision", "int8", "--seconds", "1", "--format", "json"]
    assert cli.main(["export", str(run), str(file), *options]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["float32_percent"] == pytest.approx(evaluate(run)[0]["accuracy_percent"])
    assert cli.main(["export", str(run), str(folder)]) == 0
    card = (folder / "README.md").read_text()
    assert "ms (learned, 10 at first). The network, separable, downsamples" in card
    assert f"--frontend.kind={kind}" in card
    assert "Layer 0 is the frontend." in card
    strides = load(folder).strides
    assert len(strides) == 2
    assert torch.equal(strides, load(run).strides)
