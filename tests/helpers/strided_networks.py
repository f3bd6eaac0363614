"""Small networks with ordinary strides, for tests that replace them."""

import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from audiostride import Window

INSIDE = Window(1.0, "inside")


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A block with two branches that are added."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + self.second(x)


class Calls(nn.Module):
    """A network whose forward pass is a function of its layers and the input."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self._calls = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self._calls(self, x)


def conv(stride: int | tuple[int, int] = 2, channels: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(channels, 3, 3, stride, **({"padding": 1} | options))


def small_residual() -> nn.Sequential:
    """Three strides, two of them in branches that meet, with normalisation and a head."""
    torch.manual_seed(0)
    block = Residual(nn.Sequential(conv(), nn.BatchNorm2d(3), nn.ReLU(), conv(1)), nn.Conv2d(3, 3, 1, 2))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)]
    return nn.Sequential(conv(channels=1), nn.ReLU(), block, *head)


def state_of(network: nn.Module) -> bytes:
    return pickle.dumps(network)
