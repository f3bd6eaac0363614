"""Cosines and sines of the DFT bins of an axis, kept from one step to the next.

While strides are learned, the matrices of their layers change at every step. What they are made of, the
tables of `functional.fourier_table`, depends on whole numbers alone.
"""

from functools import lru_cache

import torch
from torch import Tensor

from audiostride.layers.functional import fourier_table

# DFT bins that follow each other, if the host knows them, or else their numbers, a tensor (bins,).
Bins = range | Tensor

# Longer axes have tables that are large, and products beside which a table is built in no time.
_LONGEST = 320
_KEPT = 64


def bin_numbers(bins: Bins, device: torch.device) -> Tensor:
    """Return DFT bins as a tensor (bins,)."""
    if isinstance(bins, Tensor):
        return bins
    return torch.arange(bins.start, bins.stop, device=device)


def bin_table(points: int, bins: Bins, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (2 · bins, points), the transposed `fourier_table`. Do not write to it."""
    if isinstance(bins, Tensor) or points > _LONGEST or torch.compiler.is_compiling():
        return fourier_table(points, bin_numbers(bins, device), dtype).mT
    return _all_bins(points, dtype, device)[:, bins.start : bins.stop].flatten(0, 1)


@lru_cache(_KEPT)
def _all_bins(points: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (2, bins, points): the cosines of all bins of an axis, and their sines."""
    with torch.inference_mode(False):  # a table that is built in evaluation can be used in training later
        bins = torch.arange(points // 2 + 1, device=device)
        return fourier_table(points, bins, dtype).mT.unflatten(0, (2, -1)).contiguous()
