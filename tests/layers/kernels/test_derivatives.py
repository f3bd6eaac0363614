"""Second derivatives and torch.func give what plain autograd gives through the formula.

All of it holds for resampling by matrices, and through the FFT.
"""

from collections.abc import Callable

import pytest
import torch
from helpers.feature_maps import maps, take_fourier
from torch import Tensor, nn
from torch.autograd import forward_ad, gradgradcheck
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.nn.functional import conv2d

from audiostride.layers import ConvDownsample, DiffStride1d, DiffStride2d, Window
from audiostride.layers.functional import spectral_pool

WINDOWS = [Window(2.5), Window(3.0, "inside"), Window(0.3, "relative")]
Form = tuple[nn.Module, Callable[..., Tensor], Tensor]


@pytest.fixture(params=["matrix", "fourier"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "fourier":
        take_fourier(monkeypatch)


def forms(window: Window = Window(2.5), channels_last: bool = False) -> dict[str, Form]:
    """Return from name: a layer, the formula as a function of x and its parameters, and an input."""

    def pooled(dims: tuple[int, ...]) -> Callable[..., Tensor]:
        return lambda x, stride: spectral_pool(x, stride, window, dims)

    def convolved(x: Tensor, weight: Tensor, bias: Tensor, stride: Tensor) -> Tensor:
        return spectral_pool(conv2d(x, weight, bias, padding=(1, 0)), stride, window, (-2,))

    torch.manual_seed(0)
    fused = ConvDownsample(1, 6, 2.345, dim=-2, window=window).double()
    apart = ConvDownsample(6, 1, 2.345, dim=-2, window=window).double()
    assert fused.is_fused(23)
    assert not apart.is_fused(23)
    return {
        "resample": (
            DiffStride2d((2.345, 1.91), window=window).double(),
            pooled((-2, -1)),
            maps((2, 1, 23, 17)),
        ),
        "remove": (DiffStride1d(1.046, window=Window(1.0)).double(), _removal, maps((2, 47))),
        "fused": (fused, convolved, maps((2, 1, 23, 3), channels_last)),
        "apart": (apart, convolved, maps((2, 6, 23, 3), channels_last)),
    }


def _removal(x: Tensor, stride: Tensor) -> Tensor:
    return spectral_pool(x, stride, Window(1.0), (-1,))


def parameters(layer: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in layer.named_parameters()}


@pytest.mark.parametrize("name", forms())
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_second_derivatives_equal_those_of_the_formula(
    name: str, window: Window, channels_last: bool
) -> None:
    layer, formula, x = forms(window, channels_last)[name]
    inputs = (x, *layer.parameters())

    def first_and_second(y: Tensor, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(of(y), inputs, create_graph=True)
        generator = torch.Generator().manual_seed(1)
        weights = [torch.randn(g.shape, dtype=g.dtype, generator=generator) for g in first]
        total = sum((g * w).sum() for g, w in zip(first, weights, strict=True))
        assert isinstance(total, Tensor)
        return (*first, *torch.autograd.grad(total, inputs, materialize_grads=True))

    for loss in (Tensor.sum, lambda y: y.square().sum(), lambda y: (y**3).sum()):
        ours, expected = first_and_second(layer(x), loss), first_and_second(formula(*inputs), loss)
        torch.testing.assert_close(ours, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", forms())
def test_second_derivatives_equal_differences(name: str) -> None:
    layer, _, x = forms()[name]

    def output(x: Tensor, *values: Tensor) -> Tensor:
        names = [name for name, _ in layer.named_parameters()]
        return functional_call(layer, dict(zip(names, values, strict=True)), x)

    assert gradgradcheck(output, (x, *layer.parameters()), check_batched_grad=name == "resample")


@pytest.mark.parametrize("name", forms())
def test_third_derivative_of_the_stride_is_that_of_the_formula(name: str) -> None:
    layer, formula, x = forms()[name]
    stride = list(layer.parameters())[-1]

    def third(y: Tensor) -> Tensor:
        value = y.square().sum()
        for _ in range(3):
            (gradient,) = torch.autograd.grad(value, stride, create_graph=True)
            value = gradient.sum()
        return value

    torch.testing.assert_close(third(layer(x)), third(formula(x, *layer.parameters())), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("name", forms())
@pytest.mark.parametrize("transform", [grad, jacrev, jacfwd, hessian])
def test_transforms_of_torch_func_equal_those_of_the_formula(name: str, transform: Callable) -> None:
    layer, formula, x = forms()[name]
    values, x = parameters(layer), x.detach()

    def ours(values: dict[str, Tensor]) -> Tensor:
        return functional_call(layer, values, x).square().mean()

    def expected(values: dict[str, Tensor]) -> Tensor:
        return formula(x, *values.values()).square().mean()

    torch.testing.assert_close(transform(ours)(values), transform(expected)(values), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", forms())
def test_gradients_per_example_are_those_of_each_example(name: str) -> None:
    layer, _, x = forms()[name]
    values, x = parameters(layer), x.detach()

    def loss(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(layer, values, x[None]).square().sum()

    batched = vmap(grad(loss), in_dims=(None, 0))(values, x)
    for index, example in enumerate(x):
        layer.zero_grad()
        layer(example[None]).square().sum().backward()
        for key, parameter in layer.named_parameters():
            torch.testing.assert_close(batched[key][index], parameter.grad)
    torch.testing.assert_close(vmap(layer)(x[:, None])[:, 0], layer(x))


@pytest.mark.parametrize("name", forms())
def test_forward_mode_equals_the_formula(name: str) -> None:
    layer, formula, x = forms()[name]
    values, x = parameters(layer), x.detach()
    ones = {key: torch.ones_like(value) for key, value in values.items()}
    expected = jvp(lambda values: formula(x, *values.values()), (values,), (ones,))[1]
    ours = jvp(lambda values: functional_call(layer, values, x), (values,), (ones,))[1]
    torch.testing.assert_close(ours, expected)
    with forward_ad.dual_level():
        duals = {key: forward_ad.make_dual(value, ones[key]) for key, value in values.items()}
        tangent = forward_ad.unpack_dual(functional_call(layer, duals, x)).tangent
    torch.testing.assert_close(tangent, expected)


def test_a_batch_of_strides_reports_a_clear_error() -> None:
    layer = DiffStride1d(2.0)

    def output(stride: Tensor) -> Tensor:
        return functional_call(layer, {"stride": stride}, torch.ones(2, 40))

    with pytest.raises(ValueError, match=r"vmap cannot batch strides: each gives another output length"):
        vmap(output)(torch.tensor([[2.0], [3.0]]))
