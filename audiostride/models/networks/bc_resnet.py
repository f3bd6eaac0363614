"""BC-ResNet (Kim et al., "Broadcasted residual learning for efficient keyword spotting", 2021)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

from audiostride.config.ranges import Between
from audiostride.layers import Window
from audiostride.layers.conv_downsample import Downsampling
from audiostride.layers.downsample2d import Downsample2d
from audiostride.models.trunk import Trunk, check_length, numbered_blocks


class SubSpectralNorm(nn.Module):
    """Batch normalisation of several bands of mel channels, each with its own statistics and weights.

    From Chang et al., "Subspectral normalization for neural audio data processing", ICASSP 2021. The widths
    of the bands differ by at most one mel channel. If there are fewer mel channels than bands, the last bands
    are not used.

    Args:
        channels: number of channels of the feature map.
        bands: number of bands.

    Shape:
        (batch, channels, time, mel), the same for input and output.

    >>> SubSpectralNorm(channels=8, bands=5)(torch.ones(4, 8, 100, 32)).shape
    torch.Size([4, 8, 100, 32])
    """

    def __init__(self, channels: int, bands: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(bands))

    def forward(self, x: Tensor) -> Tensor:
        bands = zip(self.norms, x.tensor_split(len(self.norms), -1), strict=True)
        return torch.cat([norm(band) for norm, band in bands if band.shape[-1] > 0], -1)


class BroadcastedBlock(nn.Module):
    """Convolve along frequency, then the mean over frequency along time, and add both.

    A transition block has another number of channels at its output, and downsamples. A normal block also adds
    its input.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels; that of the input in a normal block.
        downsample: what downsamples in a transition block, or None for a normal block.
        dilation: distance between the taps of the convolution along time, in frames.
        dropout: probability from 0 to 1 that training sets a channel of the branch along time to 0.
        bands: number of bands of `SubSpectralNorm`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        downsample: Downsample2d | None,
        dilation: int,
        dropout: float,
        bands: int,
    ) -> None:
        super().__init__()
        self.adds_input = downsample is None
        self.frequency = nn.Sequential()
        if downsample is None:
            self.frequency.append(_depthwise_conv(out_channels, (1, 3)))
        else:
            self.frequency.extend(_conv1x1_norm_relu(in_channels, out_channels))
            self.frequency.append(downsample.conv(out_channels, out_channels, (1, 3), groups=out_channels))
            self.frequency.append(downsample)
        self.frequency.append(SubSpectralNorm(out_channels, bands))
        self.time = nn.Sequential(
            _depthwise_conv(out_channels, (3, 1), dilation),
            nn.BatchNorm2d(out_channels),
            nn.SiLU(),
            nn.Conv2d(out_channels, out_channels, 1, bias=False),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.frequency(x)
        y = y + self.time(y.mean(-1, keepdim=True))
        return (x + y if self.adds_input else y).relu()


class BCResNet(Trunk):
    """A first convolution, four stages of broadcasted residual blocks, two last convolutions, and the mean.

    Kim et al., Interspeech 2021. Convolutions along time see the mean over frequency, so the network is small
    and fast. Their taps are 1, 2, 4 and 8 frames apart in the four stages. The first block of each stage
    downsamples. The defaults are three times as wide as the smallest network of the paper. The last depthwise
    convolution keeps the size of the feature map, because learned strides may leave few mel channels; in the
    paper it reduces 5 mel channels to one.

    Args:
        channels: number of channels of the first convolution, of the four stages, and of the last one.
        strides: initial strides of the first convolution and of the four stages, as (time, frequency).
        downsampling: "strided", "max", "average", "blur", "spectral" or "diffstride"; see `Downsample2d`.
        window: window of the DiffStride layers; other kinds of downsampling ignore it.
        shared: learn one stride for time and frequency instead of one each.
        in_channels: number of spectrograms of the same sound.
        layers: number of blocks of each stage.
        dropout: probability from 0 to 1 that training sets a channel of a branch along time to 0.
        bands: number of bands of mel channels that are normalised apart, see `SubSpectralNorm`.

    Shape:
        (batch, in_channels, time, mel) to (batch, channels[-1]).

    Raises:
        ValueError: if a list has another length, or if the strides are not possible for the downsampling; in
            the forward pass if the input has another shape.

    >>> network = BCResNet(channels=(16, 8, 12, 16, 20, 32), window=Window(smoothness=1.0))
    >>> network(torch.zeros(4, 1, 100, 64)).shape
    torch.Size([4, 32])
    >>> network.sizes(100, 64)[-1]
    (100, 11)
    """

    def __init__(
        self,
        channels: Sequence[int] = (48, 24, 36, 48, 60, 96),
        strides: Sequence[tuple[float, float]] = ((1, 2), (1, 1), (1, 2), (1, 2), (1, 1)),
        downsampling: Downsampling = "diffstride",
        window: Window = Window(),
        shared: bool = False,
        in_channels: int = 1,
        layers: Sequence[Annotated[int, Between(1, 100)]] = (2, 2, 4, 4),
        dropout: Annotated[float, Between(0, 1)] = 0.1,
        bands: Annotated[int, Between(1, 1000)] = 5,
    ) -> None:
        check_length("channels", channels, 6, "the first convolution, the four stages and the last one")
        check_length("strides", strides, 5, "the first convolution and the four stages")
        check_length("layers", layers, 4, "the four stages")
        super().__init__(channels, strides, downsampling, window, shared, in_channels, channels[-1])
        first, *others = (Downsample2d(pair, downsampling, window, shared) for pair in strides)
        self.first = nn.Sequential(
            first.conv(in_channels, channels[0], 5), first, nn.BatchNorm2d(channels[0]), nn.ReLU()
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                BroadcastedBlock(before, after, downsample, dilation, dropout, bands),
                *(BroadcastedBlock(after, after, None, dilation, dropout, bands) for _ in range(count - 1)),
            )
            for (before, after), downsample, dilation, count in zip(
                pairwise(channels[:-1]), others, (1, 2, 4, 8), layers, strict=True
            )
        )
        before, after = channels[-2:]
        self.last = nn.Sequential(_depthwise_conv(before, (5, 5)), *_conv1x1_norm_relu(before, after))
        self.channels_last_()

    def embed(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for stage in self.stages:
            x = stage(x)
        return self.last(x).mean((-2, -1))

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        return {"first": (self.first,)} | numbered_blocks(self.stages) | {"last": (self.last,)}


def _depthwise_conv(channels: int, kernel_size: tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    """Return a convolution of each channel by itself, which keeps the size."""
    padding = (dilation * (kernel_size[0] // 2), dilation * (kernel_size[1] // 2))
    return nn.Conv2d(
        channels, channels, kernel_size, padding=padding, dilation=dilation, groups=channels, bias=False
    )


def _conv1x1_norm_relu(in_channels: int, out_channels: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]
