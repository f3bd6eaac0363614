"""LogMel against librosa, and what it promises of times, types and levels."""

import librosa
import numpy as np
import pytest
import torch

from audiostride import LogMel


def waveform(samples: int = 16000) -> torch.Tensor:
    sweep = librosa.chirp(fmin=50, fmax=7900, sr=16000, length=samples)
    noise = np.random.default_rng(0).standard_normal(samples)
    return torch.tensor(0.3 * sweep + 0.01 * noise, dtype=torch.float32)


def test_agrees_with_librosa() -> None:
    x = waveform()
    padded = np.pad(x.numpy().astype(np.float64), 176)
    power = librosa.feature.melspectrogram(
        y=padded, sr=16000, n_fft=512, win_length=400, hop_length=160, center=False, n_mels=64,
        fmin=60, fmax=7800, htk=True, norm=None,
    )  # fmt: skip
    expected = np.log(power + 1e-6).T
    np.testing.assert_allclose(LogMel()(x).numpy(), expected, atol=2e-3)
    assert np.abs(LogMel()(x).numpy() - expected).mean() < 1e-5


@pytest.mark.parametrize("seconds", [1, 2, 7])
def test_one_second_gives_exactly_100_frames(seconds: int) -> None:
    assert LogMel()(torch.zeros(3, 16000 * seconds)).shape == (3, 100 * seconds, 64)


def test_a_frame_is_centred_on_its_hop() -> None:
    """Power around a click is highest in the frame of the hop that the click is in the middle of."""
    x = torch.zeros(16000)
    x[160 * 40 + 80] = 1.0
    assert LogMel()(x).sum(-1).argmax() == 40
    power = LogMel()(x).exp().sum(-1)
    torch.testing.assert_close(power[39], power[41], rtol=0.05, atol=0)


def test_a_tone_is_loudest_in_the_channel_that_contains_it() -> None:
    centres = librosa.mel_frequencies(66, fmin=60, fmax=7800, htk=True)[1:-1]
    for channel in (5, 30, 60):
        tone = torch.sin(2 * torch.pi * float(centres[channel]) * torch.arange(16000) / 16000)
        assert (LogMel()(tone)[20:80].argmax(-1) == channel).all()


def test_no_channel_is_empty() -> None:
    noise = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    assert LogMel()(noise).mean(0).min() > -1


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
