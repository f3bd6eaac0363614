"""A convolution and its resampling as one operator, and the backward pass from the ramp: the same numbers."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn.functional import conv2d

from audiostride.layers import Downsample
from audiostride.layers.diffstride import DiffStride1d, DiffStride2d
from audiostride.layers.functional import (
    Ramp,
    Window,
    _LearnedRemoval,
    output_length,
    reached_size,
    resample,
    resampling_matrix,
    spectral_pool,
)
from audiostride.layers.kernels.fused_convolution import convolve_and_resample, fusing_pays

CASES = [
    (n, stride, smoothness)
    for n in (2, 3, 5, 8, 17, 64, 101)
    for stride in (1.0, 1.01, 1.37, 2.3, n / 2, 0.9 * n)
    for smoothness in (0.3, 1.0, 3.3, 4.0)
    if 1 <= stride < n
]


def maps(shape: tuple[int, ...], channels_last: bool = False, seed: int = 0) -> Tensor:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    return x.requires_grad_()


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("dim", [-1, -2, 0])
@pytest.mark.parametrize(("n", "stride", "smoothness"), CASES)
def test_backward_from_the_ramp_is_that_of_the_whole_matrix(
    n: int, stride: float, smoothness: float, dim: int
) -> None:
    shape = [3, 4, 5]
    shape[dim] = n
    x, s, length = maps(tuple(shape)), number(stride), output_length(n, stride, smoothness)
    expected = resample(x, resampling_matrix(n, s, smoothness, length=length), dim)
    g = torch.randn_like(expected)
    by_matrix = torch.autograd.grad((expected * g).sum(), (x, s))
    for known in (None, (stride,)):
        ours = spectral_pool(x, s[None], smoothness, (dim,), (length,), known)
        by_ramp = torch.autograd.grad((ours * g).sum(), (x, s))
        torch.testing.assert_close(ours, expected, atol=1e-12, rtol=0)
        torch.testing.assert_close(by_ramp, by_matrix, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("ramp", ["outside", "inside", "relative"])
@pytest.mark.parametrize("n", [16, 33, 64])
@pytest.mark.parametrize("stride", [1.0, 1.02, 1.05, 1.2, 1.5])
def test_what_is_removed_from_an_axis_that_keeps_its_length_is_what_the_matrix_leaves_out(
    stride: float, n: int, ramp: Ramp
) -> None:
    window = Window(0.25 if ramp == "relative" else 2.0, ramp)
    x, s = maps((2, 3, n, 5)), number(stride)
    matrix = resampling_matrix(n, s, window, length=n)
    g = torch.randn(2, 3, n, 5, dtype=torch.float64)
    by_matrix = torch.autograd.grad((resample(x, matrix, -2) * g).sum(), (x, s))
    ours = _LearnedRemoval.apply(x, s, window, -2, reached_size(n, stride, window))
    torch.testing.assert_close(ours, resample(x, matrix, -2), atol=1e-12, rtol=0)
    by_bins = torch.autograd.grad((ours * g).sum(), (x, s))
    torch.testing.assert_close(by_bins, by_matrix, atol=1e-10, rtol=1e-10)


def test_gradients_agree_with_differences_away_from_the_corners_of_the_mask() -> None:
    x, s = maps((2, 3, 23)), number(2.345)
    assert gradcheck(lambda x, s: spectral_pool(x, s[None], 2.5, (-1,), (14,)), (x, s))


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


def test_maps_with_channels_last_stay_so_and_give_the_same() -> None:
    x = maps((2, 6, 20, 16))
    plain, last = (
        DiffStride2d(stride=(2.3, 1.7), smoothness=1.0).double()(part)
        for part in (x, x.contiguous(memory_format=torch.channels_last))
    )
    torch.testing.assert_close(plain, last, atol=1e-12, rtol=0)
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("taps", [1, 3, 5])
@pytest.mark.parametrize("dim", [-2, -1])
@pytest.mark.parametrize(("n", "stride", "smoothness"), CASES[::5])
def test_fused_and_apart_agree_in_output_and_all_gradients(
    n: int, stride: float, smoothness: float, dim: int, taps: int, channels_last: bool
) -> None:
    shape = [2, 3, 6, 7]
    shape[dim] = n
    along = (lambda value, other: (value, other)) if dim == -2 else (lambda value, other: (other, value))
    x, s, bias = maps((*shape,), channels_last), number(stride), maps((4,), seed=1)
    weight = maps((4, 3, *along(taps, 1)), seed=2)
    length = output_length(n, stride, smoothness)
    full = conv2d(x, weight, bias, padding=along(taps // 2, 0))
    expected = resample(full, resampling_matrix(n, s, smoothness, length=length), dim)
    g = torch.randn_like(expected)
    apart = torch.autograd.grad((expected * g).sum(), (x, weight, bias, s))
    ours = convolve_and_resample(x, weight, bias, s, smoothness, dim, length)
    fused = torch.autograd.grad((ours * g).sum(), (x, weight, bias, s))
    torch.testing.assert_close(ours, expected, atol=1e-11, rtol=0)
    torch.testing.assert_close(fused, apart, atol=1e-9, rtol=1e-9)


def test_fusing_pays_for_few_channels_and_short_outputs() -> None:
    assert fusing_pays(100, 58, 3, 1, 64)
    assert Downsample(1, 16, 2.3, dim=-2, smoothness=1.0).is_fused(60)
    assert not Downsample(1, 16, 2, dim=-2, kind="strided").is_fused(60)
    assert fusing_pays(28, 16, 3, 256, 256)
    assert not fusing_pays(28, 28, 3, 256, 256)
    assert not fusing_pays(64, 40, 3, 64, 64)


def test_evaluation_builds_the_operator_of_a_stride_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    matrix = resampling_matrix

    def counted(*args: object, **kwargs: object) -> Tensor:
        built.append(args)
        return matrix(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("audiostride.layers.functional.resampling_matrix", counted)
    layer = DiffStride1d(stride=2.718, smoothness=1.5).eval()
    with torch.no_grad():
        first = [layer(torch.ones(2, 37)) for _ in range(3)]
        assert len(built) == 1
        layer.stride.fill_(3.1)
        other = layer(torch.ones(2, 37))
    assert len(built) == 2
    assert first[0].shape != other.shape


def test_what_evaluation_kept_can_be_trained_with() -> None:
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
