"""Strides and sums in types of 16 bits."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from audiostride import ConvDownsample, DiffStride1d, DiffStride2d, SeparableCNN, SpectralPool1d, Window

HALF = [torch.bfloat16, torch.float16]


def strides_of(network: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in network.named_parameters() if name.endswith("stride")]


def small(shared: bool = False) -> SeparableCNN:
    torch.manual_seed(0)
    return SeparableCNN((4, 6), ((2, 2), (1.5, 1.5)), window=Window(2.0), shared=shared)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize(
    "convert", [nn.Module.to, nn.Module.type, lambda network, dtype: network.to("cpu", dtype)]
)
def test_strides_stay_in_float32_in_a_network_of_half_precision(
    convert: Callable, dtype: torch.dtype, shared: bool
) -> None:
    network = convert(small(shared=shared), dtype)
    assert {stride.dtype for stride in strides_of(network)} == {torch.float32}
    assert len(strides_of(network)) == (2 if shared else 4)
    assert network.blocks[0].time.conv.weight.dtype == dtype
    network(torch.randn(2, 1, 40, 30, dtype=dtype)).float().square().sum().backward()
    for stride in strides_of(network):
        assert stride.grad is not None
        assert stride.grad.dtype == torch.float32
        assert stride.grad != 0
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    assert {p.dtype for p in network.double().parameters()} == {torch.float64}
    assert {stride.dtype for stride in strides_of(network.half())} == {torch.float32}


def test_strides_of_a_bfloat16_network_learn_as_those_of_float32() -> None:
    """A step of 1e-3 is lost in bfloat16, where numbers from 2 on are 1/64 apart."""
    network = small().bfloat16()
    optimizer = torch.optim.SGD(strides_of(network), lr=1.0)
    for stride in strides_of(network):
        stride.grad = torch.full_like(stride, -1e-3)
    optimizer.step()
    network.project_()
    expected = torch.tensor([[2.001, 2.001], [1.501, 1.501]])
    torch.testing.assert_close(network.strides.detach(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("assign", [False, True])
def test_a_state_of_half_precision_loads_into_float32_strides(assign: bool) -> None:
    network = small().bfloat16()
    state = {
        name: value.bfloat16() for name, value in small().state_dict().items() if value.is_floating_point()
    }
    network.load_state_dict(state, strict=False, assign=assign)
    assert {stride.dtype for stride in strides_of(network)} == {torch.float32}
    saved = copy.deepcopy(network.state_dict())
    assert saved["blocks.0.time.pool.stride"].dtype == torch.float32


@pytest.mark.parametrize("dtype", HALF)
def test_a_default_type_of_half_precision_makes_float32_strides(dtype: torch.dtype) -> None:
    """Lightning sets the default type for its precision bf16-true, here and in the forward pass."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        layer = DiffStride2d((2.3, 1.7))
        x = torch.randn(2, 40, 30)
        y = layer(x)
        y.square().sum().backward()
        fixed = SpectralPool1d(2.3).strides
    finally:
        torch.set_default_dtype(before)
    assert layer.stride.dtype == fixed.dtype == torch.float32
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), layer(x.float()), rtol=0, atol=0.05)


def test_fixed_strides_are_not_rounded_in_a_network_of_half_precision() -> None:
    network = SeparableCNN((4,), ((2.3, 1.7),), downsampling="spectral").bfloat16()
    torch.testing.assert_close(network.strides, torch.tensor([[2.3, 1.7]]))


def forms(n: int) -> dict[str, Callable[[Tensor], Tensor]]:
    window = Window(2.0)
    resampled = n / 64  # the matrix has few rows
    fused = ConvDownsample(1, 4, resampled, window=window).half()
    with torch.no_grad():
        fused.conv.weight.fill_(1 / 4)
        assert fused.conv.bias is not None
        fused.conv.bias.zero_()
    assert fused.is_fused(n)
    fixed = DiffStride1d(resampled, window=window)
    return {
        "resample": DiffStride1d(resampled, window=window),
        "remove": DiffStride1d(1.00001, window=window),
        "fused": lambda x: fused(x[None, None])[0, 0] / 0.75,
        "fixed": fixed.freeze_(),
        "spectral": SpectralPool1d(resampled),
    }


@pytest.mark.parametrize("n", [40_000, 100_003])
@pytest.mark.parametrize("form", ["resample", "remove", "fused", "fixed", "spectral"])
def test_long_axes_do_not_overflow_float16(form: str, n: int) -> None:
    layer = forms(n)[form]
    x = torch.full((1, n), 60.0, dtype=torch.float16, requires_grad=True)
    y = layer(x)
    assert y.dtype == torch.float16
    inner = y[..., 2:-2]  # the fused convolution continues the axis by zeros
    torch.testing.assert_close(
        inner.float(), torch.full(inner.shape, 60.0), rtol=2e-3, atol=0.5 * (form == "fused")
    )
    y.backward(torch.ones_like(y))
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert isinstance(layer, nn.Module) or form == "fused"
    for parameter in layer.parameters() if isinstance(layer, nn.Module) else ():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_gradient_of_a_stride_on_a_long_axis_in_float16_is_that_of_float64() -> None:
    n = 70_000
    t = torch.arange(n, dtype=torch.float64) / n
    for stride, window, frequency in ((n / 64, Window(4.0), 34), (1.00001, Window(4.0), n // 2)):
        x = (30 + 20 * torch.cos(2 * torch.pi * frequency * t + 0.3))[None]
        outputs, gradients = [], []
        for dtype in (torch.float64, torch.float16):
            layer = DiffStride1d(stride, window=window)
            y = layer(x.to(dtype))
            m = y.shape[-1]
            g = 30 * torch.cos(2 * torch.pi * frequency * torch.arange(m, dtype=torch.float64) / m)[None] + 50
            y.backward(g.to(dtype))
            assert layer.stride.grad is not None
            outputs.append(y.detach().double())
            gradients.append(layer.stride.grad)
        torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=0.1)
        torch.testing.assert_close(gradients[1], gradients[0], rtol=0.02, atol=0)
