"""The low-pass window of DiffStride: how wide it is, how its edge looks, and how long it leaves an axis."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

Ramp = Literal["outside", "inside", "relative"]


@dataclass(frozen=True)
class Window:
    """The shape of a low-pass window over the DFT bins of an axis. Together with a stride it is complete.

    The window is 1 up to the cut-off of the stride, N / (2 · stride) bins for an axis of N samples. From
    there it falls to 0 along a straight ramp (Riad et al. 2022, eq. 3). The ramp is what makes a stride
    learnable: only the bins on it change with the stride.

    Args:
        smoothness: width of the ramp in DFT bins, from 0 to 1e9; the paper uses 4. At 0 the window is a
            step, as in spectral pooling, and the stride gets no gradient.
        ramp: position of the ramp.

            - "outside": the ramp begins at the cut-off, as in the paper. The output keeps its bins and is
              therefore 2 · smoothness samples longer than N / stride.
            - "inside": the ramp ends half a bin above the cut-off, so the output has N / stride samples, as
              after a strided convolution. It is at most a quarter of the output wide, and never reaches
              below 0.
            - "relative": outside the cut-off and smoothness · N / stride bins wide, so that short axes are
              shortened by the same factor as long ones. Usual values of smoothness are 0.1 to 0.5.
        multiple: output lengths are rounded up to a multiple of this whole number ≥ 1. They then change less
            often while strides are learned.

    Raises:
        ValueError: if an argument is out of its range.

    >>> Window(smoothness=4.0).output_length(100, stride=2.0)
    58
    >>> Window(smoothness=4.0, ramp="inside").output_length(100, stride=2.0)
    50
    """

    smoothness: float = 4.0
    ramp: Ramp = "outside"
    multiple: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.smoothness <= 1e9:  # float32 cannot hold the edges of much wider ramps
            raise ValueError(
                "smoothness must be a finite number of DFT bins, at least 0 and at most 1e9, "
                f"but got {self.smoothness:g}"
            )
        if self.ramp not in get_args(Ramp):
            raise ValueError(f"ramp must be one of {', '.join(get_args(Ramp))}, but got {self.ramp!r}")
        if self.multiple < 1:
            raise ValueError(f"multiple must be a whole number, at least 1, but got {self.multiple}")

    def usable_stride(self, n: int, stride: float) -> float:
        """Return the stride that an axis of n samples uses: at least 1, for a ramp outside n / (n − 1).

        At a stride of 1 every bin would lie below a ramp outside, so the gradient would be zero and the
        stride could never grow again. A ramp inside contains bins at a stride of 1.
        """
        can_lose_gradient = self.smoothness > 0 and self.ramp != "inside"
        return max(stride, n / (n - 1) if can_lose_gradient and n > 1 else 1.0)

    def output_length(self, n: int, stride: float) -> int:
        """Return the number of samples that an axis of n samples has after downsampling by `stride`.

        Raises:
            ValueError: if the stride is not a number.
        """
        if math.isnan(stride):
            raise ValueError("the stride is not a number: training has diverged, lower the learning rate")
        if n < 2:
            return n
        stride = self.usable_stride(n, stride)
        both_ramps = {
            "outside": 2 * self.smoothness,
            "inside": 0.0,
            "relative": 2 * self.smoothness * n / stride,
        }
        length = max(2, math.floor(min(n, n / stride + both_ramps[self.ramp])))
        return min(n, -(-length // self.multiple) * self.multiple)

    def real_stride(self, n: Tensor, stride: Tensor) -> Tensor:
        """Return `usable_stride` for an axis of a real-valued length n, scalar tensors."""
        if self.smoothness > 0 and self.ramp != "inside":
            return torch.maximum(stride, n / (n - 1))
        return stride

    def real_length(self, n: Tensor, stride: Tensor) -> Tensor:
        """Return `output_length` without rounding and without the multiple.

        Args:
            n: real-valued number of samples of the axis, ≥ 2, a scalar tensor.
            stride: stride ≥ 1, a scalar tensor.

        Returns:
            A scalar tensor. Its derivative is zero where the length is at a limit: all of n samples, or 2.
        """
        length = n / self.real_stride(n, stride)
        if self.ramp == "outside":
            length = length + 2 * self.smoothness
        elif self.ramp == "relative":
            length = length * (1 + 2 * self.smoothness)
        return torch.minimum(n, length).clamp(min=2)

    def edges(self, n: int, stride: Any, length: int) -> tuple[Any, Any]:
        """Return where the ramp begins and how wide it is, both in DFT bins.

        Args:
            n: number of samples of the axis.
            stride: usable stride, a number or a scalar tensor; the result has the same type.
            length: number of output samples.
        """
        cutoff = n / (2 * stride)
        if self.ramp == "inside":
            width: Any = min(self.smoothness, length / 4)
            if self.multiple > 1:  # a length that is rounded up may ask for a ramp that attenuates constants
                from_zero = cutoff + 0.5
                width = (
                    from_zero.detach().clamp(max=width)
                    if isinstance(stride, Tensor)
                    else min(width, from_zero)
                )
            return cutoff + 0.5 - width, width
        return cutoff, self.smoothness * n / stride if self.ramp == "relative" else self.smoothness

    def edge_slopes(self, n: int, stride: Any) -> tuple[Any, Any]:
        """Return the derivatives of both `edges` with respect to the stride, a number or a scalar tensor."""
        width_slope = -self.smoothness * n / stride**2 if self.ramp == "relative" else 0.0
        return -n / (2 * stride**2), width_slope


def as_window(smoothness: float | Window) -> Window:
    """Return a `Window` as it is, and for a number the paper's window, ``Window(smoothness)``."""
    return smoothness if isinstance(smoothness, Window) else Window(smoothness)
