"""Resampling through the FFT gives what the matrix gives, keeps little memory, and is taken for long axes."""

import pytest
import torch
from helpers.feature_maps import CASES, RAMPS, maps, number
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import conv2d

from audiostride import ConvDownsample, DiffStride1d, DiffStride2d, SeparableCNN, SpectralPool1d, Window
from audiostride.layers.functional import resampling_matrix, spectral_pool
from audiostride.layers.kernels import learned, operators, pooling
from audiostride.layers.kernels.costs import fourier_pays
from audiostride.layers.kernels.fourier import resample_by_fourier
from audiostride.layers.kernels.learned import learned_matrix
from audiostride.layers.kernels.operators import per_tap_matrix
from audiostride.layers.kernels.pooling import AxisPlan, pool_axes
from audiostride.layers.kernels.products import apply_along

WINDOWS = [Window(0.0), *RAMPS]


def agree_with_the_matrix(
    x: Tensor, stride: float, window: Window, dim: int, *, taps: int | None = None, known: bool = True
) -> None:
    """Compare output and gradients of one axis in float64."""
    n, s = x.shape[dim], number(stride)
    length = window.output_length(n, stride)
    matrix = per_tap_matrix(resampling_matrix(n, s, window, length=length), taps)
    expected = apply_along(x, matrix, dim)
    ours = resample_by_fourier(x, s, stride if known else None, window, dim, length, taps)
    torch.testing.assert_close(ours, expected, atol=1e-10, rtol=0)
    g = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad(y, (x, s), g, materialize_grads=True) for y in (ours, expected)]
    torch.testing.assert_close(*gradients, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("n", [2, 3, 4, 5, 16, 17, 64, 101, 128, 257, 300])
@pytest.mark.parametrize("stride", [1.0, 1.01, 1.37, 2.0, 2.3, 7.9, 300.0])
def test_output_and_gradients_equal_those_of_the_matrix(n: int, stride: float, window: Window) -> None:
    agree_with_the_matrix(maps((3, n)), stride, window, -1)


@pytest.mark.parametrize(("n", "stride", "smoothness"), CASES[::3])
@pytest.mark.parametrize("taps", [1, 3, 5])
def test_taps_see_the_axis_shifted_with_zeros_beyond_its_edges(
    n: int, stride: float, smoothness: float, taps: int
) -> None:
    agree_with_the_matrix(maps((2, n)), stride, Window(smoothness), -1, taps=taps)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("taps", [None, 3])
@pytest.mark.parametrize("dim", [-1, -2, -3, -4])
def test_every_axis_of_both_memory_formats_agrees(dim: int, taps: int | None, channels_last: bool) -> None:
    shape = [2, 3, 4, 5]
    shape[dim] = 31
    agree_with_the_matrix(maps(tuple(shape), channels_last), 2.3, Window(2.0), dim, taps=taps)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_stride_that_the_host_does_not_know_gives_the_same(window: Window) -> None:
    agree_with_the_matrix(maps((3, 101)), 2.3, window, -1, known=False)


@pytest.mark.parametrize("dim", [-1, -2])
def test_channels_last_maps_stay_channels_last(dim: int) -> None:
    x = maps((2, 6, 40, 36), channels_last=True)
    y = resample_by_fourier(x, 2.3, 2.3, Window(1.0), dim, Window(1.0).output_length(x.shape[dim], 2.3))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert resample_by_fourier(x.contiguous(), 2.3, 2.3, Window(1.0), dim, y.shape[dim]).is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_types_are_transformed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    x = maps((2, 3, 1000)).detach().to(dtype)
    layer = DiffStride1d(2.3)
    assert torch.equal(layer(x), layer(x.float()).to(dtype))
    with torch.autocast("cpu", dtype):
        assert torch.equal(layer(x.float()), layer(x))


def test_first_and_second_derivatives_equal_differences() -> None:
    x, s = maps((2, 3, 11)), number(2.345)

    def pool(x: Tensor, s: Tensor) -> Tensor:
        return resample_by_fourier(x, s, 2.345, Window(2.5), -1, 9)

    assert gradcheck(pool, (x, s), check_batched_grad=True)
    assert gradgradcheck(pool, (x, s), check_batched_grad=True)


@pytest.mark.parametrize("shape", [(0, 700), (2, 0, 700)])
def test_an_empty_batch_of_long_axes_stays_empty(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, layer = torch.ones(shape, requires_grad=True), DiffStride1d(2.0)
    layer(x).sum().backward()
    assert layer(x).shape == (*shape[:-1], 358)
    assert x.grad is not None
    assert x.grad.shape == shape


def test_a_long_axis_on_the_meta_device_has_the_right_length() -> None:
    layer = DiffStride1d(2.0).to("meta")
    x = torch.ones(2, 700, device="meta", requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == (2, 358)
    assert y.is_meta


# Which form is taken


class ForbiddenError(Exception):
    """Raised by a function that a test does not allow."""


def forbid(monkeypatch: pytest.MonkeyPatch, *modules: object, name: str) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise ForbiddenError(name)

    for module in modules:
        monkeypatch.setattr(module, name, refuse)


@pytest.mark.parametrize("downsampling", ["diffstride", "spectral"])
def test_networks_build_no_matrix_for_a_minute_of_sound(
    downsampling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def noted(n: int, *args: object, **kwargs: object) -> Tensor:
        built.append(n)
        return resampling_matrix(n, *args, **kwargs)  # type: ignore[arg-type]

    def noted_learned(like: Tensor, n: int, *args: object) -> Tensor:
        built.append(n)
        return learned_matrix(like, n, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(operators, "resampling_matrix", noted)
    monkeypatch.setattr(learned, "learned_matrix", noted_learned)
    network = SeparableCNN((4, 6), ((2, 2), (2, 2)), downsampling, Window(1.0))  # type: ignore[arg-type]
    for mode in (True, False):
        network.train(mode)(torch.randn(2, 1, 6000, 64)).sum().backward()
    assert max(built) <= 64


@pytest.mark.parametrize("smoothness", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("stride", [1.0, 2.0, 3.7, 64.0])
def test_axes_of_up_to_256_samples_are_never_transformed(
    stride: float, smoothness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, pooling, name="resample_by_fourier")
    for n in (64, 100, 128, 256):
        for lines in (1, 1000):
            layer = DiffStride1d(stride, smoothness=smoothness)
            layer(torch.randn(lines, n)).sum()
            layer.eval().freeze_()(torch.randn(lines, n))


def test_the_paper_network_is_never_transformed_for_a_second_of_sound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forbid(monkeypatch, pooling, name="resample_by_fourier")
    for smoothness in (1.0, 4.0):
        network = SeparableCNN((4, 6, 8, 8, 8, 8), window=Window(smoothness))
        network(torch.randn(1, 1, 100, 64)).sum().backward()
        network.eval()(torch.randn(1, 1, 100, 64))


def test_the_fft_pays_for_long_axes_and_the_matrix_for_few_output_samples() -> None:
    assert fourier_pays(1000, 508)
    assert fourier_pays(160_000, 80_008)
    assert not fourier_pays(300, 158)
    assert not fourier_pays(16_000, 20)


def test_building_the_matrix_counts_where_there_are_few_lines() -> None:
    assert not fourier_pays(16_000, 100, lines=10_000, rebuilt=True)
    assert fourier_pays(16_000, 100, lines=8, rebuilt=True)
    assert not fourier_pays(16_000, 100, lines=8)


def test_a_fixed_stride_counts_no_building_only_if_its_matrix_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forbid(monkeypatch, pooling, name="resample_by_fourier")
    for n in (4000, 80_000):  # matrices of 0.5 and 10 MB
        layer = SpectralPool1d(n / 32)
        if n == 4000:
            assert layer(torch.ones(1, n)).shape == layer(torch.ones(1, n)).shape == (1, 32)
        else:
            with pytest.raises(ForbiddenError):
                layer(torch.ones(1, n))


def test_a_stride_near_one_removes_few_bins_and_transforms_if_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.randn(2, 4000)
    forbid(monkeypatch, pooling, name="resample_by_fourier")
    DiffStride1d(1.001)(x)
    with pytest.raises(ForbiddenError):
        DiffStride1d(1.2, ramp="relative", smoothness=0.1)(x)


def targets(graph: torch.fx.GraphModule) -> str:
    return " ".join(str(node.target) for node in graph.graph.nodes)


@pytest.mark.parametrize("layer", [DiffStride1d(2.0), SpectralPool1d(2.0), ConvDownsample(1, 4, 2.0, dim=-1)])
def test_exported_programs_multiply_by_the_matrix(layer: nn.Module) -> None:
    x = torch.randn(2, 1, 3, 600)
    program = torch.export.export(layer.eval(), (x,))
    assert "fft" not in targets(program.graph_module)
    torch.testing.assert_close(program.module()(x), layer(x), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_traced_layers_multiply_by_the_matrix() -> None:
    x, layer = torch.randn(2, 600), SpectralPool1d(2.0)
    traced = torch.jit.trace(layer, x)
    assert "aten::fft" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(x), layer(x), atol=1e-5, rtol=0)


def test_compiled_layers_multiply_by_the_matrix() -> None:
    graphs: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> torch.fx.GraphModule:
        graphs.append(targets(graph))
        return graph

    x, layer = torch.randn(2, 600), DiffStride1d(2.0).freeze_()
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(layer, backend=backend)(x), layer(x), atol=1e-5, rtol=0)
    assert graphs
    assert not any("fft" in graph for graph in graphs)


# Memory


def kept_bytes(layer: nn.Module, x: Tensor) -> int:
    """Return the bytes of all storages that the backward pass keeps, parameters not counted."""
    storages: dict[int, int] = {}
    parameters = {parameter.untyped_storage().data_ptr() for parameter in layer.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = layer(x)
    kept = sum(storages.values())
    del y  # needed until here: storages that are freed give their addresses to others
    return kept


@pytest.mark.parametrize("shape", [(1, 160_000), (8, 160_000), (2, 3, 30_000, 5)])
@pytest.mark.parametrize("stride", [2.0, 100.0])
def test_the_backward_pass_keeps_the_bins_on_the_ramp_not_the_input(
    shape: tuple[int, ...], stride: float
) -> None:
    x = torch.randn(shape, requires_grad=True)
    layer = DiffStride1d(stride, dim=-2 if len(shape) == 4 else -1)
    length = layer(x).shape[layer.dims[0]]
    lines = x.numel() // x.shape[layer.dims[0]]
    weights = 4 * (length // 2 + 1)
    assert kept_bytes(layer, x) < weights + 8 * 12 * lines + 4096


def test_a_convolution_of_a_long_axis_is_resampled_before_its_channels_are_spread() -> None:
    layer = ConvDownsample(1, 64, 2.0, dim=-2, window=Window(1.0))
    assert layer.is_fused(6000)
    x = torch.randn(1, 1, 6000, 4)
    assert kept_bytes(layer, x) < 2 * x.nbytes + 4096
    assert not ConvDownsample(64, 64, 2.0, dim=-2, window=Window(1.0)).is_fused(6000)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("channels", [(1, 6), (6, 1)])
@pytest.mark.parametrize("dim", [-2, -1])
def test_a_convolution_along_a_long_axis_equals_the_formula(
    dim: int, channels: tuple[int, int], channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, operators, name="resampling_matrix")
    forbid(monkeypatch, learned, name="learned_matrix")
    layer = ConvDownsample(*channels, 2.345, dim=dim, window=Window(2.5)).double()
    assert layer.is_fused(700) == (channels == (1, 6))
    shape = (2, channels[0], 700, 3) if dim == -2 else (2, channels[0], 3, 700)
    x = maps(shape, channels_last)
    inputs = (x, *layer.parameters())
    _, weight, bias, stride = inputs
    full = conv2d(x, weight, bias, padding=(1, 0) if dim == -2 else (0, 1))
    ours, expected = layer(x), spectral_pool(full, stride, Window(2.5), (dim,))
    torch.testing.assert_close(ours, expected, atol=1e-10, rtol=0)
    g = torch.randn_like(expected)
    gradients = [torch.autograd.grad(y, inputs, g) for y in (ours, expected)]
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-9)


def test_two_long_axes_equal_the_formula() -> None:
    x, strides = maps((2, 700, 601)), (2.3, 1.7)
    layer = DiffStride2d(strides).double()
    expected = spectral_pool(x, layer.stride, 4.0)
    torch.testing.assert_close(layer(x), expected, atol=1e-10, rtol=0)
    plans = [
        AxisPlan(dim, stride, stride, Window(), Window().output_length(x.shape[dim], stride))
        for dim, stride in zip((-2, -1), layer.stride.tolist(), strict=True)
    ]
    torch.testing.assert_close(pool_axes(x, plans), expected, atol=1e-10, rtol=0)
