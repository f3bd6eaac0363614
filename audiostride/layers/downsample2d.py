"""Downsampling of time and frequency by any kind, chosen by name, for convolutions over both axes."""

from typing import Any, get_args

import torch
from torch import Tensor, nn

from audiostride.layers.conv_downsample import Downsampling, fixed_pool
from audiostride.layers.diffstride import DiffStride2d, one_per_axis
from audiostride.layers.window import Window


class Downsample2d(nn.Module):
    """Downsample the last two axes of a feature map by any kind, chosen by name.

    Put it behind a convolution that `conv` makes: of the kind "strided", the convolution itself takes the
    stride, and this layer does nothing more. Only "diffstride" has a parameter, `pool.stride`.

    Args:
        stride: strides of both axes, each ≥ 1; whole numbers unless the kind is "spectral" or "diffstride".
        kind: "strided", "max", "average", "blur", "spectral" or "diffstride"; see `ConvDownsample`.
        window: window of "diffstride"; other kinds ignore it.
        shared: learn one stride for both axes instead of one each.

    Shape:
        (…, N₁, N₂) to (…, M₁, M₂); M is ceil(N / stride) for kinds with whole strides, else as for
        `DiffStride2d` and `SpectralPool2d`.

    Raises:
        ValueError: if the kind is unknown, or if the strides are not possible for it.

    >>> import torch
    >>> downsample = Downsample2d((2, 2), "max")
    >>> downsample(downsample.conv(1, 8, 3)(torch.zeros(4, 1, 100, 64))).shape
    torch.Size([4, 8, 50, 32])
    """

    def __init__(
        self,
        stride: tuple[float, float],
        kind: Downsampling = "diffstride",
        window: Window = Window(),
        shared: bool = False,
    ) -> None:
        super().__init__()
        if kind not in get_args(Downsampling):
            raise ValueError(
                f"downsampling must be one of {', '.join(get_args(Downsampling))}, but got {kind!r}"
            )
        time, frequency = one_per_axis(stride, 2)
        if shared and time != frequency:
            raise ValueError(f"a shared stride needs equal strides on both axes, but got {(time, frequency)}")
        for value in (time, frequency):
            if kind not in ("spectral", "diffstride") and value != int(value):
                raise ValueError(f"{kind} downsampling takes whole strides, but got {value:g}")
        self.kind, self._fixed_strides = kind, (time, frequency)
        self.pool: nn.Module = (
            DiffStride2d((time, frequency), window=window, shared=shared)
            if kind == "diffstride"
            else nn.Sequential(fixed_pool(kind, time, -2), fixed_pool(kind, frequency, -1))
        )

    @property
    def strides(self) -> Tensor:
        """Current strides, a tensor of shape (2,); of "diffstride" the learned ones."""
        if isinstance(self.pool, DiffStride2d):
            return self.pool.strides
        return torch.tensor(self._fixed_strides)

    @property
    def conv_stride(self) -> tuple[int, int]:
        """The stride that a convolution before this layer takes."""
        time, frequency = self._fixed_strides
        return (int(time), int(frequency)) if self.kind == "strided" else (1, 1)

    def conv(
        self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], **options: Any
    ) -> nn.Conv2d:
        """Return a convolution without bias to stand before this layer, which keeps the size otherwise.

        Args:
            in_channels: number of input channels.
            out_channels: number of output channels.
            kernel_size: number of taps along both axes, or one number for each, odd.
            **options: other options of `torch.nn.Conv2d`.
        """
        taps = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        defaults: dict[str, Any] = {"padding": (taps[0] // 2, taps[1] // 2), "bias": False}
        return nn.Conv2d(in_channels, out_channels, taps, self.conv_stride, **(defaults | options))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x)

    def both(self, main: Tensor, shortcut: Tensor) -> tuple[Tensor, Tensor]:
        """Downsample two feature maps of the same size by one call.

        Both then have the same size also where a compiler or an exporter knows lengths as symbols only.
        """
        if self.kind == "strided":
            time, frequency = self.conv_stride
            return self(main), shortcut[..., ::time, ::frequency]
        both = self(torch.cat([main, shortcut], 1))
        main, shortcut = both.split([main.shape[1], shortcut.shape[1]], 1)
        return main, shortcut
