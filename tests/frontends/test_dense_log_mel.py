"""DenseLogMel against the plain LogMel."""

import pytest
import torch

from audiostride import LogMel
from audiostride.frontends import dense_log_mel
from audiostride.frontends.dense_log_mel import DenseLogMel


def noise(*shape: int) -> torch.Tensor:
    levels = torch.logspace(-4, 0, shape[-1])
    return levels * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("window_ms", [25, 50, 100])
@pytest.mark.parametrize("mel_channels", [40, 128])
@pytest.mark.parametrize("shape", [(8000,), (3, 8000), (2, 3, 1999), (1, 40)])
def test_agrees_with_the_plain_form(window_ms: float, mel_channels: int, shape: tuple[int, ...]) -> None:
    settings = (16000, window_ms, 2.5, mel_channels)
    x = noise(*shape)
    ours, plain = DenseLogMel(*settings).power(x), LogMel(*settings).power(x)
    assert ours.shape == plain.shape
    torch.testing.assert_close(ours, plain, rtol=3e-6, atol=1e-9)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 250_000])
def test_agrees_with_the_plain_form_at_other_rates(rate: int) -> None:
    x = noise(2, rate // 4)
    ours, plain = (kind(rate, 50, 2.5, 128, f_max=rate / 2).power(x) for kind in (DenseLogMel, LogMel))
    torch.testing.assert_close(ours, plain, rtol=3e-6, atol=1e-9)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("at_once", [1, 10_000, 100_000, 1 << 30])
def test_spectra_are_computed_for_a_few_frames_at_a_time(
    batch: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    rfft = torch.fft.rfft

    def noted(frames: torch.Tensor) -> torch.Tensor:
        sizes.append(frames.numel())
        return rfft(frames)

    monkeypatch.setattr(dense_log_mel, "_AT_ONCE", {"cpu": at_once})
    monkeypatch.setattr(torch.fft, "rfft", noted)
    frontend, x = DenseLogMel(hop_ms=2.5), noise(batch, 8000)
    power = frontend.power(x)
    assert sum(sizes) == batch * 200 * 512
    assert max(sizes) <= max(at_once, batch * 512)  # one frame of each waveform at least
    torch.testing.assert_close(power, LogMel(hop_ms=2.5).power(x), rtol=3e-6, atol=1e-9)


def test_gradients_reach_the_waveform() -> None:
    gradients = []
    for kind in (DenseLogMel, LogMel):
        x = noise(2, 2000).requires_grad_()
        kind(hop_ms=2.5)(x).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


def test_an_empty_batch_has_no_spectrograms() -> None:
    assert DenseLogMel(hop_ms=2.5)(torch.zeros(0, 1600)).shape == (0, 40, 64)


def test_counts_fewer_multiplications_than_the_plain_form() -> None:
    settings = (16000, 100.0, 2.5, 128)
    dense, plain = DenseLogMel(*settings), LogMel(*settings)
    used = sum(int((columns.sum(1) > 0).sum()) * 16 for columns in dense.mel.mel_scale.fb.split(16, dim=1))
    assert plain.macs(16000) - dense.macs(16000) == 400 * (1025 * 128 - used)
