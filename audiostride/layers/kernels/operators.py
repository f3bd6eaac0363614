"""Resampling matrices of strides that do not change: built once and kept for a while."""

import threading
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from audiostride.layers.functional import resampling_matrix
from audiostride.layers.window import Window

_KEPT_BYTES = 8 * 2**20


class FixedOperator(NamedTuple):
    """The resampling of an axis by a fixed stride.

    Attributes:
        n: number of samples of the axis.
        stride: stride as a number ≥ 1.
        window: window of the axis.
        length: number of output samples.
        dtype: type of the matrix.
        device: device of the matrix.
        taps: number of taps of a convolution, or None.
    """

    n: int
    stride: float
    window: Window
    length: int
    dtype: torch.dtype
    device: torch.device
    taps: int | None

    @property
    def is_kept(self) -> bool:
        """Whether an `OperatorCache` has room for the matrix."""
        return self.n * self.length * (self.taps or 1) * self.dtype.itemsize <= _KEPT_BYTES

    def build(self) -> Tensor:
        """Return its `resampling_matrix`, or its `per_tap_matrix` if there are taps."""
        exact = torch.promote_types(self.dtype, torch.float32)
        matrix = resampling_matrix(
            self.n, self.stride, self.window, length=self.length, dtype=exact, device=self.device
        )
        return per_tap_matrix(matrix.to(self.dtype), self.taps)


class OperatorCache:
    """Keeps the matrices that a layer used last, for one device and up to 8 MiB.

    They live as long as the layer. A copy of a layer begins with none.
    """

    def __init__(self) -> None:
        self.matrices: dict[FixedOperator, Tensor] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return OperatorCache, ()

    def matrix(self, operator: FixedOperator) -> Tensor:
        """Return the matrix of an operator. It is shared between calls: do not write to it."""
        if torch.compiler.is_compiling() or not operator.is_kept:  # a compiled graph cannot keep tensors
            return operator.build()
        with self._lock:
            matrix = self.matrices.pop(operator, None)
            if matrix is None:
                # Outside inference mode, so that a matrix built in evaluation can be used in training later.
                with torch.inference_mode(False):
                    matrix = operator.build()
            self.matrices[operator] = matrix  # the newest comes last
            self._drop_old(operator.device)
        return matrix

    def _drop_old(self, device: torch.device) -> None:
        kept = 0
        for operator, matrix in reversed(list(self.matrices.items())):
            kept += matrix.nbytes
            if kept > _KEPT_BYTES or matrix.device != device:
                del self.matrices[operator]


def per_tap_matrix(matrix: Tensor, taps: int | None) -> Tensor:
    """Turn a matrix (rows, n) into (rows · taps, n), which applies it to the input as each tap sees it.

    Row r · taps + t holds row r, shifted by the offset of tap t of a centred convolution with an odd number
    of taps. Without taps the matrix stays as it is.
    """
    if taps is None:
        return matrix
    n, edge = matrix.shape[1], taps // 2
    wide = pad(matrix, (edge, edge))
    shifted = [wide[:, 2 * edge - tap : 2 * edge - tap + n] for tap in range(taps)]
    return torch.stack(shifted, 1).flatten(0, 1)
