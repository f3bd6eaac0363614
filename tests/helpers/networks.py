"""Small networks, for what all networks must hold."""

from collections.abc import Mapping
from inspect import signature
from typing import Any, get_args

import torch
from torch import Tensor, nn

from audiostride.layers import Window
from audiostride.layers.conv_downsample import Downsampling
from audiostride.models.build import network_class
from audiostride.models.trunk import Trunk

KINDS: tuple[Downsampling, ...] = get_args(Downsampling)
SMALL: Mapping[str, Mapping[str, Any]] = {
    "bc_resnet": {"channels": (8, 4, 6, 8, 8, 12), "layers": (2, 1, 1, 1), "bands": 3},
    "densenet_bc": {"channels": (6, 4), "layers": (1, 2, 1)},
    "efficientnet_b0": {"channels": (8, 8, 8, 8, 8, 8, 8, 8, 16), "layers": (1, 1, 2, 1, 1, 1, 1)},
    "resnet18": {"channels": (4, 6, 8, 10), "layers": (1, 2, 1, 1)},
    "separable": {"channels": (4, 6, 8), "strides": ((2, 2), (1, 2), (2, 1))},
}


def small(name: str, downsampling: Downsampling = "diffstride", **arguments: Any) -> Trunk:
    """Return a small network with random weights, ready for evaluation."""
    torch.manual_seed(0)
    arguments = {"downsampling": downsampling, "window": Window(1.0)} | dict(SMALL[name]) | arguments
    return with_statistics(network_class(name)(**arguments))


def fractional(name: str, downsampling: Downsampling, **arguments: Any) -> Trunk:
    """Return a small network whose strides are not whole, if its downsampling takes such strides."""
    if downsampling in ("spectral", "diffstride"):
        arguments["strides"] = [(1.3 + 0.05 * i, 1.7 - 0.07 * i) for i in range(stride_pairs(name))]
    return small(name, downsampling, **arguments)


def stride_pairs(name: str) -> int:
    """Return how many pairs of strides a small network has."""
    return len(SMALL[name].get("strides", signature(network_class(name)).parameters["strides"].default))


def with_statistics(network: Trunk) -> Trunk:
    """Let a network's batch norms know the variances of noise, and put it into evaluation mode.

    With their initial statistics, the feature maps of deep networks vanish.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    with torch.no_grad():
        network.train()(noise(2, network.in_channels, 40, 24, seed=7))
    return network.eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def is_stride(name: str) -> bool:
    """Return whether a parameter of this name is a learned stride."""
    return name.endswith("pool.stride")
