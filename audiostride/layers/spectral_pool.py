"""Spectral pooling (Rippel et al., "Spectral representations for CNNs", NeurIPS 2015), over 1 to 3 axes."""

from collections.abc import Sequence

from torch import Tensor, nn

from audiostride.layers.diffstride import one_per_axis
from audiostride.layers.functional import spectral_pool


class SpectralPoolNd(nn.Module):
    """What SpectralPool1d, 2d and 3d share: all but the number of axes."""

    axes: int
    dims: tuple[int, ...]

    def __init__(self, stride: float | Sequence[float] = 2.0) -> None:
        super().__init__()
        self.stride = one_per_axis(stride, self.axes)
        self.dims = tuple(range(-self.axes, 0))

    def forward(self, x: Tensor) -> Tensor:
        return spectral_pool(x, self.stride, 0.0, self.dims)

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


class SpectralPool1d(SpectralPoolNd):
    """Downsample one axis by cropping its spectrum, as `scipy.signal.resample` does.

    Args:
        stride: in samples, a finite number ≥ 1, need not be whole. It is fixed, not learned.
        dim: the axis to downsample, counted from the end: −1 is the last.

    Shape:
        (…, N) to (…, M) with M = min(N, max(2, floor(N / stride))), any floating type.

    Raises:
        ValueError: for a stride below 1 or a `dim` that is not negative.
    """

    axes = 1

    def __init__(self, stride: float | Sequence[float] = 2.0, dim: int = -1) -> None:
        super().__init__(stride)
        if dim >= 0:
            raise ValueError(f"dim counts axes from the end and must be negative, but got {dim}")
        self.dims = (dim,)


class SpectralPool2d(SpectralPoolNd):
    """`SpectralPool1d` over the last two axes, with one stride for both or one each."""

    axes = 2


class SpectralPool3d(SpectralPoolNd):
    """`SpectralPool1d` over the last three axes, with one stride for all or one each."""

    axes = 3
