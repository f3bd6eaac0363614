"""Random feature maps and strides in double precision, and the cases that kernels are tested on."""

import pytest
import torch
from torch import Tensor

from audiostride import Window
from audiostride.layers.kernels import pooling

RAMPS = [
    Window(0.3),
    Window(4.0),
    Window(4.0, multiple=8),
    Window(3.0, "inside"),
    Window(3.0, "inside", 8),
    Window(0.3, "relative"),
]
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


def take_fourier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let axes of any length be resampled through the FFT."""
    monkeypatch.setattr(pooling, "is_long", lambda n: True)
    monkeypatch.setattr(pooling, "fourier_pays", lambda *args, **kwargs: True)
