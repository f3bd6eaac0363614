"""Fast pooling gives the numbers and gradients of the plain form, and keeps little memory."""

import pytest
import torch
from helpers.feature_maps import CASES, maps, number
from torch import Tensor
from torch.autograd import gradcheck

from audiostride.layers import DiffStride1d, DiffStride2d, Window
from audiostride.layers.functional import output_length, resampling_matrix, spectral_pool
from audiostride.layers.kernels.learned import remove_bins
from audiostride.layers.kernels.pooling import AxisPlan, pool_axes
from audiostride.layers.kernels.products import apply_along
from audiostride.layers.kernels.ramp import changed_size
from audiostride.layers.window import Ramp

STRIDES = (2.3, 1.02)
WINDOWS = [Window(0.0), Window(1.0), Window(4.0), Window(3.0, "inside"), Window(0.3, "relative", 8)]


def plan(strides: Tensor | tuple[float, ...], shape: torch.Size, window: Window) -> list[AxisPlan]:
    return [
        AxisPlan(dim, stride, known, window, window.output_length(shape[dim], known))
        for dim, stride, known in zip((-2, -1), strides, STRIDES, strict=True)
    ]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
def test_fixed_strides_give_the_plain_form(window: Window, channels_last: bool) -> None:
    x = maps((2, 3, 17, 24), channels_last)
    expected = spectral_pool(x, STRIDES, window)
    torch.testing.assert_close(pool_axes(x, plan(STRIDES, x.shape, window)), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("window", WINDOWS[1:])
def test_learned_strides_give_the_plain_form_and_its_gradients(window: Window, channels_last: bool) -> None:
    x = maps((2, 3, 17, 64), channels_last)
    strides = torch.tensor(STRIDES, dtype=torch.float64, requires_grad=True)
    expected = spectral_pool(x, strides, window)
    ours = pool_axes(x, plan(strides, x.shape, window))
    torch.testing.assert_close(ours, expected, atol=1e-12, rtol=0)
    g = torch.randn_like(expected)
    expected_gradients = torch.autograd.grad((expected * g).sum(), (x, strides))
    gradients = torch.autograd.grad((ours * g).sum(), (x, strides))
    torch.testing.assert_close(gradients, expected_gradients, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_plain_form_works_in_16_bits_and_under_autocast(dtype: torch.dtype) -> None:
    x = maps((2, 40, 30)).detach().float()
    expected = spectral_pool(x, STRIDES, 4.0)
    direct = spectral_pool(x.to(dtype), STRIDES, 4.0)
    with torch.autocast("cpu", dtype):
        cast = spectral_pool(x, STRIDES, 4.0)
    assert direct.dtype == cast.dtype == dtype
    torch.testing.assert_close(direct.float(), expected, rtol=0, atol=4e-2)
    torch.testing.assert_close(cast.float(), expected, rtol=0, atol=4e-2)


@pytest.mark.parametrize("dim", [-1, -2, 0])
@pytest.mark.parametrize(("n", "stride", "smoothness"), CASES)
def test_gradient_from_the_ramp_equals_that_of_the_whole_matrix(
    n: int, stride: float, smoothness: float, dim: int
) -> None:
    shape = [3, 4, 5]
    shape[dim] = n
    x, s, length = maps(tuple(shape)), number(stride), output_length(n, stride, smoothness)
    expected = apply_along(x, resampling_matrix(n, s, smoothness, length=length), dim)
    g = torch.randn_like(expected)
    by_matrix = torch.autograd.grad((expected * g).sum(), (x, s))
    for known in (None, stride):
        ours = pool_axes(x, [AxisPlan(dim - 3 * (dim == 0), s, known, Window(smoothness), length)])
        by_ramp = torch.autograd.grad((ours * g).sum(), (x, s))
        torch.testing.assert_close(ours, expected, atol=1e-12, rtol=0)
        torch.testing.assert_close(by_ramp, by_matrix, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("ramp", ["outside", "inside", "relative"])
@pytest.mark.parametrize("n", [16, 33, 64])
@pytest.mark.parametrize("stride", [1.0, 1.02, 1.05, 1.2, 1.5])
def test_removing_the_changed_bins_equals_the_whole_matrix(stride: float, n: int, ramp: Ramp) -> None:
    window = Window(0.25 if ramp == "relative" else 2.0, ramp)
    x, s = maps((2, 3, n, 5)), number(stride)
    matrix = resampling_matrix(n, s, window, length=n)
    g = torch.randn(2, 3, n, 5, dtype=torch.float64)
    by_matrix = torch.autograd.grad((apply_along(x, matrix, -2) * g).sum(), (x, s))
    ours = remove_bins(x, s, window, -2, changed_size(n, stride, window))
    torch.testing.assert_close(ours, apply_along(x, matrix, -2), atol=1e-12, rtol=0)
    by_bins = torch.autograd.grad((ours * g).sum(), (x, s))
    torch.testing.assert_close(by_bins, by_matrix, atol=1e-10, rtol=1e-10)


def test_gradients_agree_with_central_differences_away_from_the_mask_corners() -> None:
    x, s = maps((2, 3, 23)), number(2.345)
    assert gradcheck(lambda x, s: pool_axes(x, [AxisPlan(-1, s, None, Window(2.5), 14)]), (x, s))


def test_the_input_is_not_kept_for_the_backward_pass() -> None:
    x = torch.randn(4, 8, 40, 64, requires_grad=True)
    kept: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        DiffStride2d(stride=(2.3, 1.7), smoothness=1.0)(x)
    largest = max(tensor.numel() for tensor in kept)
    assert largest <= x.numel() / 10


def test_channels_last_maps_keep_their_format_and_values() -> None:
    x = maps((2, 6, 20, 16))
    plain, last = (
        DiffStride2d(stride=(2.3, 1.7), smoothness=1.0).double()(part)
        for part in (x, x.contiguous(memory_format=torch.channels_last))
    )
    torch.testing.assert_close(plain, last, atol=1e-12, rtol=0)
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_builds_the_operator_of_a_stride_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    matrix = resampling_matrix

    def counted(*args: object, **kwargs: object) -> Tensor:
        built.append(args)
        return matrix(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("audiostride.layers.kernels.operators.resampling_matrix", counted)
    layer = DiffStride1d(stride=2.718, smoothness=1.5).eval()
    with torch.no_grad():
        first = [layer(torch.ones(2, 37)) for _ in range(3)]
        assert len(built) == 1
        layer.stride.fill_(3.1)
        other = layer(torch.ones(2, 37))
    assert len(built) == 2
    assert first[0].shape != other.shape


def test_operators_built_in_inference_mode_can_be_trained_with() -> None:
    layer = DiffStride1d(stride=2.719, smoothness=1.5)
    x = torch.randn(2, 41)
    with torch.inference_mode():
        layer.eval()(x)
    frozen = torch.nn.Linear(41, 41)
    with torch.no_grad():
        layer(x)
    layer.stride.requires_grad_(False)
    layer(frozen(x)).sum().backward()
    assert frozen.weight.grad is not None
