"""The separable network of Tagliasacchi et al. 2019, with a choice of downsampling."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from audiostride.layers import ConvDownsample, Window
from audiostride.layers.conv_downsample import Downsampling
from audiostride.models.trunk import Trunk


class SeparableBlock(nn.Module):
    """Convolve and downsample along time, then along frequency, each followed by ReLU and batch norm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        strides: tuple[float, float],
        downsampling: Downsampling,
        window: Window,
        shared: bool,
    ) -> None:
        super().__init__()
        if shared and strides[0] != strides[1]:
            raise ValueError(f"a shared stride needs equal strides on time and frequency, but got {strides}")
        self.time = ConvDownsample(
            in_channels, out_channels, strides[0], dim=-2, kind=downsampling, window=window
        )
        self.time_norm = nn.BatchNorm2d(out_channels)
        self.frequency = ConvDownsample(
            out_channels, out_channels, strides[1], dim=-1, kind=downsampling, window=window
        )
        self.frequency_norm = nn.BatchNorm2d(out_channels)
        if shared and downsampling == "diffstride":
            self.frequency.pool.stride = self.time.pool.stride

    def forward(self, x: Tensor) -> Tensor:
        x = self.time_norm(self.time(x).relu())
        return self.frequency_norm(self.frequency(x).relu())

    @property
    def strides(self) -> Tensor:
        """Current strides over time and frequency, a tensor of shape (2,)."""
        return torch.cat([self.time.strides, self.frequency.strides])


class SeparableCNN(Trunk):
    """Log-mel spectrograms to embeddings: separable blocks, then the maximum over time and frequency.

    The defaults are the audio network of Riad et al. 2022, section 3.1, after Tagliasacchi et al. 2019: six
    blocks, each a 3×1 convolution along time and a 1×3 convolution along frequency.

    Args:
        channels: number of channels of each block.
        strides: initial strides of each block, as (time, frequency), each ≥ 1.
        downsampling: "strided", "max", "average", "blur", "spectral" or "diffstride"; see `ConvDownsample`.
        window: window of the DiffStride layers; other kinds of downsampling ignore it.
        shared: learn one stride per block for time and frequency instead of one each (paper table A.7).
        in_channels: number of spectrograms of the same sound.

    Shape:
        (batch, in_channels, time, mel) to (batch, channels[-1]).

    Raises:
        ValueError: if there are not as many channels as strides, if a stride is below 1, if a stride is not
            whole where the downsampling needs whole ones, or if unequal strides are to be shared; in the
            forward pass if the input has another shape.

    >>> network = SeparableCNN(channels=(8, 16), strides=((2, 2), (2, 1)), window=Window(smoothness=1.0))
    >>> network(torch.zeros(4, 1, 100, 64)).shape
    torch.Size([4, 16])
    >>> network.sizes(100, 64)
    [(100, 64), (52, 34), (28, 34)]
    """

    def __init__(
        self,
        channels: Sequence[int] = (64, 128, 256, 256, 512, 512),
        strides: Sequence[tuple[float, float]] = ((2, 2), (2, 2), (1, 1), (2, 2), (1, 1), (2, 2)),
        downsampling: Downsampling = "diffstride",
        window: Window = Window(),
        shared: bool = False,
        in_channels: int = 1,
    ) -> None:
        if len(channels) != len(strides) or not channels:
            raise ValueError(
                f"channels and strides need one entry per block, but have {len(channels)} and {len(strides)}"
            )
        super().__init__(channels, strides, downsampling, window, shared, in_channels, channels[-1])
        self.blocks = nn.Sequential(
            *(
                SeparableBlock(before, after, pair, downsampling, window, shared)
                for (before, after), pair in zip(pairwise((in_channels, *channels)), strides, strict=True)
            )
        )
        self.channels_last_()

    def embed(self, x: Tensor) -> Tensor:
        return self.blocks(x).amax((-2, -1))

    def downsamplers(self) -> list[SeparableBlock]:
        return list(self.separable_blocks())

    def parts(self) -> dict[str, Sequence[nn.Module]]:
        return {
            f"{number} {name}": modules
            for number, block in enumerate(self.separable_blocks(), 1)
            for name, modules in (
                ("time", (block.time, block.time_norm)),
                ("frequency", (block.frequency, block.frequency_norm)),
            )
        }

    def separable_blocks(self) -> Iterator[SeparableBlock]:
        """Yield the blocks in their order."""
        return (block for block in self.blocks if isinstance(block, SeparableBlock))
