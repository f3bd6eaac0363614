"""Limits that keep frontends within the memory, and what they must allow."""

from typing import Any

import pytest

from audiostride.config.frontend_settings import FrontendSettings


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 96_000, 250_000, 384_000])
@pytest.mark.parametrize("kind", ["log_mel", "pcen", "learned_resolution", "leaf"])
def test_every_kind_is_possible_at_every_rate(kind: Any, rate: int) -> None:
    settings = FrontendSettings(kind, rate)
    assert settings.highest_hz < rate / 2


def test_256_dense_channels_of_ultrasound_are_possible() -> None:
    settings = FrontendSettings("learned_resolution", 250_000, dense_channels=256, f_min=10_000)
    assert (settings.images, settings.channels, settings.windows) == (3, 256, (25, 50, 100))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"window_ms": 10_000.0, "mel_channels": 200},
            "windows of together 10000 ms at 16000 Hz with 200 channels make tables of more than",
        ),
        (
            {"kind": "learned_resolution", "windows_ms": [4000.0] * 4, "dense_channels": 128},
            "windows of together 16000 ms at 16000 Hz with 128 channels make tables of more than",
        ),
        ({"kind": "leaf", "mel_channels": 256, "sample_rate": 384_000}, "numbers of each second of sound"),
        (
            {"sample_rate": 384_000, "hop_ms": 0.01, "window_ms": 10.0, "mel_channels": 64},
            "lengthen it, shorten frontend.window_ms, or lower frontend.mel_channels",
        ),
    ],
)
def test_what_would_exhaust_the_memory_reports_a_clear_error(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        FrontendSettings(**settings)


def test_hop_of_the_grid_is_a_whole_number_of_samples() -> None:
    assert FrontendSettings(sample_rate=44_100).grid_hop_ms == 10.0
    assert FrontendSettings("leaf", 44_100).grid_hop_ms == pytest.approx(1000 * 110 / 44_100)
