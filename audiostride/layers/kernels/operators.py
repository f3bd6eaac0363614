"""Resampling matrices of strides that do not change: built once and kept."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from audiostride.layers.functional import resampling_matrix
from audiostride.layers.window import Window


def fixed_matrix(
    n: int,
    stride: float,
    window: Window,
    length: int,
    dtype: torch.dtype,
    device: torch.device,
    taps: int | None = None,
) -> Tensor:
    """Return the `resampling_matrix` of a fixed stride, or its `per_tap_matrix` if `taps` is given.

    The result is shared between calls: do not write to it.
    """
    build = _build if torch.compiler.is_compiling() else _build_once  # a compiled graph cannot keep tensors
    return build(n, stride, window, length, dtype, device, taps)


def _build(
    n: int,
    stride: float,
    window: Window,
    length: int,
    dtype: torch.dtype,
    device: torch.device,
    taps: int | None,
) -> Tensor:
    exact = torch.promote_types(dtype, torch.float32)
    matrix = resampling_matrix(n, stride, window, length=length, dtype=exact, device=device).to(dtype)
    return matrix if taps is None else per_tap_matrix(matrix, taps)


# Outside inference mode, so that a matrix built in evaluation can be used in training later.
_build_once = lru_cache(maxsize=512)(torch.inference_mode(False)(_build))


def per_tap_matrix(matrix: Tensor, taps: int) -> Tensor:
    """Turn a matrix (rows, n) into (rows · taps, n), which applies it to the input as each tap sees it.

    Row r · taps + t holds row r, shifted by the offset of tap t of a centred convolution with an odd number
    of taps.
    """
    n, edge = matrix.shape[1], taps // 2
    wide = pad(matrix, (edge, edge))
    shifted = [wide[:, 2 * edge - tap : 2 * edge - tap + n] for tap in range(taps)]
    return torch.stack(shifted, 1).flatten(0, 1)
