"""A convolution along one axis followed by any kind of downsampling of that axis, chosen by name."""

from typing import Literal, get_args

from torch import Tensor, nn

from audiostride.layers.blur_pool import BlurPool1d
from audiostride.layers.diffstride import DiffStride1d, one_per_axis
from audiostride.layers.functional import Ramp, output_length, spectral_pool
from audiostride.layers.kernels.fused_convolution import along, convolve_and_resample, fusing_pays
from audiostride.layers.spectral_pool import SpectralPool1d

Downsampling = Literal["strided", "max", "average", "blur", "spectral", "diffstride"]


class Downsample(nn.Module):
    """Convolve a feature map along one axis, then shorten that axis by a stride.

    The convolution keeps its shape and its parameter names whatever the kind of downsampling, so the same
    weights load into all of them; only "diffstride" has a parameter more, `pool.stride`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: ≥ 1; a whole number unless the kind is "spectral" or "diffstride".
        dim: the axis: −2 (time, in this project) or −1 (frequency).
        kernel_size: taps of the convolution, odd; zeros beyond the edges.
        kind: "strided" (by the convolution itself), "max" and "average" (a window of at least 3 samples
            around each kept one), "blur" (`BlurPool1d`), "spectral" (`SpectralPool1d`) or
            "diffstride" (`DiffStride1d`, whose stride is learned).
        smoothness, ramp, multiple: for "diffstride", see `DiffStride1d`.

    Shape:
        (batch, in_channels, N, W) to (batch, out_channels, M, W) for dim −2, where M is
        `output_length` (N).

    Raises:
        ValueError: for an unknown kind, an even kernel, or a stride that the kind cannot take.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: float = 2.0,
        dim: int = -1,
        kernel_size: int = 3,
        kind: Downsampling = "diffstride",
        smoothness: float = 4.0,
        ramp: Ramp = "outside",
        multiple: int = 1,
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
        self.kind, self.dim = kind, dim
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            along(dim, kernel_size, 1),
            stride=along(dim, int(stride), 1) if kind == "strided" else 1,
            padding=along(dim, kernel_size // 2, 0),
        )
        self._fixed_stride = stride
        self.kernel_size = kernel_size
        self.pool = (
            DiffStride1d(stride, smoothness, dim=dim, ramp=ramp, multiple=multiple)
            if kind == "diffstride"
            else _fixed_pool(kind, stride, dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(self.pool, DiffStride1d):
            return self.pool(self.conv(x))
        n, conv = x.shape[self.dim], self.conv
        (length,) = self.pool.output_lengths((n,))
        window, strides, values = self.pool.window, self.pool.current(), self.pool.known_values()
        if not self._fusing_pays(n, length):  # as self.pool would, which would read the stride again
            return spectral_pool(conv(x), strides, window, (self.dim,), (length,), values)
        (stride,), (value,) = strides, values or (None,)
        return convolve_and_resample(x, conv.weight, conv.bias, stride, window, self.dim, length, value)

    def is_fused(self, n: int) -> bool:
        """Whether an axis of n samples is resampled before channels are mixed: the same, but cheaper."""
        return isinstance(self.pool, DiffStride1d) and self._fusing_pays(n, self.output_length(n))

    def _fusing_pays(self, n: int, length: int) -> bool:
        return fusing_pays(n, length, self.kernel_size, self.conv.in_channels, self.conv.out_channels)

    @property
    def stride(self) -> Tensor | float:
        """The stride as it is now: for "diffstride" the learned one, a scalar tensor."""
        return self.pool.strides[0] if isinstance(self.pool, DiffStride1d) else self._fixed_stride

    def output_length(self, n: int) -> int:
        """Length of an axis of n samples after this layer."""
        if self.kind == "spectral":
            return output_length(n, self._fixed_stride, 0.0)
        if isinstance(self.pool, DiffStride1d):
            return output_length(n, self.pool.stride.item(), self.pool.window)
        return -(-n // int(self._fixed_stride))


def _fixed_pool(kind: Downsampling, stride: float, dim: int) -> nn.Module:
    if kind == "strided" or stride == 1:
        return nn.Identity()
    if kind == "spectral":
        return SpectralPool1d(stride, dim=dim)
    whole = int(stride)
    if kind == "blur":
        return BlurPool1d(whole, dim=dim)
    # An odd window around every kept sample, so that all spatial kinds give ceil(n / stride) samples.
    window = max(3, whole + 1 - whole % 2)
    kernel, step, edge = along(dim, window, 1), along(dim, whole, 1), along(dim, window // 2, 0)
    if kind == "max":
        return nn.MaxPool2d(kernel, step, edge)
    return nn.AvgPool2d(kernel, step, edge, count_include_pad=False)
