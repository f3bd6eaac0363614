"""Layers on ten seconds of waveform at 16 kHz (160,000 samples): physics, NumPy and SciPy, and sizes."""

import numpy as np
import pytest
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from audiostride import DiffStride1d, SpectralPool1d, Window

SECONDS, N = 10, 160_000
WINDOWS = [Window(4.0), Window(4.0, "inside"), Window(0.25, "relative")]


def tone(hertz: float, points: int) -> Tensor:
    """Return ten seconds of a tone, sampled at uniform points, of shape (1, points)."""
    seconds = torch.arange(points, dtype=torch.float64) * SECONDS / points
    return torch.cos(2 * torch.pi * hertz * seconds + 0.3).float()[None]


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def defined(x: NDArray[np.float64], stride: float, window: Window) -> NDArray[np.float64]:
    """Return DiffStride of the last axis as it is defined over signed bins, for an output that is shorter."""
    n = x.shape[-1]
    m = window.output_length(n, stride)
    begin, width = window.edges(n, stride, m)
    bins = np.arange(-(m // 2), m // 2 + 1)
    mask = np.clip((begin + width - np.abs(bins)) / width, 0, 1)
    kept = mask * np.fft.fft(x)[..., bins % n]
    if m % 2 == 0:  # one bin of the output takes both −m/2 and m/2
        kept[..., 0] += kept[..., -1]
        kept = kept[..., :-1]
    return np.fft.ifft(np.fft.ifftshift(kept, -1)).real * m / n


@pytest.mark.parametrize("stride", [2.0, 37.7, 100.0])
@pytest.mark.parametrize("window", WINDOWS)
def test_layer_equals_the_definition(window: Window, stride: float) -> None:
    x = noise(2, N)
    layer = DiffStride1d(stride, window=window)
    expected = defined(x.numpy(), layer.stride.item(), window)
    np.testing.assert_allclose(layer.double()(x).detach().numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("stride", [2.0, 37.7, 100.0])
def test_spectral_pooling_equals_resampling_by_scipy(stride: float) -> None:
    x = noise(2, N)
    expected = scipy.signal.resample(x.numpy(), int(N / stride), axis=-1)
    np.testing.assert_allclose(SpectralPool1d(stride)(x).numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("window", WINDOWS)
def test_gradient_of_the_stride_equals_differences_of_the_definition(window: Window) -> None:
    x, stride, step = noise(2, N), 100.3, 1e-6
    layer = DiffStride1d(stride, window=window).double()
    with torch.no_grad():
        layer.stride.fill_(stride)
    layer(x).pow(3).sum().backward()
    above, below = ((defined(x.numpy(), stride + sign * step, window) ** 3).sum() for sign in (1, -1))
    assert layer.stride.grad is not None
    assert layer.stride.grad.item() == pytest.approx((above - below) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("layer", [DiffStride1d(100.0), SpectralPool1d(100.0), DiffStride1d(2.0)])
def test_a_tone_below_the_cutoff_keeps_its_amplitude_and_place(layer: nn.Module) -> None:
    """Strides of 100 and 2 cut off at 80 and 4,000 Hz."""
    y = layer(tone(50.3, N))
    torch.testing.assert_close(y, tone(50.3, y.shape[-1]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("layer", [DiffStride1d(100.0), SpectralPool1d(100.0), DiffStride1d(2.0)])
@pytest.mark.parametrize("hertz", [4000.5, 7999.9])
def test_a_tone_above_the_ramp_vanishes(layer: nn.Module, hertz: float) -> None:
    assert layer(tone(hertz, N)).abs().max() < 1e-4


def test_a_tone_in_the_middle_of_the_ramp_is_halved() -> None:
    y = DiffStride1d(100.0)(tone(80.2, N))  # the ramp reaches from 80 to 80.4 Hz
    torch.testing.assert_close(y, tone(80.2, y.shape[-1]) / 2, atol=1e-3, rtol=0)


def test_a_shift_of_the_input_shifts_the_output() -> None:
    x, layer = noise(1, N), SpectralPool1d(100.0)
    torch.testing.assert_close(layer(x.roll(300, -1)), layer(x).roll(3, -1), atol=1e-10, rtol=0)


class LargestTensor(TorchDispatchMode):
    """Notes the size of the largest tensor that an operation returns."""

    nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.nbytes = max(self.nbytes, tensor.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("layer", [DiffStride1d(100.0), DiffStride1d(2.0), SpectralPool1d(2.0)])
def test_no_tensor_is_much_larger_than_the_input(layer: nn.Module) -> None:
    x = torch.randn(1, N, requires_grad=True)
    with LargestTensor() as largest:
        layer(x).square().sum().backward()
        layer.eval()(x.detach())
    assert largest.nbytes < 1.01 * x.nbytes


def test_a_batch_of_waveforms_is_pooled_like_each_waveform() -> None:
    x, layer = noise(3, N), DiffStride1d(100.0).double()
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]), atol=1e-12, rtol=0)
