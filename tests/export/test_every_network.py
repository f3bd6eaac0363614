"""Every network in the formats of exports, and its strides in tables."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.exported import assert_same_logits, untrained
from helpers.networks import KINDS, SMALL

from audiostride import Classifier, load
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.summary import summarise_classifier
from audiostride.config.network_names import network_names
from audiostride.export.onnx import export_onnx
from audiostride.export.plain import PlainClassifier
from audiostride.export.program import export_program

every_network = pytest.mark.parametrize("name", network_names())


def classifier_of(name: str, **settings: Any) -> Classifier:
    """Return a classifier with a small network and random weights."""
    shape = {key: value for key, value in SMALL[name].items() if key in ("channels", "strides")}
    options = {key: value for key, value in SMALL[name].items() if key not in shape}
    model: dict[str, Any] = {"network": name, "options": options, "smoothness": 1.0, "strides": None}
    return untrained(**model | shape | settings)


@every_network
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_plain_networks_give_the_same_logits_at_every_length(name: str, kind: Any) -> None:
    classifier = classifier_of(name, downsampling=kind)
    plain = PlainClassifier(classifier)
    for samples in (3200, 16_000, 24_321):
        waveform = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
        for ours, theirs in zip(classifier(waveform).values(), plain(waveform).values(), strict=False):
            torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


@every_network
def test_onnx_files_of_any_length_give_the_logits_of_torch(name: str, tmp_path: Path) -> None:
    classifier = classifier_of(name)
    export_onnx(classifier, tmp_path / "model.onnx")
    for batch, samples in ((1, 16_000), (3, 9_000)):
        assert_same_logits(classifier, tmp_path / "model.onnx", batch, samples, atol=1e-4)


@every_network
@torch.no_grad()
def test_programs_give_the_logits_of_torch(name: str, tmp_path: Path) -> None:
    classifier = classifier_of(name)
    export_program(classifier, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    waveform = 0.1 * torch.randn(2, 12_000, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(classifier(waveform).values(), program(waveform).values(), strict=False):
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


@every_network
@torch.no_grad()
def test_model_folders_hold_the_network_bit_for_bit(name: str, tmp_path: Path) -> None:
    classifier = classifier_of(name)
    classifier.save(tmp_path / "m")
    loaded = load(tmp_path / "m")
    assert (loaded.settings.network, loaded.settings.options) == (name, classifier.settings.options)
    waveform = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(classifier(waveform).values(), loaded(waveform).values(), strict=True):
        assert torch.equal(ours, theirs)
    assert name in (tmp_path / "m" / "README.md").read_text()


@every_network
def test_tables_have_the_layers_and_parts_of_the_network(name: str) -> None:
    classifier = classifier_of(name)
    trunk = classifier.trunk
    rows = stride_table(classifier)
    assert [row["layer"] for row in rows[::2]] == list(range(1, len(trunk.downsamplers()) + 1))
    sizes = trunk.sizes(100, 64)
    for row in rows:
        axis = ("time", "frequency").index(row["axis"])
        assert (row["input_length"], row["output_length"]) == (
            sizes[row["layer"] - 1][axis],
            sizes[row["layer"]][axis],
        )
    parts = [row["layer"] for row in summarise_classifier(classifier)]
    assert parts[: -len(("all", "frontend", "frontend and all"))] == list(trunk.parts())
