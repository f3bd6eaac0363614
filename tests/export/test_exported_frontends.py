"""Classifiers with frontends of every kind, exported and run by ONNX Runtime and by torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers.exported import assert_same_logits, run, untrained

from audiostride import Classifier
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.errors import UserError
from audiostride.export.onnx import export_onnx
from audiostride.export.plain import PlainClassifier
from audiostride.export.plain_frontends import PlainLogMel
from audiostride.export.program import export_program, program_runner
from audiostride.export.shown import centre_frequencies
from audiostride.frontends.log_mel import LogMel
from audiostride.frontends.pcen import Pcen, enough_doublings, smooth

FRONTENDS: dict[str, dict[str, Any]] = {
    "cube root at 8 kHz": {"compression": "root", "sample_rate": 8000, "mel_channels": 40},
    "pcen": {"kind": "pcen"},
    "learned resolution": {"kind": "learned_resolution"},
    "leaf": {"kind": "leaf"},
    "bats": {"sample_rate": 250_000, "f_min": 10_000.0},  # no channel at 1000 Hz, and a long transform
}
# One block, because torch's exporter takes seconds for each layer. Learned strides are followed by others.
STRIDED: dict[str, Any] = {"channels": (4,), "strides": ((2, 2),), "downsampling": "strided"}
DIFFSTRIDE: dict[str, Any] = {"channels": (4,), "strides": ((2.3, 1.4),)}


def classifier_with(**frontend: Any) -> Classifier:
    settings = FrontendSettings(**frontend)
    return untrained(settings, **(DIFFSTRIDE if settings.learns_hop else STRIDED))


@pytest.fixture(scope="module", params=FRONTENDS)
def classifier(request: pytest.FixtureRequest) -> Classifier:
    return classifier_with(**FRONTENDS[request.param])


@pytest.fixture(scope="module")
def file(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(classifier, path, also=("spectrogram",))  # checks differences
    return path


@pytest.mark.parametrize(("batch", "seconds"), [(1, 0.1), (3, 1.0), (2, 1.23457), (1, 10.0)])
def test_logits_equal_those_of_torch_at_any_length(
    classifier: Classifier, file: Path, batch: int, seconds: float
) -> None:
    assert_same_logits(classifier, file, batch, round(seconds * classifier.sample_rate), atol=1e-4)


def test_metadata_tell_the_rate_and_cutoffs(classifier: Classifier, file: Path) -> None:
    metadata = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
    assert metadata["sample_rate"] == str(classifier.sample_rate)
    assert metadata["window_s"] == "1"
    strides = {(row["layer"], row["axis"]): row["stride"] for row in json.loads(metadata["cutoffs"])}
    assert strides[1, "time"] == pytest.approx(classifier.trunk.strides[0, 0].item())


@torch.no_grad()
def test_spectrogram_is_that_of_the_frontend(classifier: Classifier, file: Path) -> None:
    sound = 0.1 * torch.randn(2, classifier.sample_rate, generator=torch.Generator().manual_seed(1))
    shown = run(file, sound.numpy())["spectrogram"]
    features = classifier.frontend.features(sound)[:, 0]
    settings = classifier.frontend_settings
    if settings.compression == "root":
        features = 3 * features.log()
    if settings.kind == "leaf":
        features = features[..., centre_frequencies(classifier.sound_frontend).argsort()]
    np.testing.assert_allclose(shown, features.numpy(), atol=2e-4)


@torch.no_grad()
def test_lengths_of_all_feature_maps_equal_those_of_the_layers(classifier: Classifier) -> None:
    plain, hop = PlainClassifier(classifier), classifier.sound_frontend.hop
    first = plain.shortest
    for samples in range(first, first + 9 * hop, 1 + hop // 2):
        waveform = 0.1 * torch.randn(2, samples)
        for ours, theirs in zip(classifier(waveform).values(), plain(waveform).values(), strict=True):
            torch.testing.assert_close(theirs, ours, atol=3e-5, rtol=0)


@torch.no_grad()
def test_torch_runs_a_program_at_any_length(classifier: Classifier, tmp_path: Path) -> None:
    export_program(classifier, tmp_path / "model.pt2")
    exported = program_runner(tmp_path / "model.pt2")
    for batch, seconds in ((1, 0.1), (2, 1.23457)):
        waveform = 0.1 * torch.randn(batch, round(seconds * classifier.sample_rate))
        for ours, theirs in zip(classifier(waveform).values(), exported(waveform), strict=True):
            torch.testing.assert_close(theirs, ours, atol=3e-5, rtol=0)


def test_half_precision_of_a_fixed_length_keeps_probabilities(classifier: Classifier, tmp_path: Path) -> None:
    differences = export_onnx(
        classifier, tmp_path / "model.onnx", seconds=0.5, precision="float16", int16=True
    )
    assert 0 < max(difference.probabilities for difference in differences.values()) < 0.02


def test_int8_leaves_the_frontend_in_float32(classifier: Classifier, tmp_path: Path) -> None:
    path, samples = tmp_path / "model.onnx", classifier.sample_rate // 2
    calibration = list(0.1 * torch.randn(2, 4, samples, generator=torch.Generator().manual_seed(0)))
    export_onnx(classifier, path, seconds=0.5, precision="int8", calibration=calibration)
    types = {weights.name: weights.data_type for weights in onnx.load(path).graph.initializer}
    quantised = {name.removesuffix("_quantized") for name in types if name.endswith("_quantized")}
    convolutions = [f"classifier.trunk.blocks.0.{axis}.conv.weight" for axis in ("time", "frequency")]
    assert quantised >= {*convolutions, "classifier.heads.0.weight"}
    assert not any("frontend" in name for name in quantised)
    frontend = {kind for name, kind in types.items() if name.startswith("classifier.frontend.")}
    assert frontend == {onnx.TensorProto.FLOAT}


def test_learned_resolution_shows_what_it_keeps(tmp_path: Path) -> None:
    """A modulation of 150 Hz is faster than a learned hop of 11.3 ms can follow, one of 10 Hz is not."""
    channels = {"dense_channels": 32, "mel_channels": 32, "f_min": 200.0}
    classifier = classifier_with(kind="learned_resolution", windows_ms=(5.0,), **channels)
    path = tmp_path / "model.onnx"
    export_onnx(classifier, path, seconds=1.0, also=("spectrogram", "kept"))
    times = torch.arange(16000) / 16000
    noise = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))

    def depths(hertz: int) -> list[float]:
        """Return how deep the modulation is, before and after."""
        modulated = noise * (1 + 0.9 * torch.cos(2 * torch.pi * hertz * times))
        shown = run(path, modulated.unsqueeze(0).numpy())
        means = [shown[name][0].mean(1) for name in ("spectrogram", "kept")]
        return [float(np.abs(np.fft.rfft(mean)[hertz])) for mean in means]

    slow, fast = depths(10), depths(150)
    assert slow[1] == pytest.approx(slow[0], rel=0.01)
    assert fast[0] > 20
    assert fast[1] < 0.01 * fast[0]


def test_leaf_has_no_low_pass_to_show(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no low-pass to show: ask for its spectrogram alone"):
        export_onnx(classifier_with(kind="leaf"), tmp_path / "model.onnx", also=("kept",))


def test_hop_of_more_than_half_of_the_shortest_sound_needs_two_frames(tmp_path: Path) -> None:
    classifier = classifier_with(hop_ms=80.0, window_ms=100.0)
    with pytest.raises(UserError, match=r"--seconds 0\.05 is too short: the frames .* are 0\.08 s apart"):
        export_onnx(classifier, tmp_path / "model.onnx", seconds=0.05)
    export_program(classifier, tmp_path / "any.pt2")
    exported = program_runner(tmp_path / "any.pt2")
    assert exported(torch.zeros(1, 2560))[0].shape == (1, 3)
    with pytest.raises(AssertionError, match="2560"):
        exported(torch.zeros(1, 2559))
    export_onnx(classifier, tmp_path / "one_frame.onnx", seconds=0.1)
    assert_same_logits(classifier, tmp_path / "one_frame.onnx", 2, 1600)


def test_more_than_a_minute_is_one_waveform(tmp_path: Path) -> None:
    """The classifier itself splits it into windows."""
    classifier = untrained(
        FrontendSettings(sample_rate=1000, mel_channels=4, hop_ms=100.0, window_ms=200.0, f_min=20.0),
        channels=(2,),
        strides=((2, 1),),
        downsampling="strided",
    )
    export_program(classifier, tmp_path / "long.pt2", seconds=61)


@pytest.mark.parametrize("window_ms", [25.0, 150.0])
def test_power_is_that_of_the_frontend_for_short_and_long_windows(window_ms: float) -> None:
    frontend = LogMel(window_ms=window_ms)
    plain = PlainLogMel(frontend)
    assert plain.power.is_convolution == (window_ms < 100)
    waveform = 0.1 * torch.randn(2, 16123, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain(waveform), frontend(waveform), atol=2e-4, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 7, 300])
def test_enough_doublings_smooth_as_the_recursion_does(frames: int) -> None:
    """Also a loud begin that is followed by 120 dB less."""
    smoothing = torch.tensor([0.02, 0.5, 1.0])
    energy = torch.rand(frames, 3, generator=torch.Generator().manual_seed(0)) * 1e-8
    energy[0] = 1e4
    expected = energy.double().clone()
    for now in range(1, frames):
        expected[now] = (1 - smoothing) * expected[now - 1] + smoothing * energy[now]
    for most_frames in (frames, 10**6):
        smoothed = smooth(energy, smoothing, enough_doublings(smoothing, most_frames))
        torch.testing.assert_close(smoothed.double(), expected, rtol=1e-5, atol=1e-12)


def test_fast_smoothing_needs_few_doublings() -> None:
    assert enough_doublings(Pcen(1, 100.0).smoothing, 360_000) <= 12
    assert enough_doublings(torch.tensor([1e-9]), 360_000) == 19
    assert enough_doublings(torch.tensor([1.0]), 360_000) == 0
