"""Exported ONNX files in ONNX Runtime against the classifier in PyTorch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import audiostride
from audiostride import Classifier
from audiostride.analysis.listen import spectrograms
from audiostride.config.settings import ModelSettings
from audiostride.export.onnx import export_onnx
from audiostride.export.plain import output_names

LABELS = {"word": ["yes", "no", "stop"], "waveform": ["one", "two"]}


def untrained(**settings: Any) -> Classifier:
    """Return a small classifier whose weights and statistics are random, with logits around 1."""
    torch.manual_seed(0)
    model: dict[str, Any] = {"channels": (4, 8), "strides": ((2.3, 1.4), (1.7, 2.2))} | settings
    classifier = Classifier(LABELS, ModelSettings(**model))
    with torch.no_grad():
        for module in classifier.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
        for weights in classifier.heads.parameters():
            weights.mul_(5)
    return classifier.eval()


def run(file: Path, waveform: Any) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"waveform": waveform}), strict=True))


@torch.no_grad()
def assert_same_logits(classifier: Classifier, file: Path, batch: int, samples: int) -> None:
    waveform = 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples))
    exported = list(run(file, waveform.numpy()).values())
    for ours, theirs in zip(classifier(waveform).values(), exported, strict=False):
        assert theirs.shape == ours.shape
        np.testing.assert_allclose(theirs, ours.numpy(), atol=3e-5)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return untrained()


@pytest.fixture(scope="module")
def file(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    differences = export_onnx(classifier, path, also=("spectrogram", "kept"))
    assert max(difference.logits for difference in differences.values()) < 3e-5
    return path


@pytest.mark.parametrize(("batch", "samples"), [(1, 1600), (3, 16000), (2, 20001), (1, 163999)])
def test_logits_equal_those_of_torch_at_any_length(
    classifier: Classifier, file: Path, batch: int, samples: int
) -> None:
    assert_same_logits(classifier, file, batch, samples)


def test_spectrograms_equal_those_of_listening(classifier: Classifier, file: Path) -> None:
    sound = 0.1 * torch.randn(12320, generator=torch.Generator().manual_seed(1))
    exported = run(file, sound.unsqueeze(0).numpy())
    before, after = spectrograms(classifier, sound, frames=77)
    np.testing.assert_allclose(exported["spectrogram"][0], before.numpy(), atol=1e-4)
    np.testing.assert_allclose(exported["kept"][0], after.numpy(), atol=1e-4)


def test_metadata_name_labels_and_outputs(classifier: Classifier, file: Path) -> None:
    session = onnxruntime.InferenceSession(file)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["labels"]) == LABELS
    assert json.loads(metadata["outputs"]) == {"word": "word", "waveform": "waveform_logits"}
    assert metadata["sample_rate"] == "16000"
    assert metadata["audiostride"] == audiostride.__version__
    assert json.loads(metadata["cutoffs"])[0]["stride"] == pytest.approx(2.3)
    assert [output.name for output in session.get_outputs()][:2] == ["word", "waveform_logits"]


def test_names_of_outputs_are_unique() -> None:
    assert output_names(["a", "waveform", "waveform_logits", "", "\udcff", "?"]) == [
        "a",
        "waveform_logits",
        "waveform_logits_logits",
        "logits",
        "?",
        "?_logits",
    ]
