"""Channels without a signal: normalisation does not amplify them, and leaves all others as they are."""

from pathlib import Path
from typing import Any

import pytest
import soxr
import torch
from helpers.frontends import Kind, small_classifier, small_frontend, sound
from torch import Tensor

from audiostride import Classifier, FrontendSettings, ModelSettings, load

QUIET = 37  # the first of the mel channels above 4 kHz, with the settings of `classifier`


def telephone(batch: int, seed: int = 0) -> Tensor:
    """Return sound that was recorded at 8 kHz and resampled to 16 kHz, with the dither of 16 bits."""
    times = torch.arange(8000)
    fade = torch.minimum(times, 7999 - times).div(400).clamp(max=1)  # a click would fill all channels
    x = fade * sound(batch, rate=8000, seed=seed)
    resampled = torch.tensor(soxr.resample(x.numpy().T, 8000, 16000).T)
    generator = torch.Generator().manual_seed(seed)
    dither = torch.rand(resampled.shape, generator=generator) - torch.rand(
        resampled.shape, generator=generator
    )
    return (resampled * 32768 + dither).round() / 32768


def classifier(floor: float | None = None, kind: Kind = "log_mel") -> Classifier:
    frontend = FrontendSettings(kind=kind, mel_channels=48, floor=floor)
    return Classifier({"word": ["yes", "no"]}, ModelSettings((4,), ((2, 2),)), frontend=frontend)


def trained_on(model: Classifier, batches: list[Tensor]) -> Classifier:
    """Let the running statistics follow batches, so many that nothing is left of the initial ones."""
    for batch in batches:
        model(batch)
    return model


def deviations(model: Classifier, x: Tensor) -> Tensor:
    """Return the standard deviation of each channel of the network's input (mel,)."""
    return model.spectrogram(x).std((0, 1, 2))


@pytest.fixture
def batches() -> list[Tensor]:
    return [telephone(2, seed) for seed in range(100)]


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_a_quiet_channel_is_not_amplified_in_training_nor_in_evaluation(
    training: bool, batches: list[Tensor]
) -> None:
    amplifying, model = trained_on(classifier(0.0), batches), trained_on(classifier(), batches)
    x = telephone(8, seed=99)
    before = model.frontend.features(x).std((0, 1, 2))
    quiet = slice(QUIET, None)
    assert before[quiet].max() < 0.6
    assert before[:QUIET].min() > 2
    for one in (model, amplifying):
        one.train(training)
    torch.testing.assert_close(deviations(model, x)[quiet], before[quiet], rtol=0.1, atol=0)
    torch.testing.assert_close(
        deviations(amplifying, x)[quiet], torch.ones_like(before[quiet]), rtol=0.1, atol=0
    )


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_other_channels_keep_every_bit(training: bool, batches: list[Tensor]) -> None:
    without, model = trained_on(classifier(0.0), batches), trained_on(classifier(), batches)
    x = telephone(8, seed=99)
    for one in (model, without):
        one.train(training)
    a, b = model.spectrogram(x), without.spectrogram(x)
    assert torch.equal(a[..., :QUIET], b[..., :QUIET])
    assert not torch.equal(a, b)


@torch.no_grad()
def test_a_channel_is_quiet_in_training_if_it_is_quiet_in_the_corpus(batches: list[Tensor]) -> None:
    """Not if it is so in one batch: several devices would decide differently, and evaluation again."""
    full_band = [sound(2, seed=seed) for seed in range(100)]
    model = trained_on(classifier(), [x for pair in zip(batches, full_band, strict=True) for x in pair])
    assert model.channel_statistics()[1].min() > 1
    a = model.train().spectrogram(batches[0])
    model.smallest_deviation = 0.0
    torch.testing.assert_close(a, model.spectrogram(batches[0]), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 1.0),
        ({"compression": "root"}, 0.05),
        ({"kind": "pcen"}, 0.02),
        ({"kind": "learned_resolution"}, 1.0),
        ({"kind": "learned_resolution", "compression": "root"}, 0.05),
        ({"kind": "leaf"}, 0.02),
        ({"kind": "leaf", "floor": 0.0}, 0.0),
        ({"floor": 0.7}, 0.7),
    ],
)
def test_floor_depends_on_the_unit_of_the_features(settings: dict[str, Any], expected: float) -> None:
    frontend = small_frontend(**({"kind": "log_mel"} | settings))
    model = Classifier({"word": ["yes", "no"]}, ModelSettings((4,), ((2, 2),)), frontend=frontend)
    assert model.smallest_deviation == expected


@pytest.mark.parametrize("kind", ["log_mel", "pcen", "learned_resolution", "leaf"])
@torch.no_grad()
def test_statistics_are_what_evaluation_subtracts_and_divides_by(kind: Kind) -> None:
    model = small_classifier(kind, floor=1.0)
    mean, deviation = model.channel_statistics()
    assert mean.shape == deviation.shape == (model.frontend.images, model.frontend.channels)
    features = model.frontend.features(sound(3))
    expected = (features - mean[:, None]) / deviation[:, None]
    torch.testing.assert_close(model.normalised(features), expected, rtol=1e-4, atol=1e-5)


def test_models_of_earlier_versions_have_no_floor(tmp_path: Path, batches: list[Tensor]) -> None:
    frontend = FrontendSettings(floor=0.0)
    model = Classifier({"word": ["yes", "no"]}, ModelSettings((4,), ((2, 2),)), frontend=frontend)
    trained_on(model, batches).eval()
    made_of = model.configuration()
    del made_of["frontend"]
    weights = {f"classifier.{name}": value for name, value in model.state_dict().items()}
    torch.save({"classifier": made_of, "state_dict": weights, "global_step": 0}, tmp_path / "old.ckpt")
    loaded, x = load(tmp_path / "old.ckpt"), telephone(2)
    assert loaded.smallest_deviation == 0
    expected = model.classify(model.normalise(model.frontend(x).mT).mT.unsqueeze(1))
    assert torch.equal(loaded(x)["word"], expected["word"])
