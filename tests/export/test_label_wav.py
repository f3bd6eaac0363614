"""The script of the documentation that labels a WAV file without audiostride or torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.exported import LABELS, untrained

from audiostride import Classifier
from audiostride.export.onnx import export_onnx

SCRIPT = Path(__file__).parents[2] / "docs" / "label_wav.py"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return untrained(channels=(4,), strides=((2, 2),), downsampling="strided")


@pytest.fixture(scope="module")
def model(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export_onnx(classifier, path)
    return path


def label(model: Path, file: Path) -> subprocess.CompletedProcess[str]:
    """Run the script where neither audiostride nor torch can be imported."""
    code = (
        "import runpy, sys; sys.modules.update(audiostride=None, torch=None); del sys.argv[0]; "
        "runpy.run_path(sys.argv[0])"
    )
    command = [sys.executable, "-c", code, str(SCRIPT), str(model), str(file)]
    return subprocess.run(command, capture_output=True, text=True)


def test_page_shows_the_script() -> None:
    assert SCRIPT.read_text() in (SCRIPT.parent / "exporting.md").read_text()


@torch.no_grad()
def test_script_labels_a_stereo_file(classifier: Classifier, model: Path, tmp_path: Path) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal((20000, 2))
    soundfile.write(tmp_path / "stereo.wav", sound, 16000, subtype="PCM_16")
    done = label(model, tmp_path / "stereo.wav")
    assert done.returncode == 0, done.stderr
    samples = soundfile.read(tmp_path / "stereo.wav", dtype="float32")[0].mean(1)
    expected = []
    for task, logits in classifier(torch.from_numpy(samples)[None]).items():
        probabilities = logits.softmax(1)[0]
        best = int(probabilities.argmax())
        expected.append(f"{task}: {LABELS[task][best]} {probabilities[best]:.1%}")
    assert done.stdout.splitlines() == expected


def test_script_refuses_another_sample_rate(model: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fast.wav", np.zeros(44100), 44100)
    done = label(model, tmp_path / "fast.wav")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("has 44100 samples per second, but the model takes 16000")
