"""A convolution along one axis followed by any kind of downsampling of that axis, chosen by name."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from audiostride.layers.blur_pool import BlurPool1d
from audiostride.layers.diffstride import DiffStride1d, one_per_axis
from audiostride.layers.kernels.fused_convolution import along, convolve_and_resample, fusing_pays
from audiostride.layers.kernels.pooling import pool_axes
from audiostride.layers.spectral_pool import SpectralPool1d
from audiostride.layers.window import Window

Downsampling = Literal["strided", "max", "average", "blur", "spectral", "diffstride"]
# What downsamples by a matrix, which can be applied before the channels of a convolution are mixed.
LowPass = DiffStride1d | SpectralPool1d


class ConvDownsample(nn.Module):
    """Convolve a feature map along one axis, then downsample that axis.

    The convolution has the same shape and parameter names for every kind of downsampling, so the same weights
    load into all of them. Only "diffstride" has one more parameter, `pool.stride`.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        stride: stride ≥ 1 in samples; a whole number unless the kind is "spectral" or "diffstride".
        dim: axis to convolve and downsample, −2 (time in this project) or −1 (frequency).
        kernel_size: number of taps of the convolution, odd; the input is continued by zeros.
        kind: "strided" (the convolution itself takes the stride), "max" and "average" (over a window of at
            least 3 samples around each sample that is kept), "blur" (`BlurPool1d`), "spectral"
            (`SpectralPool1d`) or "diffstride" (`DiffStride1d`, whose stride is learned).
        window: window of "diffstride"; other kinds ignore it.

    Shape:
        (batch, in_channels, N, W) to (batch, out_channels, M, W) for dim −2, (…, W, N) to (…, W, M) for dim
        −1, where M is `output_length` (N).

    Raises:
        ValueError: if the kind is unknown, the kernel size even, or the stride not possible for the kind; in
            the forward pass if one of the last two axes is empty.

    >>> import torch
    >>> layer = ConvDownsample(1, 16, stride=2.0, dim=-2, window=Window(smoothness=1.0))
    >>> layer(torch.ones(8, 1, 100, 64)).shape
    torch.Size([8, 16, 52, 64])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: float = 2.0,
        *,
        dim: int = -1,
        kernel_size: int = 3,
        kind: Downsampling = "diffstride",
        window: Window = Window(),
    ) -> None:
        super().__init__()
        if kind not in get_args(Downsampling):
            raise ValueError(
                f"downsampling must be one of {', '.join(get_args(Downsampling))}, but got {kind!r}"
            )
        if dim not in (-2, -1):
            raise ValueError(f"dim must be -2 or -1, but got {dim}")
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd to keep the axis centred, but got {kernel_size}")
        (stride,) = one_per_axis(stride, 1)
        if kind not in ("spectral", "diffstride") and stride != int(stride):
            raise ValueError(f"{kind} downsampling takes whole strides, but got {stride:g}")
        self.kind, self.dim, self.kernel_size = kind, dim, kernel_size
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            along(dim, kernel_size, 1),
            stride=along(dim, int(stride), 1) if kind == "strided" else 1,
            padding=along(dim, kernel_size // 2, 0),
        )
        self._fixed_stride = stride
        self.pool = (
            DiffStride1d(stride, dim=dim, window=window)
            if kind == "diffstride"
            else fixed_pool(kind, stride, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        if 0 in x.shape[-2:]:
            raise ValueError(f"a feature map needs samples on both axes, but has shape {tuple(x.shape)}")
        if not isinstance(self.pool, LowPass):
            return self.pool(self.conv(x))
        # One plan for both forms: each plan reads the stride, which waits for a GPU.
        (axis,) = self.pool.plan(x.shape)
        if self._fusing_pays(x.shape[self.dim], axis.length):
            y = convolve_and_resample(x, self.conv.weight, self.conv.bias, axis)
        else:
            y = pool_axes(self.conv(x), (axis,))
        return self.pool.keep_frozen_in_graph(y) if isinstance(self.pool, DiffStride1d) else y

    def is_fused(self, n: int) -> bool:
        """Return whether an axis of n samples is resampled before its channels are mixed, to save work."""
        return isinstance(self.pool, LowPass) and self._fusing_pays(n, self.output_length(n))

    def _fusing_pays(self, n: int, length: int) -> bool:
        if length == n and self.kind == "spectral":
            return False  # there is nothing to resample
        return fusing_pays(n, length, self.kernel_size, self.conv.in_channels, self.conv.out_channels)

    @property
    def strides(self) -> Tensor:
        """Current stride, a tensor of shape (1,); of "diffstride" the learned one."""
        if isinstance(self.pool, DiffStride1d):
            return self.pool.strides
        return torch.tensor([self._fixed_stride], dtype=torch.float32, device=self.conv.weight.device)

    def output_length(self, n: int) -> int:
        """Return the length of an axis of n samples after this layer."""
        if isinstance(self.pool, DiffStride1d):
            stride = self.pool.stride
            (number,) = self.pool.host_strides if stride.is_meta else stride.tolist()
            return self.pool.window.output_length(n, number)
        if self.kind == "spectral":
            return Window(smoothness=0.0).output_length(n, self._fixed_stride)
        return -(-n // int(self._fixed_stride))


def fixed_pool(kind: Downsampling, stride: float, dim: int) -> nn.Module:
    """Return what downsamples an axis, −2 or −1, of a feature map by any kind but "diffstride"."""
    if kind == "strided" or stride == 1:
        return nn.Identity()
    if kind == "spectral":
        return SpectralPool1d(stride, dim=dim)
    whole = int(stride)
    if kind == "blur":
        return BlurPool1d(whole, dim=dim)
    # An odd window around every kept sample, so that all spatial kinds give ceil(n / stride) samples.
    size = max(3, whole + 1 - whole % 2)
    kernel, step, edge = along(dim, size, 1), along(dim, whole, 1), along(dim, size // 2, 0)
    if kind == "max":
        return nn.MaxPool2d(kernel, step, edge)
    return nn.AvgPool2d(kernel, step, edge, count_include_pad=False)
