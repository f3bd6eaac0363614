"""The mel scale against librosa, and the Fourier transform that it asks for."""

import librosa
import numpy as np
import pytest

from audiostride.mel_scale import fft_length, mel_edges, samples_of


@pytest.mark.parametrize(("channels", "f_min", "f_max"), [(64, 60, 7800), (128, 0, 4000), (1, 20e3, 120e3)])
def test_edges_are_those_of_librosa(channels: int, f_min: float, f_max: float) -> None:
    expected = librosa.mel_frequencies(channels + 2, fmin=f_min, fmax=f_max, htk=True)
    np.testing.assert_allclose(mel_edges(channels, f_min, f_max), expected, rtol=1e-12, atol=1e-9)


def test_durations_are_whole_samples_and_at_least_one() -> None:
    assert [samples_of(ms, 22050) for ms in (10, 2.5, 0.001)] == [220, 55, 1]


def test_the_fourier_transform_is_the_shortest_power_of_two_that_gives_each_channel_a_bin() -> None:
    assert fft_length(16000, 25, 10, 64, 60, 7800) == 512
    assert fft_length(16000, 32, 10, 64, 60, 7800) == 512  # 512 samples
    assert fft_length(16000, 25, 10, 256, 60, 7800) == 1024
    assert fft_length(16000, 10, 50, 8, 60, 7800) == 1024  # not shorter than the hop


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 250_000])
@pytest.mark.parametrize("channels", [40, 64, 128, 200])
def test_every_channel_has_a_bin(rate: int, channels: int) -> None:
    f_max = 0.4875 * rate
    n_fft = fft_length(rate, 25, 10, channels, 60, f_max)
    filters = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=channels, fmin=60, fmax=f_max, htk=True, norm=None
    )
    assert (filters.max(1) > 0).all()


def test_channels_that_stay_empty_report_a_clear_error() -> None:
    sentence = (
        "no bin of the spectrum of a window of 3 ms lies in 13 of 128 mel channels, for example in channel 1 "
        "from 74 to 104 Hz: give fewer channels, a longer window or a higher lowest frequency"
    )
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        fft_length(16000, 3, 2.5, 128, 60, 7800)
