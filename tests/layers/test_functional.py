"""The mathematics against its definition, scipy and central differences."""

import numpy as np
import pytest
import torch
from helpers import reference
from scipy.signal import resample as scipy_resample
from torch.nn.functional import mse_loss

from audiostride.layers.functional import cutoff_mask, output_length, resampling_matrix, spectral_pool

SIZES = (1, 2, 3, 4, 5, 7, 8, 16, 33, 64, 101)
SMOOTHNESSES = (0.0, 0.5, 1.0, 2.0, 4.0, 7.3)


def strides_for(n: int) -> list[float]:
    return [s for s in (1.0, 1.004, 1.3, 2.0, 2.7, 5.0, n / 2, n - 0.5, float(n)) if 1 <= s <= max(1, n)]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("smoothness", SMOOTHNESSES)
def test_matrix_equals_the_definition(n: int, smoothness: float) -> None:
    for stride in strides_for(n):
        ours = resampling_matrix(n, stride, smoothness).numpy()
        expected = reference.matrix(n, stride, smoothness)
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [n for n in SIZES if n > 1])
def test_without_smoothness_it_is_scipy_resample(n: int) -> None:
    x = np.random.default_rng(n).standard_normal(n)
    for stride in strides_for(n):
        ours = resampling_matrix(n, stride, 0.0).numpy() @ x
        np.testing.assert_allclose(ours, scipy_resample(x, len(ours)), rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [8, 9, 64, 101])
@pytest.mark.parametrize("smoothness", [1.0, 2.5, 4.0])
def test_gradient_equals_central_differences(n: int, smoothness: float) -> None:
    """Of the definition, with the output length held: it is an integer and carries no gradient."""
    rng = np.random.default_rng(n)
    x = rng.standard_normal(n)
    for stride in (1.37, 1.83, 2.61):
        m = output_length(n, stride, smoothness)
        target = rng.standard_normal(m)

        def loss(s: float, m: int = m, target: np.ndarray = target) -> float:
            f = np.arange(-(m // 2), m // 2 + 1)[: m if m == n and n % 2 == 0 else None]
            window = np.clip((smoothness + n / (2 * s) - abs(f)) / smoothness, 0, 1)
            phase = np.arange(m)[:, None, None] / m - np.arange(n)[None, :, None] / n
            y = (window * np.cos(2 * np.pi * f * phase)).sum(-1) @ x / n
            return float(((y - target) ** 2).mean())

        step = 1e-6
        expected = (loss(stride + step) - loss(stride - step)) / (2 * step)
        s = torch.tensor(stride, dtype=torch.float64, requires_grad=True)
        mse_loss(resampling_matrix(n, s, smoothness) @ torch.tensor(x), torch.tensor(target)).backward()
        assert s.grad is not None
        assert s.grad.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_long_axes_are_exact_to_rounding_in_float32() -> None:
    """Also at the edges, where phases that are all rounded in the same direction would add up."""
    x = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    exact = resampling_matrix(4000, 4.5, 4.0) @ x.double()
    ours = resampling_matrix(4000, 4.5, 4.0, dtype=torch.float32) @ x
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=2e-6)


def test_output_length_of_the_paper_s_network() -> None:
    # Floor at 2, ceiling at n, both sides of the ramp kept.
    assert [output_length(n, 2.0, 4.0) for n in (100, 64, 16, 1)] == [58, 40, 16, 1]
    assert output_length(64, 64.0, 0.0) == 2
    assert output_length(64, 3.0, 0.0) == 21


def test_mask_is_one_then_a_ramp_then_zero() -> None:
    window = cutoff_mask(torch.arange(-12.0, 13.0), torch.tensor(5.0), 4.0)
    expected = [max(0.0, min(1.0, (9 - abs(f)) / 4)) for f in range(-12, 13)]
    torch.testing.assert_close(window, torch.tensor(expected))


@pytest.mark.parametrize(("n", "stride"), [(64, 2.0), (101, 2.3), (100, 1.5)])
def test_keep_or_kill(n: int, stride: float) -> None:
    """A tone in the pass band comes out as the same tone; one in the stop band is gone."""
    smoothness = 4.0
    m = output_length(n, stride, smoothness)
    matrix = resampling_matrix(n, stride, smoothness)
    cutoff = n / (2 * stride)

    def tone(f: int, points: int) -> torch.Tensor:
        return torch.cos(2 * torch.pi * f * torch.arange(points, dtype=torch.float64) / points + 0.3)

    for f in range(n // 2):
        y = matrix @ tone(f, n)
        if f <= cutoff:
            torch.testing.assert_close(y, tone(f, m), rtol=0, atol=1e-10)
        elif f >= cutoff + smoothness:
            assert y.abs().max() < 1e-10


def test_a_shift_of_the_input_shifts_the_output() -> None:
    """By 3 samples of 48 in, 2 of 32 out; time runs forwards."""
    matrix = resampling_matrix(48, 2.0, 4.0)
    assert matrix.shape[0] == 32
    x = torch.randn(48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(matrix @ x.roll(3), (matrix @ x).roll(2), rtol=0, atol=1e-12)


def test_axes_are_separable_and_their_order_is_free() -> None:
    x = torch.randn(2, 12, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = np.einsum(
        "mi,nj,bij->bmn", reference.matrix(12, 1.9, 2.0), reference.matrix(17, 3.1, 2.0), x.numpy()
    )
    ours = spectral_pool(x, (1.9, 3.1), 2.0)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-10)
    swapped = spectral_pool(x, (3.1, 1.9), 2.0, dims=(-1, -2))
    torch.testing.assert_close(swapped, ours)


def test_a_nan_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        output_length(64, float("nan"), 4.0)
