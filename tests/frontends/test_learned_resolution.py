"""LearnedResolution against the plain spectral pooling, and what its hop, channels and windows resolve."""

import numpy as np
import pytest
import torch
from torch import Tensor

from audiostride import LearnedResolution, LogMel, Window, project_
from audiostride.frontends.frontend import initial_stride
from audiostride.layers.functional import spectral_pool
from audiostride.mel_scale import mel_edges


def noise(*shape: int) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def tones(*hertz: float, seconds: float = 1.0, rate: int = 16000) -> Tensor:
    times = torch.arange(round(seconds * rate)) / rate
    return sum((torch.sin(2 * torch.pi * f * times) for f in hertz), torch.zeros(len(times)))


@pytest.mark.parametrize(
    ("rate", "windows_ms"), [(16000, (25, 50, 100)), (8000, (32,)), (22050, (20, 80)), (44100, (25, 50))]
)
def test_features_are_dense_spectrograms_side_by_side(rate: int, windows_ms: tuple[float, ...]) -> None:
    frontend = LearnedResolution(windows_ms, rate, 2.5, 96, f_max=0.45 * rate)
    x = noise(2, rate // 2)
    spectrograms = [LogMel(rate, window, 2.5, 96, f_max=0.45 * rate)(x) for window in windows_ms]
    torch.testing.assert_close(frontend.features(x), torch.stack(spectrograms, 1), rtol=1e-5, atol=1e-4)
    assert (frontend.images, frontend.channels) == (len(windows_ms), 96)


@pytest.mark.parametrize("smoothness", [0.0, 1.0, 4.0])
@pytest.mark.parametrize(("hop_ms", "mel_channels"), [(10, 64), (7, 50), (2.5, 128)])
def test_downsampling_is_spectral_pooling(smoothness: float, hop_ms: float, mel_channels: int) -> None:
    frontend = LearnedResolution(hop_ms=hop_ms, mel_channels=mel_channels, smoothness=smoothness)
    features = frontend.features(noise(2, 16000))
    strides = [initial_stride(hop_ms / 2.5), initial_stride(128 / mel_channels)]
    expected = spectral_pool(features.double(), strides, Window(smoothness, "inside"))
    torch.testing.assert_close(frontend.downsample(features).double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(frontend(noise(2, 16000)), frontend.downsample(features))


@pytest.mark.parametrize("mel_channels", [1, 2, 33, 49, 64, 96, 119, 120, 127, 128])
def test_begins_with_exactly_the_wanted_channels(mel_channels: int) -> None:
    frontend = LearnedResolution(mel_channels=mel_channels)
    # Low-pass windows leave an axis at least two samples.
    assert frontend.size(16000) == (100, max(2, mel_channels))


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_begins_with_the_wanted_hop(rate: int) -> None:
    frontend = LearnedResolution(sample_rate=rate, f_max=0.45 * rate)
    assert frontend.size(60 * rate)[0] == pytest.approx(6000, abs=1)


def test_size_is_that_of_the_result() -> None:
    frontend = LearnedResolution((25,), dense_channels=40, mel_channels=40)
    rng = np.random.default_rng(0)
    for time, mel in [(1.0, 1.0), (4.0, 2.0), (300.0, 30.0), *rng.uniform(1, 12, (20, 2))]:
        with torch.no_grad():
            frontend.resampling.stride.copy_(torch.tensor([time, mel]))
        for samples in (40, 80, 1600, 4321, 16000):
            features = torch.zeros(1, 1, frontend.frames(samples), 40)
            assert frontend.downsample(features).shape[-2:] == frontend.size(samples)


def test_both_strides_get_gradients_and_the_tables_none() -> None:
    frontend = LearnedResolution()
    assert [name for name, _ in frontend.named_parameters()] == ["resampling.stride"]
    frontend(noise(2, 16000)).square().sum().backward()
    assert frontend.resampling.stride.grad is not None
    assert (frontend.resampling.stride.grad != 0).all()
    assert torch.equal(frontend.strides, frontend.resampling.stride)


def test_strides_stay_in_their_ranges_after_projection() -> None:
    frontend = LearnedResolution()
    for value, expected in ((-5.0, (1, 1)), (1e4, (400, 128))):
        frontend(noise(1, 16000))
        with torch.no_grad():
            frontend.resampling.stride.fill_(value)
        project_(frontend)
        torch.testing.assert_close(frontend.strides, torch.tensor(expected, dtype=torch.float32))
        assert frontend(noise(1, 16000)).isfinite().all()


def valleys(values: Tensor) -> int:
    """Return the number of valleys that are deeper than 1 (4 dB) between peaks on both sides."""
    y = values.numpy()
    return sum(
        y[n - 1] > y[n] <= y[n + 1] and min(y[:n].max(), y[n + 1 :].max()) - y[n] > 1
        for n in range(1, len(y) - 1)
    )


@torch.no_grad()
def valleys_between(frontend: LearnedResolution, x: Tensor, low: float, high: float) -> list[int]:
    """Return the number of `valleys` of the mean power from low to high in Hz, for each window.

    The power is relative to that of white noise, because neighbouring channels have unequal gains.
    """
    sound, hiss = (frontend(y[None])[0].exp().mean(1).log() for y in (x, noise(10 * 16000)))
    mels = sound.shape[-1]
    hertz = np.interp(np.arange(mels) * 128 / mels, np.arange(128), mel_edges(128, 60, 7800)[1:-1])
    return [valleys(row[torch.tensor((hertz > low) & (hertz < high))]) for row in sound - hiss]


def test_a_finer_mel_stride_separates_two_tones_that_a_coarser_one_does_not() -> None:
    for mel_channels, expected in ((128, 1), (96, 1), (40, 0)):
        frontend = LearnedResolution((100,), mel_channels=mel_channels)
        assert valleys_between(frontend, tones(1000, 1120), 800, 1300) == [expected]


def test_a_long_window_separates_two_low_tones_that_a_short_one_does_not() -> None:
    frontend = LearnedResolution((25, 100), mel_channels=128)
    assert valleys_between(frontend, tones(200, 250), 150, 300) == [0, 1]


@torch.no_grad()
def test_a_short_window_separates_two_clicks_that_a_long_one_does_not() -> None:
    x = torch.zeros(1, 16000)
    x[0, 7000], x[0, 7000 + 16 * 40] = 1, 1
    short, _, long = LearnedResolution(hop_ms=2.5).features(x)[0]
    assert valleys(short[150:220].mean(1)) == 1
    assert valleys(long[150:220].mean(1)) == 0


def test_takes_windows_and_compression_from_its_arguments() -> None:
    frontend = LearnedResolution((30, 60), compression="root", offset=1e-3)
    assert frontend.features(noise(2, 1600)).shape == (2, 2, 40, 128)
    silence = frontend.features(torch.zeros(1, 1600))
    torch.testing.assert_close(silence, torch.full((1, 2, 40, 128), 0.1))


def test_channels_too_narrow_for_a_window_report_a_clear_error() -> None:
    with pytest.raises(ValueError, match="no bin of the spectrum of a window of 3 ms lies in 13 of 128"):
        LearnedResolution((3, 50))


def test_no_window_reports_a_clear_error() -> None:
    with pytest.raises(ValueError, match="windows_ms names no window"):
        LearnedResolution(())
