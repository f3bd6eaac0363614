"""Exported ONNX files in ONNX Runtime against the classifier in PyTorch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.exported import LABELS, assert_same_logits, run, untrained

import audiostride
from audiostride import Classifier
from audiostride.analysis.listen import spectrograms
from audiostride.errors import UserError
from audiostride.export import check
from audiostride.export.onnx import export_onnx
from audiostride.export.plain import PlainClassifier, output_names


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


# One block, because torch's exporter takes seconds for each layer.
@pytest.mark.parametrize(
    "settings",
    [
        {"downsampling": "strided", "strides": ((16, 2),)},  # 0.1 s leaves a single sample
        {"downsampling": "max", "strides": ((3, 2),), "level": "rms"},
        {"downsampling": "average", "strides": ((2, 4),)},
        {"downsampling": "blur", "strides": ((2, 3),)},
        {"downsampling": "spectral", "strides": ((2.5, 1),)},
        {"ramp": "inside", "multiple": 4, "smoothness": 9.0, "strides": ((5.1, 1.4),)},
        {"ramp": "relative", "multiple": 3, "smoothness": 0.3, "strides": ((2.3, 1.7),)},
        {"smoothness": 0.0, "strides": ((2.3, 1),)},
    ],
    ids=str,
)
def test_every_kind_of_downsampling_is_exported(settings: dict[str, Any], tmp_path: Path) -> None:
    classifier = untrained(channels=(4,), **settings)
    export_onnx(classifier, tmp_path / "model.onnx")
    for samples in (1600, 16160, 20001):
        assert_same_logits(classifier, tmp_path / "model.onnx", 2, samples)


@pytest.mark.parametrize("ramp", ["outside", "inside", "relative"])
@pytest.mark.parametrize("multiple", [1, 5])
@torch.no_grad()
def test_lengths_in_the_graph_equal_those_of_the_layers(ramp: str, multiple: int) -> None:
    smoothness = 0.2 if ramp == "relative" else 3.0
    strides = ((2.0, 1.0), (1.37, 2.0), (1.0, 1.0))
    classifier = untrained(
        channels=(2, 2, 2), strides=strides, ramp=ramp, multiple=multiple, smoothness=smoothness
    )
    plain = PlainClassifier(classifier)
    sizes: list[int] = []
    for block in plain.classifier.trunk.blocks:  # type: ignore[union-attr]
        block.time.register_forward_hook(lambda *args: sizes.append(args[2].shape[2]))
    for frames in range(10, 60):
        waveform = 0.1 * torch.randn(1, 160 * frames)
        logits = plain(waveform)
        assert sizes == [time for time, _ in classifier.trunk.sizes(frames, 64)[1:]]
        torch.testing.assert_close(logits["word"], classifier(waveform)["word"], atol=3e-5, rtol=0)
        sizes.clear()


def test_a_fixed_length_refuses_other_lengths(classifier: Classifier, tmp_path: Path) -> None:
    file = tmp_path / "fixed.onnx"
    export_onnx(classifier, file, seconds=0.5)
    assert_same_logits(classifier, file, 3, 8000)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="Expected: 8000"):
        run(file, np.zeros((1, 16000), np.float32))


def test_int16_samples_give_the_logits_of_float32(classifier: Classifier, file: Path, tmp_path: Path) -> None:
    export_onnx(classifier, tmp_path / "int16.onnx", int16=True, seconds=1.0)
    samples = np.random.default_rng(0).integers(-3000, 3000, (2, 16000)).astype(np.int16)
    ours = run(tmp_path / "int16.onnx", samples)
    expected = run(file, (samples / 32768).astype(np.float32))
    for name, logits in ours.items():
        np.testing.assert_allclose(logits, expected[name], atol=3e-5)


def test_half_precision_is_smaller_and_keeps_probabilities(classifier: Classifier, tmp_path: Path) -> None:
    export_onnx(classifier, tmp_path / "single.onnx", seconds=1.0)
    differences = export_onnx(classifier, tmp_path / "half.onnx", seconds=1.0, precision="float16")
    assert (tmp_path / "half.onnx").stat().st_size < (tmp_path / "single.onnx").stat().st_size
    assert 0 < max(difference.probabilities for difference in differences.values()) < 0.02


def test_too_large_a_difference_is_an_error_and_leaves_no_file(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "LARGEST_OF_LOGITS", 1e-12)
    monkeypatch.setattr(check, "LARGEST_FRACTION", 1e-12)
    with pytest.raises(UserError, match="not written: the logits of word differ from those of PyTorch by"):
        export_onnx(classifier, tmp_path / "model.onnx", seconds=0.1)
    assert list(tmp_path.iterdir()) == []


def test_not_a_number_is_too_large_a_difference() -> None:
    logits = torch.full((1, 2), torch.nan)
    nan = {"word": check._difference(logits, torch.zeros(1, 2))}
    with pytest.raises(UserError, match="differ from those of PyTorch by up to nan"):
        check.check(Path("model.onnx"), nan, "float32")


def test_exporting_prints_nothing(
    classifier: Classifier,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    export_onnx(classifier, tmp_path / "model.onnx", seconds=0.1)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_strided_classifiers_have_no_low_pass_to_show(tmp_path: Path) -> None:
    classifier = untrained(downsampling="strided", strides=((2, 2), (2, 2)))
    with pytest.raises(ValueError, match="has no low-pass to show: ask for its spectrogram alone"):
        export_onnx(classifier, tmp_path / "model.onnx", also=("kept",))


def test_names_of_outputs_are_unique() -> None:
    assert output_names(["a", "waveform", "waveform_logits", "", "\udcff", "?"]) == [
        "a",
        "waveform_logits",
        "waveform_logits_logits",
        "logits",
        "?",
        "?_logits",
    ]
