"""Anti-aliased pooling (Zhang, "Making convolutional networks shift-invariant again", ICML 2019)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class BlurPool1d(nn.Module):
    """Blur one axis with a triangular filter, then keep every stride-th sample.

    The filter has 2 · stride − 1 taps that sum to 1 ([1 2 1] / 4 at stride 2). It is zero at the frequencies
    that would alias onto the constant. Beyond the edges the axis is continued by its last value.

    Args:
        stride: stride in samples, a whole number ≥ 1.
        dim: axis to downsample, counted from the end: −1 is the last.

    Shape:
        (…, N) to (…, ceil(N / stride)), for instance (batch, channels, length).

    Raises:
        ValueError: if the stride is not a whole number ≥ 1, or `dim` is not negative.

    >>> BlurPool1d(stride=2)(torch.ones(8, 16, 101)).shape
    torch.Size([8, 16, 51])
    """

    def __init__(self, stride: int = 2, *, dim: int = -1) -> None:
        super().__init__()
        if stride != int(stride) or stride < 1:
            raise ValueError(f"a stride must be a whole number, at least 1, but got {stride:g}")
        if dim >= 0:
            raise ValueError(f"dim counts axes from the end and must be negative, but got {dim}")
        self.stride, self.dim = int(stride), dim

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4 and self.dim in (-2, -1):
            return self._blur_feature_map(x, self.dim)
        lines = x.movedim(self.dim, -1)
        blurred = self._blur_feature_map(lines.reshape(1, 1, -1, lines.shape[-1]), -1)
        return blurred.view(*lines.shape[:-1], -1).movedim(-1, self.dim)

    def _blur_feature_map(self, x: Tensor, dim: int) -> Tensor:
        """Convolve one axis of (batch, channels, height, width) with the filter, channel by channel."""
        edge, taps = self.stride - 1, 2 * self.stride - 1
        padding = (0, 0, edge, edge) if dim == -2 else (edge, edge, 0, 0)
        kernel_size, stride = ((taps, 1), (self.stride, 1)) if dim == -2 else ((1, taps), (1, self.stride))
        offsets = torch.arange(-edge, edge + 1, device=x.device)
        triangle = (self.stride - offsets.abs()).to(x.dtype) / self.stride**2
        channels = x.shape[1]
        kernel = triangle.view(1, 1, *kernel_size).expand(channels, -1, -1, -1)
        padded = functional.pad(x, padding, mode="replicate")
        return functional.conv2d(padded, kernel, stride=stride, groups=channels)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, dim={self.dim}"
