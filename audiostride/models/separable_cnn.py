"""The separable network of Tagliasacchi et al. 2019, with a choice of downsampling."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from audiostride.layers.conv_downsample import Downsample, Downsampling
from audiostride.layers.diffstride import DiffStride1d, project_
from audiostride.layers.functional import Ramp, Window


class SeparableBlock(nn.Module):
    """Convolve and downsample along time, then along frequency, each followed by ReLU and BatchNorm."""

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
        self.time = Downsample(
            in_channels, out_channels, strides[0], dim=-2, kind=downsampling, **asdict(window)
        )
        self.time_norm = nn.BatchNorm2d(out_channels)
        self.frequency = Downsample(
            out_channels, out_channels, strides[1], dim=-1, kind=downsampling, **asdict(window)
        )
        self.frequency_norm = nn.BatchNorm2d(out_channels)
        if shared and downsampling == "diffstride":
            self.frequency.pool.stride = self.time.pool.stride

    def forward(self, x: Tensor) -> Tensor:
        x = self.time_norm(self.time(x).relu())
        return self.frequency_norm(self.frequency(x).relu())

    def strides(self) -> Tensor:
        """(time, frequency) as they are now, a tensor of shape (2,)."""
        return torch.stack([torch.as_tensor(self.time.stride), torch.as_tensor(self.frequency.stride)])


class SeparableCNN(nn.Module):
    """Log-mel spectrograms to embeddings: separable blocks, then the maximum over time and frequency.

    The defaults are the audio network of Riad et al. 2022, section 3.1: six blocks, each a 3×1 convolution
    along time and a 1×3 convolution along frequency.

    Args:
        channels: of each block.
        strides: of each block, initially, as (time, frequency).
        downsampling: "strided", "max", "average", "blur", "spectral" or "diffstride".
        smoothness: of the DiffStride layers, in DFT bins.
        ramp, multiple: of the DiffStride layers, see `DiffStride1d`.
        shared: learn one stride per block for time and frequency instead of one each (paper table A.7).

    Shape:
        (batch, 1, time, mel) to (batch, channels[-1]).

    Raises:
        ValueError: for unequal numbers of channels and strides, a stride below 1, a broken stride where
            the downsampling takes whole ones, or unequal strides that should be shared.
    """

    def __init__(
        self,
        channels: Sequence[int] = (64, 128, 256, 256, 512, 512),
        strides: Sequence[tuple[float, float]] = ((2, 2), (2, 2), (1, 1), (2, 2), (1, 1), (2, 2)),
        downsampling: Downsampling = "diffstride",
        smoothness: float = 4.0,
        shared: bool = False,
        ramp: Ramp = "outside",
        multiple: int = 1,
    ) -> None:
        super().__init__()
        if len(channels) != len(strides):
            raise ValueError(
                f"channels and strides need one entry per block, but have {len(channels)} and {len(strides)}"
            )
        self.downsampling, self.embedding_size = downsampling, channels[-1]
        window = Window(smoothness, ramp, multiple)
        # Of the network as it is: without a ramp for spectral pooling, of no use for pooling in space.
        self.window = window if downsampling == "diffstride" else Window(0.0)
        self.blocks = nn.Sequential(
            *(
                SeparableBlock(before, after, pair, downsampling, window, shared)
                for (before, after), pair in zip(pairwise((1, *channels)), strides, strict=True)
            )
        )

        # Channels beside one another: quicker convolutions, and resampling by few large products.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x).amax((-2, -1))

    def strides(self) -> list[Tensor]:
        """Of each block, (time, frequency) as they are now: a tensor (2,), differentiable if learned."""
        return [block.strides() for block in self.separable_blocks()]

    def set_smoothness_(self, smoothness: float) -> None:
        """Give the windows of all DiffStride layers another ramp."""
        self.window = replace(self.window, smoothness=smoothness)
        for module in self.modules():
            if isinstance(module, DiffStride1d):
                module.window = self.window

    def sizes(self, time: int, mel: int) -> list[tuple[int, int]]:
        """(time, frequency) of the feature map at the input and after each block."""
        sizes = [(time, mel)]
        for block in self.separable_blocks():
            frames, bands = sizes[-1]
            sizes.append((block.time.output_length(frames), block.frequency.output_length(bands)))
        return sizes

    def separable_blocks(self) -> Iterator[SeparableBlock]:
        """The blocks in their order."""
        return (block for block in self.blocks if isinstance(block, SeparableBlock))

    def project_(self) -> None:
        """Put learned strides back into their range; call it after each optimiser step."""
        project_(self)
