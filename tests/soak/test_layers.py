"""Random layers, shapes, types and memory formats against the plain formula."""

import random
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from helpers.soak import Attack
from torch import Tensor, nn
from torch.nn.functional import conv2d

from audiostride import ConvDownsample, DiffStride1d, DiffStride2d, Window
from audiostride.layers.functional import spectral_pool
from audiostride.layers.window import Ramp

TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
Case = tuple[nn.Module, Callable[..., Tensor], tuple[int, ...]]


def random_case(rng: random.Random, long: bool) -> tuple[Case, str]:
    """Return a layer, its formula as a function of x and its parameters, the input's shape, and a name.

    Args:
        rng: source of all choices.
        long: give the input one long axis.
    """
    ramp = rng.choice(get_args(Ramp))
    smoothness = rng.choice([0.1, 0.3, 1.0]) if ramp == "relative" else rng.choice([0.5, 1.0, 2.7, 4.0, 1e6])
    window = Window(smoothness, ramp, multiple=rng.choice([1, 1, 8]))
    strides = [rng.choice([1.0, 1.01, rng.uniform(1, 6), 30.0]) for _ in range(2)]
    sizes = [rng.choice([1, 2, 3, rng.randint(4, 60)]) for _ in range(4)]
    if long:  # enough for the FFT, and prime: no edge of a ramp lies on a bin
        sizes = [min(size, 8) for size in sizes]
        sizes[rng.choice([-1, -2])] = rng.choice([257, 389, 509, 751, 1201])
    shape = tuple(sizes)
    name = f"{window} {strides} {shape}"
    if rng.random() < 0.4:
        dims = (-1, -2)[rng.randrange(2) :][:1]
        dim, taps = dims[0], rng.choice([1, 3, 5])
        layer = ConvDownsample(
            shape[1], rng.randint(1, 12), strides[0], dim=dim, kernel_size=taps, window=window
        )
        padding = (taps // 2, 0) if dim == -2 else (0, taps // 2)

        def convolved(x: Tensor, weight: Tensor, bias: Tensor, stride: Tensor) -> Tensor:
            return spectral_pool(conv2d(x, weight, bias, padding=padding), stride, window, dims)

        return (layer, convolved, shape), f"convolution {taps} {dim} {name}"
    if rng.random() < 0.5:
        axis = rng.choice([-1, -2, -3, -4])
        pool = DiffStride1d(strides[0], window=window, dim=axis)
        return (pool, lambda x, stride: spectral_pool(x, stride, window, (axis,)), shape), f"{axis} {name}"
    both = DiffStride2d(strides, window=window)
    return (both, lambda x, stride: spectral_pool(x, stride, window), shape), name


@pytest.mark.parametrize("long", [False, True])
def test_random_layers_give_the_formula_and_its_gradients(attack: Attack, long: bool) -> None:
    short, full = (20, 500) if long else (60, 3000)
    for seed in attack.seeds(short, full):
        rng, _ = random.Random(seed), torch.manual_seed(seed)
        (layer, formula, shape), name = random_case(rng, long)
        dtype = rng.choice(list(TOLERANCES))
        with attack.trial(seed, f"{dtype} {name}"):
            exact = layer.double() if dtype == torch.float64 else layer
            x = torch.randn(shape).to(dtype)
            if rng.random() < 0.5:
                x = x.contiguous(memory_format=torch.channels_last)
            x.requires_grad_()
            y = exact.to(dtype)(x)
            inputs = [t.detach().double().requires_grad_() for t in (x, *layer.parameters())]
            expected = formula(*inputs)
            g = torch.randn_like(expected)
            g = g.to(dtype)
            gradients = torch.autograd.grad(y, (x, *layer.parameters()), g, materialize_grads=True)
            exact_gradients = torch.autograd.grad(
                expected, inputs, g.to(dtype).double(), materialize_grads=True
            )
            for ours, theirs in zip((y, *gradients), (expected, *exact_gradients), strict=True):
                assert ours.shape == theirs.shape
                # The gradient of a stride sums as many roundings as x has samples.
                scale = max(1.0, theirs.abs().max().item(), x.numel() ** 0.5 / 4 * (theirs.numel() <= 2))
                atol = TOLERANCES[dtype] * scale
                torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=atol)
            attack.count(f"right in {dtype}".replace("torch.", ""))
