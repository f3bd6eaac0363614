"""DiffStride as it is defined, in plain loops and double precision, without torch."""

import math

import numpy as np
from numpy.typing import NDArray


def length(n: int, stride: float, smoothness: float) -> int:
    if n < 2:
        return n
    return min(n, max(2, math.floor(n / lifted(n, stride, smoothness) + 2 * smoothness)))


def lifted(n: int, stride: float, smoothness: float) -> float:
    """Return the stride, raised to n / (n − 1) where a smaller one would get no gradient."""
    return max(stride, n / (n - 1)) if smoothness > 0 and n > 1 else stride


def mask(frequency: float, cutoff: float, smoothness: float) -> float:
    if smoothness == 0:
        return 1.0
    return min(1.0, max(0.0, (smoothness + cutoff - abs(frequency)) / smoothness))


def matrix(n: int, stride: float, smoothness: float) -> NDArray[np.float64]:
    m = length(n, stride, smoothness)
    cutoff = n / (2 * lifted(n, stride, smoothness))
    bins = list(range(-(m // 2), m // 2 + 1))
    if m == n and n % 2 == 0:
        bins.pop()  # +n/2 and −n/2 are the same bin
    result = np.zeros((m, n))
    for j in range(m):
        for i in range(n):
            for f in bins:
                result[j, i] += mask(f, cutoff, smoothness) * math.cos(2 * math.pi * f * (j / m - i / n)) / n
    return result
