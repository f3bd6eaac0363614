"""Multiply-accumulates of the two forms of a resampling: the product with a matrix, and the FFT."""

import math
from typing import Any

import torch
from torch import Tensor

# Measured on a CPU (AVX-512, MKL) in float32: per multiply-accumulate, an FFT takes 20 times as long as a
# matrix product. That is the mean over random lengths: 3 if all prime factors are small, at most 70.
_FOURIER_COST = 20.0
# Shorter axes always take the matrix: calls cost more than arithmetic there, and counting says little.
_SHORTEST_BY_FOURIER = 257


def fourier_macs(n: Any, length: Any) -> Any:
    """Return the multiply-accumulates per line of a real FFT of n samples and an inverse one of `length`.

    A real FFT of n samples takes about 2.5 · n · log2 n additions and multiplications.

    Args:
        n, length: numbers, or scalar tensors, of which the result then is one.
    """
    return 1.25 * (n * _log2(n) + length * _log2(length))


def _log2(n: Any) -> Any:
    return n.log2() if isinstance(n, Tensor) else math.log2(n)


def is_long(n: int) -> bool:
    """Return whether an axis of n samples may go through the FFT.

    Graphs that are compiled, exported or traced keep the matrix, which every runtime can multiply by.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return n >= _SHORTEST_BY_FOURIER


def fourier_pays(n: int, length: int, lines: float = 1.0, rebuilt: bool = False) -> bool:
    """Return whether an axis is resampled in less time through the FFT than by its matrix.

    Args:
        n: number of samples of the axis.
        length: number of output samples.
        lines: number of lines along the axis.
        rebuilt: whether the matrix is built for this product alone, by a product with `length` bins.
    """
    if not is_long(n):
        return False
    by_matrix = n * length * (lines + (length if rebuilt else 0))
    return lines * _FOURIER_COST * fourier_macs(n, length) < by_matrix


def resampling_cost(n: int, length: int) -> float:
    """Return the cost per line of the cheaper form, in multiply-accumulates of a matrix product."""
    return _FOURIER_COST * fourier_macs(n, length) if fourier_pays(n, length) else n * length


def resampling_macs(n: int, length: int) -> float:
    """Return the multiply-accumulates per line of the cheaper form."""
    return fourier_macs(n, length) if fourier_pays(n, length) else n * length
