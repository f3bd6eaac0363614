"""EfficientNet-B0 (Tan and Le, "EfficientNet: rethinking model scaling", ICML 2019)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from audiostride.config.ranges import Between
from audiostride.layers import Window
from audiostride.layers.conv_downsample import Downsampling
from audiostride.layers.downsample2d import Downsample2d
from audiostride.models.images_extra import needs_torchvision
from audiostride.models.trunk import Trunk, check_length, numbered_blocks

# Of each stage, from table 1 of the paper.
_EXPANSIONS = (1, 6, 6, 6, 6, 6, 6)
_KERNEL_SIZES = (3, 3, 5, 3, 5, 5, 3)


class EfficientNetB0(Trunk):
    """A first convolution, seven stages of MBConv blocks, a 1×1 convolution, and the mean of the feature map.

    An MBConv block expands the channels, convolves each of them by itself, weights them by squeeze and
    excitation, and projects them to fewer channels. The depthwise convolution of the first block of each
    stage downsamples; all other blocks have a residual connection. The layers are those of torchvision, which
    the extra `images` installs.

    Args:
        channels: number of channels of the first convolution, of the seven stages, and of the last
            convolution, multiples of 8.
        strides: initial strides of the first convolution and of the seven stages, as (time, frequency).
        downsampling: "strided", "max", "average", "blur", "spectral" or "diffstride"; see `Downsample2d`.
        window: window of the DiffStride layers; other kinds of downsampling ignore it.
        shared: learn one stride for time and frequency instead of one each.
        in_channels: number of spectrograms of the same sound, or of colours.
        layers: number of blocks of each stage.
        stochastic_depth: probability from 0 to 1 that training skips a block, were there one more at the end;
            it grows from 0 at the first block in equal steps (Huang et al., "Deep networks with stochastic
            depth", ECCV 2016).

    Shape:
        (batch, in_channels, time, mel) to (batch, channels[-1]).

    Raises:
        UserError: if torchvision is not installed.
        ValueError: if a list has another length, if a number of channels is not a multiple of 8, or if the
            strides are not possible for the downsampling; in the forward pass if the input has another shape.

    >>> import torch
    >>> network = EfficientNetB0(channels=(8, 8, 8, 16, 16, 16, 24, 24, 64), window=Window(smoothness=1.0))
    >>> network(torch.zeros(4, 1, 100, 64)).shape
    torch.Size([4, 64])
    >>> network.sizes(100, 64)[-1]
    (7, 5)
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 16, 24, 40, 80, 112, 192, 320, 1280),
        strides: Sequence[tuple[float, float]] = (
            (2, 2),
            (1, 1),
            (2, 2),
            (2, 2),
            (2, 2),
            (1, 1),
            (2, 2),
            (1, 1),
        ),
        downsampling: Downsampling = "diffstride",
        window: Window = Window(),
        shared: bool = False,
        in_channels: int = 1,
        layers: Sequence[Annotated[int, Between(1, 100)]] = (1, 2, 2, 3, 3, 4, 1),
        stochastic_depth: Annotated[float, Between(0, 1)] = 0.2,
    ) -> None:
        check_length("channels", channels, 9, "the first convolution, the seven stages and the last one")
        check_length("strides", strides, 8, "the first convolution and the seven stages")
        check_length("layers", layers, 7, "the seven stages")
        if any(count % 8 for count in channels):
            raise ValueError(f"channels must be multiples of 8 in this network, but are {list(channels)}")
        with needs_torchvision("efficientnet_b0"):
            from torchvision.models.efficientnet import EfficientNet, MBConvConfig
        super().__init__(channels, strides, downsampling, window, shared, in_channels, channels[-1])
        # Whatever the strides are, a stride of 2 here keeps the first block of a stage from adding its input.
        stages = [
            MBConvConfig(expansion, kernel_size, 2, before, after, count)
            for expansion, kernel_size, (before, after), count in zip(
                _EXPANSIONS, _KERNEL_SIZES, pairwise(channels[:-1]), layers, strict=True
            )
        ]
        features = EfficientNet(
            stages,
            dropout=0.0,
            stochastic_depth_prob=stochastic_depth,
            num_classes=1,
            last_channel=channels[-1],
        ).features
        first, *others = (Downsample2d(pair, downsampling, window, shared) for pair in strides)
        features[0][0] = _downsampled(features[0][0], in_channels, first)
        for stage, downsample in zip(features[1:-1], others, strict=True):
            depthwise = stage[0].block[-3]  # before squeeze and excitation, and projection
            depthwise[0] = _downsampled(depthwise[0], depthwise[0].in_channels, downsample)
        self.features: nn.Sequential = features
        self.channels_last_()

    def embed(self, x: Tensor) -> Tensor:
        return self.features(x).mean((-2, -1))

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        first, *stages, last = self.features
        return {"first": (first,)} | numbered_blocks(stages) | {"last": (last,)}


def _downsampled(conv: nn.Conv2d, in_channels: int, downsample: Downsample2d) -> nn.Sequential:
    """Return a convolution like the given one, with downsampling in place of its stride."""
    new = downsample.conv(in_channels, conv.out_channels, conv.kernel_size[0], groups=conv.groups)
    nn.init.kaiming_normal_(new.weight, mode="fan_out")  # as torchvision does
    return nn.Sequential(new, downsample)
