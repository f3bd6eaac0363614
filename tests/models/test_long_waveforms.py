"""Waveforms of more than a minute: the forward pass splits them into the windows of the evaluation."""

import numpy as np
import pytest
import torch
from torch import Tensor

from audiostride import Classifier, FrontendSettings
from audiostride.config.settings import ModelSettings
from audiostride.prediction.windows import consecutive_windows

RATE = 2000


def classifier(window_s: float = 1.0) -> Classifier:
    torch.manual_seed(0)
    settings = ModelSettings((4, 6), ((2, 2), (2, 1)), level="rms")
    frontend = FrontendSettings(sample_rate=RATE, window_ms=50, hop_ms=50, mel_channels=8)
    return Classifier({"word": ["yes", "no", "stop"]}, settings, window_s, frontend).eval()


def noise(batch: int, seconds: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    levels = torch.rand(batch, round(seconds * RATE), generator=generator)
    return levels * torch.randn(batch, round(seconds * RATE), generator=generator) / 10


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the waveforms that become spectrograms, in their order."""
    shapes: list[tuple[int, ...]] = []
    spectrogram = Classifier.spectrogram

    def noted(self: Classifier, waveform: Tensor, gain: Tensor | None = None) -> Tensor:
        shapes.append(tuple(waveform.shape))
        return spectrogram(self, waveform, gain)

    monkeypatch.setattr(Classifier, "spectrogram", noted)
    return shapes


@pytest.mark.parametrize("seconds", [60.5, 61.0, 75.3])
@pytest.mark.parametrize("window_s", [0.7, 1.0, 50.0])
@torch.no_grad()
def test_logits_are_the_mean_over_the_windows_of_the_evaluation(seconds: float, window_s: float) -> None:
    model, x = classifier(window_s), noise(2, seconds)
    window = round(window_s * RATE)
    (count,), (first,) = consecutive_windows(np.array([x.shape[1]]), window)
    logits = []
    for begin in range(first, first + count * window, window):
        inside = x[:, max(begin, 0) : begin + window]
        ends = (max(-begin, 0), window - inside.shape[1] - max(-begin, 0))
        logits.append(model(torch.nn.functional.pad(inside, ends))["word"])
    torch.testing.assert_close(model(x)["word"], torch.stack(logits).mean(0), atol=1e-5, rtol=1e-5)


def test_labels_are_those_of_predict() -> None:
    model, x = classifier(), noise(1, 64.2)
    probabilities = model(x)["word"].softmax(1)[0]
    rows = model.predict(x[0], top=3)
    expected = {row["label"]: row["probability"] for row in rows}
    assert dict(zip(model.labels["word"], probabilities.tolist(), strict=True)) == pytest.approx(
        expected, abs=1e-5
    )


def test_a_minute_is_classified_as_a_whole(seen: list[tuple[int, ...]]) -> None:
    classifier()(noise(1, 60))
    assert seen == [(1, 60 * RATE)]


@pytest.mark.parametrize(("batch", "minutes"), [(1, 2), (1, 10), (3, 3), (40, 2)])
def test_the_number_of_windows_at_once_does_not_grow_with_the_length(
    batch: int, minutes: int, seen: list[tuple[int, ...]]
) -> None:
    classifier()(noise(1, 60 * minutes).expand(batch, -1))
    assert {samples for _, samples in seen} == {RATE}
    assert sum(windows for windows, _ in seen) == batch * 60 * minutes
    assert max(windows for windows, _ in seen) <= max(batch, 32)


def test_windows_that_are_longer_than_a_minute_are_classified_as_a_whole(seen: list[tuple[int, ...]]) -> None:
    model = classifier(window_s=90.0)
    model(noise(1, 80))
    assert seen == [(1, 80 * RATE)]
    model(noise(1, 180))
    assert seen[1:] == [(1, 90 * RATE)] * 2


def test_waveforms_in_training_are_never_split(seen: list[tuple[int, ...]]) -> None:
    logits = classifier().train()(noise(2, 61))["word"]
    assert seen == [(2, 61 * RATE)]
    assert logits.requires_grad


def test_mean_over_windows_carries_no_gradient() -> None:
    assert not classifier()(noise(1, 61))["word"].requires_grad


def test_int16_means_the_same_as_floating_point() -> None:
    x = (noise(1, 61.3) * 32768).round().clamp(-32768, 32767)
    torch.testing.assert_close(classifier()(x.short()), classifier()(x / 32768))
