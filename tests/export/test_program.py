"""Exported programs of torch (.pt2)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.exported import LABELS, untrained

from audiostride import Classifier
from audiostride.export.program import export_program

# What users write who do not have audiostride; importing it fails.
SCRIPT = """
import sys
sys.modules["audiostride"] = None
import json
import torch

extra = {"labels": "", "sample_rate": ""}
model = torch.export.load(sys.argv[1], extra_files=extra).module()
waveforms = torch.load(sys.argv[2])
torch.save([model(waveform) for waveform in waveforms], sys.argv[2])
print(json.dumps(json.loads(extra["labels"])), extra["sample_rate"])
"""


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return untrained()


@torch.no_grad()
def test_torch_alone_runs_it_on_any_batch_and_length(classifier: Classifier, tmp_path: Path) -> None:
    file, exchange = tmp_path / "model.pt2", tmp_path / "exchange.pt"
    export_program(classifier, file)
    waveforms = [0.1 * torch.randn(batch, samples) for batch, samples in ((1, 1600), (3, 16000), (2, 20001))]
    torch.save(waveforms, exchange)
    command = [sys.executable, "-c", SCRIPT, str(file), str(exchange)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{json.dumps(LABELS)} 16000\n"
    for waveform, outputs in zip(waveforms, torch.load(exchange), strict=True):
        expected = classifier(waveform)
        assert list(outputs) == ["word", "waveform_logits"]
        for ours, theirs in zip(expected.values(), outputs.values(), strict=True):
            torch.testing.assert_close(theirs, ours, atol=3e-5, rtol=0)


def test_half_precision_and_int16_are_exported(classifier: Classifier, tmp_path: Path) -> None:
    differences = export_program(
        classifier, tmp_path / "model.pt2", seconds=0.5, precision="float16", int16=True
    )
    assert max(difference.probabilities for difference in differences.values()) < 0.02
