"""Densely connected networks (Huang et al., "Densely connected convolutional networks", CVPR 2017)."""

from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from audiostride.config.ranges import Between
from audiostride.layers import Window
from audiostride.layers.conv_downsample import Downsampling
from audiostride.layers.downsample2d import Downsample2d
from audiostride.models.images_extra import needs_torchvision
from audiostride.models.trunk import Trunk, check_length


class DenseNetBC(Trunk):
    """A first convolution, dense blocks with transitions between them, and the mean of the feature map.

    Each layer of a dense block gets the outputs of all layers before it: a 1×1 convolution reduces them to
    four times the growth rate, and a 3×3 convolution adds as many channels as the growth rate says. A
    transition halves the channels and downsamples. The defaults are the paper's DenseNet-BC for CIFAR with
    100 layers, but for a first convolution that downsamples. The layers are those of torchvision, which the
    extra `images` installs.

    Args:
        channels: number of channels of the first convolution, and growth rate.
        strides: initial strides of the first convolution and of each transition, as (time, frequency).
        downsampling: "strided", "max", "average", "blur", "spectral" or "diffstride"; see `Downsample2d`. Of
            the kind "strided", the 1×1 convolutions of the transitions take the strides.
        window: window of the DiffStride layers; other kinds of downsampling ignore it.
        shared: learn one stride for time and frequency instead of one each.
        in_channels: number of spectrograms of the same sound, or of colours.
        layers: number of layers of each dense block; there are as many blocks as `strides` has entries.
        first_kernel: number of taps of the first convolution along each axis, odd.

    Shape:
        (batch, in_channels, time, mel) to (batch, embedding_size), as many as the last dense block returns.

    Raises:
        UserError: if torchvision is not installed.
        ValueError: if a list has another length, if `first_kernel` is even, or if the strides are not
            possible for the downsampling; in the forward pass if the input has another shape.

    >>> import torch
    >>> network = DenseNetBC(channels=(8, 4), layers=(2, 2, 2), window=Window(smoothness=1.0))
    >>> network(torch.zeros(4, 1, 100, 64)).shape
    torch.Size([4, 16])
    >>> network.sizes(100, 64)
    [(100, 64), (52, 34), (28, 19), (16, 11)]
    """

    def __init__(
        self,
        channels: Sequence[int] = (24, 12),
        strides: Sequence[tuple[float, float]] = ((2, 2), (2, 2), (2, 2)),
        downsampling: Downsampling = "diffstride",
        window: Window = Window(),
        shared: bool = False,
        in_channels: int = 1,
        layers: Sequence[Annotated[int, Between(1, 100)]] = (16, 16, 16),
        first_kernel: Annotated[int, Between(1, 31)] = 3,
    ) -> None:
        check_length("channels", channels, 2, "the first convolution and the growth rate")
        if not layers:
            raise ValueError("layers needs one entry per dense block, but has none")
        what = "the first convolution and each transition between two dense blocks"
        check_length("strides", strides, len(layers), what)
        if first_kernel % 2 == 0:
            raise ValueError(f"first_kernel must be odd, but is {first_kernel}")
        with needs_torchvision("densenet_bc"):
            from torchvision.models.densenet import DenseNet
        features = DenseNet(channels[1], tuple(layers), channels[0], num_classes=1).features
        embedding_size = features.norm5.num_features
        super().__init__(channels, strides, downsampling, window, shared, in_channels, embedding_size)
        first, *others = (Downsample2d(pair, downsampling, window, shared) for pair in strides)
        features.conv0 = nn.Sequential(_conv(in_channels, channels[0], first_kernel, first), first)
        del features.pool0
        for number, downsample in enumerate(others, 1):
            transition = getattr(features, f"transition{number}")
            conv = transition.conv
            transition.conv = _conv(conv.in_channels, conv.out_channels, 1, downsample)
            transition.pool = downsample
        features.relu5 = nn.ReLU(inplace=True)
        self.features: nn.Sequential = features
        self.channels_last_()

    def embed(self, x: Tensor) -> Tensor:
        return self.features(x).mean((-2, -1))

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        conv, norm, relu, *between, last_norm, last_relu = self.features
        names = (f"{kind} {number}" for number in range(1, len(between)) for kind in ("dense", "transition"))
        blocks: dict[str, Sequence[nn.Module]] = {
            name: (module,) for name, module in zip(names, between, strict=False)
        }
        *_, (name, (last,)) = blocks.items()
        return {"first": (conv, norm, relu)} | blocks | {name: (last, last_norm, last_relu)}


def _conv(in_channels: int, out_channels: int, kernel_size: int, downsample: Downsample2d) -> nn.Conv2d:
    conv = downsample.conv(in_channels, out_channels, kernel_size)
    nn.init.kaiming_normal_(conv.weight)  # as torchvision does
    return conv
