"""Matrix products along one axis of a feature map, in its memory format and autocast's type."""

import torch
from torch import Tensor

from audiostride.layers.functional import autocast_device


def apply_along(x: Tensor, matrix: Tensor, dim: int) -> Tensor:
    """Apply an (M, n) matrix along one axis: (…, n, …) to (…, M, …), in the memory format of x."""
    if dim in (-2, -1) and is_channels_last(x):
        batch, channels, height, width = x.shape
        y = x.permute(0, 2, 3, 1)
        if dim == -2:  # rows of width · channels make one large product per example
            y = (matrix @ y.reshape(batch, height, width * channels)).unflatten(-1, (width, channels))
        else:
            y = matrix @ y
        return y.permute(0, 3, 1, 2)
    if dim in (-1, x.ndim - 1):
        return x @ matrix.mT
    if dim in (-2, x.ndim - 2):
        return matrix.contiguous() @ x  # many small products, twice as fast with a contiguous matrix
    return (x.movedim(dim, -1) @ matrix.mT).movedim(-1, dim)


def is_channels_last(x: Tensor) -> bool:
    """Return whether x is a batch of feature maps in channels-last memory format and not contiguous."""
    try:
        return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    except RuntimeError:  # torch does not tell the memory format of a batch of vmap
        return False


def transforms_active() -> bool:
    """Return whether a transform of torch.func, such as grad or vmap, or forward mode is at work."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def as_autocast(x: Tensor) -> Tensor:
    """Return x in the type that autocast, if it is on, uses for matrix products."""
    device = autocast_device(x.device)
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        return x.to(torch.get_autocast_dtype(device))
    return x


def exact_dtype(x: Tensor) -> torch.dtype:
    """Return the type in which matrices for x are built: at least float32."""
    return x.dtype if x.dtype.itemsize >= 4 else torch.float32


def sum_other_axes(x: Tensor, dim: int) -> Tensor:
    """Sum x over all axes but one."""
    others = [d for d in range(x.ndim) if d != dim % x.ndim]
    return x.sum(others) if others else x
