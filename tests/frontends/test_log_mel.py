"""LogMel against librosa, and what it promises of times, types and levels."""

from typing import Any, Literal

import librosa
import numpy as np
import pytest
import torch
import torchaudio
from numpy.typing import NDArray

from audiostride import FrontendSettings, LogMel
from audiostride.frontends.build import build_frontend


def waveform(samples: int = 16000) -> torch.Tensor:
    """A sweep over nearly all frequencies, at any sample rate, in soft noise."""
    sweep = librosa.chirp(fmin=50, fmax=7900, sr=16000, length=samples)
    noise = np.random.default_rng(0).standard_normal(samples)
    return torch.tensor(0.3 * sweep + 0.01 * noise, dtype=torch.float32)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"sample_rate": 8000, "window_ms": 32, "mel_channels": 40, "f_min": 100, "f_max": 3900},
    {"sample_rate": 22050, "hop_ms": 7.5, "mel_channels": 80, "f_min": 0, "f_max": 11025},
    {"sample_rate": 44100, "window_ms": 50, "hop_ms": 20, "mel_channels": 128, "f_max": 20_000},
    {"sample_rate": 250_000, "window_ms": 4, "hop_ms": 2, "f_min": 15_000, "f_max": 120_000},
    {"mel_channels": 256, "hop_ms": 2.5},  # the Fourier transform is longer than usual
]


def mel_power(x: torch.Tensor, frontend: LogMel) -> NDArray[np.float64]:
    """Return the power (frames, channels) by librosa: each frame is centred on the middle of its hop."""
    n_fft = frontend.mel.n_fft
    samples = np.pad(x.numpy().astype(np.float64), n_fft)
    middles = n_fft + np.arange(len(x) // frontend.hop) * frontend.hop + frontend.hop // 2
    frames = np.stack([samples[middle - n_fft // 2 : middle + n_fft // 2] for middle in middles])
    length = round(frontend.sample_rate * frontend.window_ms / 1000)
    window = librosa.util.pad_center(librosa.filters.get_window("hann", length, fftbins=True), size=n_fft)
    filters = librosa.filters.mel(
        sr=frontend.sample_rate, n_fft=n_fft, n_mels=frontend.mel_channels, fmin=frontend.f_min,
        fmax=frontend.f_max, htk=True, norm=None, dtype=np.float64,
    )  # fmt: skip
    return np.abs(np.fft.rfft(frames * window)) ** 2 @ filters.T


@pytest.mark.parametrize("settings", SETTINGS)
def test_agrees_with_librosa(settings: dict[str, Any]) -> None:
    frontend = LogMel(**settings)
    x = waveform(frontend.sample_rate // 2)
    expected = np.log(mel_power(x, frontend) + 1e-6)
    ours = frontend(x).numpy()
    np.testing.assert_allclose(ours, expected, atol=5e-3)
    assert np.abs(ours - expected).mean() < 1e-5


def test_numbers_of_the_default_are_those_of_torchaudio_bit_for_bit() -> None:
    x = waveform()
    mel = torchaudio.transforms.MelSpectrogram(
        16000, 512, win_length=400, hop_length=160, f_min=60.0, f_max=7800.0, n_mels=64, center=False
    )
    expected = (mel(torch.nn.functional.pad(x, (176, 176))) + 1e-6).log().mT
    assert torch.equal(LogMel()(x), expected)
    assert torch.equal(build_frontend(FrontendSettings()).features(x[None]), expected[None, None])


@pytest.mark.parametrize("settings", SETTINGS)
def test_compression_by_the_cube_root(settings: dict[str, Any]) -> None:
    frontend = LogMel(**settings, compression="root", offset=1e-3)
    x = waveform(frontend.sample_rate // 2)
    np.testing.assert_allclose(frontend(x).numpy(), np.cbrt(mel_power(x, frontend) + 1e-3), rtol=1e-3)


@pytest.mark.parametrize("compression", ["log", "root"])
def test_power_of_is_the_inverse_of_the_compression(compression: Literal["log", "root"]) -> None:
    frontend = LogMel(compression=compression, offset=1e-4)
    x = waveform()
    torch.testing.assert_close(frontend.power_of(frontend(x)), frontend.power(x), rtol=1e-4, atol=1e-5)
    assert not frontend.power_of(frontend(torch.zeros(1600)) - 1).any()


@pytest.mark.parametrize(
    ("rate", "hop_ms", "frames"), [(8000, 10, 100), (22050, 10, 100), (44100, 2.5, 400), (250_000, 1, 1000)]
)
def test_number_of_frames_is_the_number_of_whole_hops(rate: int, hop_ms: float, frames: int) -> None:
    frontend = LogMel(rate, hop_ms=hop_ms, f_max=rate / 2)
    for seconds in (1, 3):
        samples = rate * seconds
        expected = samples // round(rate * hop_ms / 1000)
        assert abs(expected - frames * seconds) <= seconds
        assert frontend(torch.zeros(2, samples)).shape == (2, expected, 64)
        assert frontend.size(samples) == (expected, 64)
        assert frontend.frames(samples) == expected


@pytest.mark.parametrize("seconds", [1, 2, 7])
def test_one_second_gives_exactly_100_frames(seconds: int) -> None:
    assert LogMel()(torch.zeros(3, 16000 * seconds)).shape == (3, 100 * seconds, 64)


@pytest.mark.parametrize("settings", SETTINGS[:5])
def test_a_frame_is_centred_on_its_hop(settings: dict[str, Any]) -> None:
    """Power around a click is highest in the frame of the hop that the click is in the middle of."""
    frontend = LogMel(**settings)
    x = torch.zeros(60 * frontend.hop)
    x[frontend.hop * 40 + frontend.hop // 2] = 1.0
    power = frontend.power(x).sum(-1)
    assert power.argmax() == 40
    torch.testing.assert_close(power[39], power[41], rtol=0.05, atol=0)


def test_a_tone_is_loudest_in_the_channel_that_contains_it() -> None:
    centres = librosa.mel_frequencies(66, fmin=60, fmax=7800, htk=True)[1:-1]
    for channel in (5, 30, 60):
        tone = torch.sin(2 * torch.pi * float(centres[channel]) * torch.arange(16000) / 16000)
        assert (LogMel()(tone)[20:80].argmax(-1) == channel).all()


@pytest.mark.parametrize("settings", SETTINGS)
def test_no_channel_is_empty(settings: dict[str, Any]) -> None:
    frontend = LogMel(**settings)
    noise = torch.randn(frontend.sample_rate // 2, generator=torch.Generator().manual_seed(0))
    assert frontend.power(noise).mean(0).min() > 0.01


def test_channels_that_would_stay_empty_report_a_clear_error() -> None:
    with pytest.raises(
        ValueError, match=r"lies in 7 of 600 mel channels, for example in channel 1 from 63 to"
    ):
        LogMel(mel_channels=600)


def test_int16_means_the_same_as_floating_point() -> None:
    x = (waveform() * 32768).round().clamp(-32768, 32767)
    torch.testing.assert_close(LogMel()(x.short()), LogMel()(x / 32768))


def test_autocast_does_not_lower_its_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        y = LogMel()(waveform())
    torch.testing.assert_close(y, LogMel()(waveform()), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_stays_in_float32_in_a_network_of_another_type(dtype: torch.dtype) -> None:
    y = LogMel().to(dtype)(waveform())
    torch.testing.assert_close(y, LogMel()(waveform()), rtol=0, atol=0)


def test_silence_is_finite() -> None:
    torch.testing.assert_close(LogMel()(torch.zeros(16000)), torch.full((100, 64), float(np.log(1e-6))))


def test_has_no_state_to_save() -> None:
    assert not LogMel().state_dict()


def test_bad_waveforms_report_a_clear_error() -> None:
    with pytest.raises(ValueError, match="at least 160 samples, but has 10"):
        LogMel()(torch.zeros(2, 10))
    with pytest.raises(ValueError, match=r"floating point or int16, but got torch\.int64"):
        LogMel()(torch.zeros(16000, dtype=torch.long))
