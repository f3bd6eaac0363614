"""The separable network of Tagliasacchi et al. 2019, with a choice of downsampling."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from audiostride.layers import ConvDownsample, Window, project_
from audiostride.layers.conv_downsample import Downsampling
from audiostride.layers.learned_strides import diffstride_layers, read_strides


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


class SeparableCNN(nn.Module):
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
        super().__init__()
        if len(channels) != len(strides):
            raise ValueError(
                f"channels and strides need one entry per block, but have {len(channels)} and {len(strides)}"
            )
        self.downsampling, self.embedding_size = downsampling, channels[-1]
        self.in_channels = in_channels
        # Spectral pooling has no ramp; other kinds have no window.
        self.window = window if downsampling == "diffstride" else Window(smoothness=0.0)
        self.blocks = nn.Sequential(
            *(
                SeparableBlock(before, after, pair, downsampling, window, shared)
                for (before, after), pair in zip(pairwise((in_channels, *channels)), strides, strict=True)
            )
        )
        # Channels-last makes convolutions faster and resampling a few large products.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"expected spectrograms (batch, {self.in_channels}, time, mel), but got shape "
                f"{tuple(x.shape)}"
            )
        read_strides(self)
        return self.blocks(x).amax((-2, -1))

    @property
    def strides(self) -> Tensor:
        """Current strides, a tensor (blocks, 2) of (time, frequency); differentiable if they are learned."""
        return torch.stack([block.strides for block in self.separable_blocks()])

    def feature_maps(self) -> dict[str, nn.Module]:
        """Return the modules that return the feature maps, by the names of `audiostride summary`."""
        return {
            f"{number} {name}": norm
            for number, block in enumerate(self.separable_blocks(), 1)
            for name, norm in (("time", block.time_norm), ("frequency", block.frequency_norm))
        }

    def set_smoothness_(self, smoothness: float) -> None:
        """Give the windows of all DiffStride layers a ramp of another width, in DFT bins."""
        self.window = replace(self.window, smoothness=smoothness)
        for layer in diffstride_layers(self):
            layer.window = self.window

    def sizes(self, time: int, mel: int) -> list[tuple[int, int]]:
        """Return (time, frequency) of the feature map at the input and after each block."""
        sizes = [(time, mel)]
        for block in self.separable_blocks():
            frames, bands = sizes[-1]
            sizes.append((block.time.output_length(frames), block.frequency.output_length(bands)))
        return sizes

    def separable_blocks(self) -> Iterator[SeparableBlock]:
        """Yield the blocks in their order."""
        return (block for block in self.blocks if isinstance(block, SeparableBlock))

    def project_(self) -> None:
        """Clamp learned strides to their range. Call it after each optimiser step."""
        project_(self)
