"""Residual networks (He et al., "Deep residual learning for image recognition", CVPR 2016)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from audiostride.config.ranges import Between
from audiostride.layers import Window
from audiostride.layers.conv_downsample import Downsampling
from audiostride.layers.downsample2d import Downsample2d
from audiostride.models.trunk import Trunk, check_length, numbered_blocks


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut. Both branches are downsampled by one and the same layer.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        downsample: what downsamples after the first convolution and on the shortcut, or None.
        pre_activation: normalise and rectify before each convolution (He et al. 2016, "Identity mappings in
            deep residual networks") instead of after it.
    """

    def __init__(
        self, in_channels: int, out_channels: int, downsample: Downsample2d | None, pre_activation: bool
    ) -> None:
        super().__init__()
        self.pre_activation, self.downsample = pre_activation, downsample
        conv = downsample.conv if downsample is not None else _conv
        self.conv1, self.conv2 = conv(in_channels, out_channels, 3), _conv(out_channels, out_channels, 3)
        self.norm1 = nn.BatchNorm2d(in_channels if pre_activation else out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if downsample is not None or in_channels != out_channels:
            self.shortcut = _conv(in_channels, out_channels, 1)
            if not pre_activation:
                self.shortcut = nn.Sequential(self.shortcut, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.pre_activation:
            active = self.norm1(x).relu()
            y, shortcut = self._both(active, x if isinstance(self.shortcut, nn.Identity) else active)
            return self.conv2(self.norm2(y).relu()) + shortcut
        y, shortcut = self._both(x, x)
        return (self.norm2(self.conv2(self.norm1(y).relu())) + shortcut).relu()

    def _both(self, x: Tensor, shortcut: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first convolution of x, and the shortcut, both downsampled."""
        y = self.conv1(x)
        if self.downsample is not None:
            # A 1×1 convolution and downsampling can change places; this order takes less time.
            y, shortcut = self.downsample.both(y, shortcut)
        return y, self.shortcut(shortcut)


class ResNet18(Trunk):
    """A first convolution, then four stages of residual blocks, and the mean over time and frequency.

    The first block of each stage but the first downsamples, both of its branches by one stride. Riad et al.
    2022 train it on CIFAR with a 3×3 first convolution of stride 1, and on ImageNet with one of 7×7.

    Args:
        channels: number of channels of each of the four stages; the first convolution has those of the first.
        strides: initial strides of the first convolution and of stages 2 to 4, as (time, frequency).
        downsampling: "strided", "max", "average", "blur", "spectral" or "diffstride"; see `Downsample2d`.
        window: window of the DiffStride layers; other kinds of downsampling ignore it.
        shared: learn one stride for time and frequency instead of one each.
        in_channels: number of spectrograms of the same sound, or of colours.
        layers: number of residual blocks of each stage; (3, 4, 6, 3) makes it a ResNet-34.
        pre_activation: normalise and rectify before convolutions instead of after them.
        first_kernel: number of taps of the first convolution along each axis, odd.

    Shape:
        (batch, in_channels, time, mel) to (batch, channels[-1]).

    Raises:
        ValueError: if a list has another length, or if the strides are not possible for the downsampling; in
            the forward pass if the input has another shape.

    >>> import torch
    >>> network = ResNet18(channels=(8, 16, 32, 64), window=Window(smoothness=1.0))
    >>> network(torch.zeros(4, 1, 100, 64)).shape
    torch.Size([4, 64])
    >>> network.sizes(100, 64)
    [(100, 64), (52, 34), (28, 19), (16, 11), (10, 7)]
    """

    def __init__(
        self,
        channels: Sequence[int] = (64, 128, 256, 512),
        strides: Sequence[tuple[float, float]] = ((2, 2), (2, 2), (2, 2), (2, 2)),
        downsampling: Downsampling = "diffstride",
        window: Window = Window(),
        shared: bool = False,
        in_channels: int = 1,
        layers: Sequence[Annotated[int, Between(1, 100)]] = (2, 2, 2, 2),
        pre_activation: bool = False,
        first_kernel: Annotated[int, Between(1, 31)] = 3,
    ) -> None:
        check_length("channels", channels, 4, "the four stages")
        check_length("strides", strides, 4, "the first convolution and stages 2 to 4")
        check_length("layers", layers, 4, "the four stages")
        if first_kernel % 2 == 0:
            raise ValueError(f"first_kernel must be odd, but is {first_kernel}")
        super().__init__(channels, strides, downsampling, window, shared, in_channels, channels[-1])
        first, *others = (Downsample2d(pair, downsampling, window, shared) for pair in strides)
        self.first = nn.Sequential(first.conv(in_channels, channels[0], first_kernel), first)
        if not pre_activation:
            self.first.extend([nn.BatchNorm2d(channels[0]), nn.ReLU()])
        self.stages = nn.ModuleList(
            _stage(before, after, downsample, count, pre_activation)
            for (before, after), downsample, count in zip(
                pairwise((channels[0], *channels)), (None, *others), layers, strict=True
            )
        )
        self.last = nn.Sequential()
        if pre_activation:
            self.last.extend([nn.BatchNorm2d(channels[-1]), nn.ReLU()])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.channels_last_()

    def embed(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for stage in self.stages:
            x = stage(x)
        return self.last(x).mean((-2, -1))

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        blocks = numbered_blocks(self.stages)
        *_, (name, (last,)) = blocks.items()
        return {"first": (self.first,)} | blocks | {name: (last, self.last)}


def _stage(
    in_channels: int, out_channels: int, downsample: Downsample2d | None, layers: int, pre_activation: bool
) -> nn.Sequential:
    """Return residual blocks, of which the first one may downsample."""
    return nn.Sequential(
        ResidualBlock(in_channels, out_channels, downsample, pre_activation),
        *(ResidualBlock(out_channels, out_channels, None, pre_activation) for _ in range(layers - 1)),
    )


def _conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
