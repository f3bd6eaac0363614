"""Resampling matrices of strides that do not change: built once and kept for a while."""

import threading
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from audiostride.layers.functional import resampling_matrix
from audiostride.layers.window import Window

_KEPT_BYTES = 8 * 2**20


class OperatorCache:
    """Keeps the matrices that a layer used last, for one device and up to 8 MiB, but always the newest one.

    They live as long as the layer. A copy of a layer begins with none.
    """

    def __init__(self) -> None:
        self.matrices: dict[Any, Tensor] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return OperatorCache, ()

    def matrix(
        self,
        n: int,
        stride: float,
        window: Window,
        length: int,
        dtype: torch.dtype,
        device: torch.device,
        taps: int | None,
    ) -> Tensor:
        """Return the `resampling_matrix` of a fixed stride, or its `per_tap_matrix` if there are taps.

        The result is shared between calls: do not write to it.
        """
        arguments = (n, stride, window, length, dtype, device, taps)
        if torch.compiler.is_compiling():  # a compiled graph cannot keep tensors
            return fixed_matrix(*arguments)
        with self._lock:
            matrix = self.matrices.pop(arguments, None)
            if matrix is None:
                # Outside inference mode, so that a matrix built in evaluation can be used in training later.
                with torch.inference_mode(False):
                    matrix = fixed_matrix(*arguments)
            self.matrices[arguments] = matrix  # the newest comes last
            self._drop_old(device)
        return matrix

    def _drop_old(self, device: torch.device) -> None:
        kept = 0
        for arguments, matrix in reversed(list(self.matrices.items())):
            kept += matrix.nbytes
            is_newest = kept == matrix.nbytes
            if not is_newest and (kept > _KEPT_BYTES or matrix.device != device):
                del self.matrices[arguments]


def fixed_matrix(
    n: int,
    stride: float,
    window: Window,
    length: int,
    dtype: torch.dtype,
    device: torch.device,
    taps: int | None,
) -> Tensor:
    """Build the `resampling_matrix` of a fixed stride, or its `per_tap_matrix` if there are taps."""
    exact = torch.promote_types(dtype, torch.float32)
    matrix = resampling_matrix(n, stride, window, length=length, dtype=exact, device=device).to(dtype)
    return matrix if taps is None else per_tap_matrix(matrix, taps)


def per_tap_matrix(matrix: Tensor, taps: int) -> Tensor:
    """Turn a matrix (rows, n) into (rows · taps, n), which applies it to the input as each tap sees it.

    Row r · taps + t holds row r, shifted by the offset of tap t of a centred convolution with an odd number
    of taps.
    """
    n, edge = matrix.shape[1], taps // 2
    wide = pad(matrix, (edge, edge))
    shifted = [wide[:, 2 * edge - tap : 2 * edge - tap + n] for tap in range(taps)]
    return torch.stack(shifted, 1).flatten(0, 1)
