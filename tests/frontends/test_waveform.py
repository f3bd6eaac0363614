"""Level normalisation: what it changes, what it keeps, and that it makes a classifier deaf to level."""

import numpy as np
import pytest
import torch

from audiostride import Classifier
from audiostride.config.settings import ModelSettings
from audiostride.frontends.waveform import normalise_level


def speech_like(seed: int = 0) -> torch.Tensor:
    """Noise whose level rises and falls four times a second, with a constant offset."""
    rng = np.random.default_rng(seed)
    envelope = 1 + np.sin(2 * np.pi * 4 * np.arange(16000) / 16000)
    return torch.tensor(0.1 * envelope * rng.standard_normal(16000) + 0.02, dtype=torch.float32)


def test_result_has_no_mean_and_the_wanted_root_mean_square() -> None:
    x = speech_like().double().numpy()
    expected = 0.1 * (x - x.mean()) / np.std(x)
    np.testing.assert_allclose(normalise_level(speech_like()).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("gain_db", [-50, -20, 20])
def test_result_does_not_depend_on_the_level(gain_db: float) -> None:
    x = speech_like()
    torch.testing.assert_close(
        normalise_level(10 ** (gain_db / 20) * x), normalise_level(x), atol=1e-5, rtol=0
    )


def test_each_waveform_has_its_own_gain() -> None:
    batch = torch.stack([0.01 * speech_like(0), speech_like(1)])
    expected = torch.stack([normalise_level(waveform) for waveform in batch])
    torch.testing.assert_close(normalise_level(batch), expected)


def test_silence_stays_silence_and_faint_noise_stays_faint() -> None:
    assert not normalise_level(torch.zeros(2, 16000)).any()
    faint = 1e-5 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    assert normalise_level(faint).std() < 0.011


def test_int16_means_the_same_as_floating_point() -> None:
    x = (speech_like() * 32768).round().clamp(-32768, 32767)
    torch.testing.assert_close(normalise_level(x.short()), normalise_level(x / 32768))


def test_gradient_is_finite_for_silence() -> None:
    x = torch.zeros(100, requires_grad=True)
    normalise_level(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_other_types_report_a_clear_error() -> None:
    with pytest.raises(ValueError, match=r"floating point or int16, but got torch\.int32"):
        normalise_level(torch.zeros(100, dtype=torch.int32))


def logits(level: str, gain: float) -> torch.Tensor:
    torch.manual_seed(0)
    settings = ModelSettings((4, 6), ((2, 2), (2, 1)), level=level)  # type: ignore[arg-type]
    classifier = Classifier({"word": ["yes", "no"]}, settings).eval()
    return classifier(gain * speech_like()[None])["word"]


def test_a_classifier_with_level_rms_ignores_the_level() -> None:
    torch.testing.assert_close(logits("rms", 0.03), logits("rms", 1.0), atol=1e-4, rtol=0)
    assert (logits("unchanged", 0.03) - logits("unchanged", 1.0)).abs().max() > 0.01


def test_gain_for_augmentation_comes_after_the_level_is_normalised() -> None:
    settings = ModelSettings((4,), ((2, 2),), level="rms")
    classifier = Classifier({"word": ["yes", "no"]}, settings).eval()
    gain = torch.tensor([0.5, 2.0])
    spectrograms = classifier.spectrogram(speech_like().expand(2, -1), gain)
    expected = classifier.frontend(normalise_level(speech_like()) * gain[:, None])
    torch.testing.assert_close(spectrograms, classifier.normalise(expected.mT).mT.unsqueeze(1))
