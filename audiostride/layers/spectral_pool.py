"""Spectral pooling (Rippel et al., "Spectral representations for CNNs", NeurIPS 2015), over 1 to 3 axes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from audiostride.layers.diffstride import axis_sizes, one_per_axis
from audiostride.layers.kernels.operators import OperatorCache
from audiostride.layers.kernels.pooling import AxisPlan, pool_axes
from audiostride.layers.window import Window


class SpectralPoolNd(nn.Module):
    """Base class of `SpectralPool1d`, `SpectralPool2d` and `SpectralPool3d`."""

    axes: int
    dims: tuple[int, ...]
    window = Window(smoothness=0.0)

    def __init__(self, stride: float | Sequence[float] = 2.0) -> None:
        super().__init__()
        self.stride = one_per_axis(stride, self.axes)
        self.dims = tuple(range(-self.axes, 0))
        self._operators = OperatorCache()

    @property
    def strides(self) -> Tensor:
        """Strides of all axes, a tensor of shape (axes,)."""
        return torch.tensor(self.stride, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        return pool_axes(x, self.plan(x.shape))

    def plan(self, shape: Sequence[int]) -> tuple[AxisPlan, ...]:
        """Decide how each axis of an input of this shape is downsampled.

        Raises:
            ValueError: if the shape has too few axes.
        """
        return tuple(
            AxisPlan(
                dim,
                stride,
                stride,
                self.window,
                self.window.output_length(n, stride),
                operators=self._operators,
            )
            for dim, n, stride in zip(self.dims, axis_sizes(shape, self.dims), self.stride, strict=True)
        )

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


class SpectralPool1d(SpectralPoolNd):
    """Downsample one axis by cropping its spectrum, as ``scipy.signal.resample`` does (Rippel et al. 2015).

    Args:
        stride: stride in samples, a finite number ≥ 1 that need not be whole. It is fixed, not learned.
        dim: axis to downsample, counted from the end: −1 is the last.

    Shape:
        (…, N) to (…, M) with M = min(N, max(2, floor(N / stride))), of any floating type.

    Raises:
        ValueError: if the stride is below 1 or `dim` is not negative.

    >>> SpectralPool1d(stride=2.5)(torch.ones(8, 16, 100)).shape
    torch.Size([8, 16, 40])
    """

    axes = 1

    def __init__(self, stride: float | Sequence[float] = 2.0, *, dim: int = -1) -> None:
        super().__init__(stride)
        if dim >= 0:
            raise ValueError(f"dim counts axes from the end and must be negative, but got {dim}")
        self.dims = (dim,)


class SpectralPool2d(SpectralPoolNd):
    """Downsample the last two axes by cropping their spectra; see `SpectralPool1d`.

    Args:
        stride: one stride ≥ 1 for both axes, or one per axis.

    Shape:
        (…, N₁, N₂) to (…, M₁, M₂), each axis as in `SpectralPool1d`.

    Raises:
        ValueError: if a stride is below 1, or if there are neither one nor two.

    >>> SpectralPool2d(stride=(2.0, 4.0))(torch.ones(8, 1, 100, 64)).shape
    torch.Size([8, 1, 50, 16])
    """

    axes = 2


class SpectralPool3d(SpectralPoolNd):
    """Downsample the last three axes by cropping their spectra; see `SpectralPool1d`.

    Args:
        stride: one stride ≥ 1 for all axes, or one per axis.

    Shape:
        (…, N₁, N₂, N₃) to (…, M₁, M₂, M₃), each axis as in `SpectralPool1d`.

    Raises:
        ValueError: if a stride is below 1, or if there are neither one nor three.

    >>> SpectralPool3d(stride=2.0)(torch.ones(1, 20, 20, 30)).shape
    torch.Size([1, 10, 10, 15])
    """

    axes = 3
