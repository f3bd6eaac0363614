"""Frontends that settings describe, and what all of them have in common."""

from typing import Any

import pytest
import torch
from helpers.frontends import KINDS, Kind, small_frontend, sound

from audiostride import FrontendSettings, Leaf, LearnedResolution, LogMel, PcenMel
from audiostride.frontends.build import build_sound_frontend
from audiostride.frontends.frontend import initial_stride, limited

EACH_KIND = pytest.mark.parametrize("kind", KINDS)
OTHER: dict[str, Any] = {
    "sample_rate": 8000,
    "window_ms": 32.0,
    "hop_ms": 8.0,
    "f_min": 90.0,
    "f_max": 3500.0,
    "compression": "root",
    "offset": 1e-4,
    "pcen_learned": False,
    "windows_ms": (20.0, 40.0),
    "dense_hop_ms": 4.0,
    "smoothness": 2.0,
}


@pytest.mark.parametrize(
    ("kind", "expected"), list(zip(KINDS, (LogMel, PcenMel, LearnedResolution, Leaf), strict=True))
)
def test_each_kind_is_a_class_with_the_same_defaults(kind: Kind, expected: type) -> None:
    frontend = build_sound_frontend(FrontendSettings(kind=kind))
    assert type(frontend) is expected
    x = sound(1)
    torch.testing.assert_close(frontend(x), expected()(x), rtol=0, atol=0)


@EACH_KIND
@pytest.mark.parametrize("settings", [{}, OTHER])
def test_its_configuration_builds_it_again(kind: Kind, settings: dict[str, Any]) -> None:
    made_of = small_frontend(kind, **settings)
    frontend = build_sound_frontend(made_of)
    configuration = frontend.configuration()
    for name, value in configuration.items():
        assert value == (made_of.highest_hz if name == "f_max" else getattr(made_of, name)), name
    again = build_sound_frontend(FrontendSettings(**configuration))
    x = sound(2, rate=made_of.sample_rate)
    torch.testing.assert_close(again.features(x), frontend.features(x), rtol=0, atol=0)
    assert again.configuration() == configuration


@EACH_KIND
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_features_have_the_shape_that_it_says(kind: Kind, rate: int) -> None:
    frontend = build_sound_frontend(small_frontend(kind, sample_rate=rate))
    x = sound(2, 0.5, rate=rate)
    features = frontend.features(x)
    assert features.shape[:2] == (2, frontend.images)
    assert features.shape[-1] == frontend.channels
    assert frontend.downsample(features).shape[-2:] == frontend.size(x.shape[1])
    assert frontend.f_max == pytest.approx(0.4875 * rate)
    if kind != "leaf":  # its features are downsampled already
        assert features.shape[-2] == frontend.frames(x.shape[1])


@EACH_KIND
def test_cost_grows_with_the_length_and_with_the_channels(kind: Kind) -> None:
    few, many = (build_sound_frontend(FrontendSettings(kind=kind, mel_channels=n)) for n in (32, 64))
    assert many.macs(160_000) > 5 * many.macs(16000) > 0  # long axes go through the FFT
    if kind != "leaf":  # fewer filters are wider, and the power of wider ones is computed at more samples
        assert few.macs(16000) < many.macs(16000)


def test_plain_log_mel_costs_its_transform_and_its_filters() -> None:
    # 100 frames: 512 samples · log2(512), squares of 257 bins in two parts, 257 bins · 64 channels.
    assert LogMel().macs(16000) == 100 * (512 * 9 + 2 * 257 + 257 * 64)


@pytest.mark.parametrize("kind", ["log_mel", "pcen", "learned_resolution", "leaf"])
def test_stays_in_float32_whatever_the_default_type_is(kind: Kind) -> None:
    x, default = sound(1), torch.get_default_dtype()
    expected = build_sound_frontend(small_frontend(kind))(x)
    torch.set_default_dtype(torch.float64)
    try:
        result = build_sound_frontend(small_frontend(kind))(x)
    finally:
        torch.set_default_dtype(default)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-3)


def test_initial_stride_leaves_exactly_the_wanted_points() -> None:
    for points in range(1, 400):
        for wanted in range(1, points + 1):
            assert points // initial_stride(points / wanted) == wanted
    assert initial_stride(0.7) == 1
    assert initial_stride(4.0) == 4


def test_limited_values_keep_their_gradient() -> None:
    x = torch.tensor([-3.0, 0.3, 7.0], requires_grad=True)
    y = limited(x, 0.0, 1.0)
    y.sum().backward()
    assert y.tolist() == pytest.approx([0, 0.3, 1])
    assert x.grad is not None
    assert x.grad.tolist() == [1, 1, 1]
