"""Sums over all devices of a run, so that a step is the same whatever their number."""

from collections.abc import Iterator
from functools import partial

import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from audiostride.layers.diffstride import is_distributed


def device_count() -> int:
    """Return the number of devices that train together, ≥ 1."""
    return distributed.get_world_size() if is_distributed() else 1


def sum_over_devices(values: Tensor) -> Tensor:
    """Return the sum over all devices of a tensor that each of them has, without a gradient."""
    if device_count() > 1:
        values = values.detach().clone()
        distributed.all_reduce(values)
    return values


class SyncBatchNorms(TorchSyncBatchNorm):
    """Lets batch norms in training take mean and variance over the windows of all devices.

    On GPUs torch's SyncBatchNorm takes their place. It has no form for CPUs; there they get a plain one.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        if next(model.parameters()).is_cuda:
            return super().apply(model)
        for norm in _batch_norms(model):
            norm.forward = partial(_batch_norm_over_devices, norm)  # type: ignore[method-assign]
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for norm in _batch_norms(model):
            norm.__dict__.pop("forward", None)
        return super().revert(model)


def _batch_norms(model: nn.Module) -> Iterator[_BatchNorm]:
    return (module for module in model.modules() if isinstance(module, _BatchNorm))


def _batch_norm_over_devices(norm: _BatchNorm, x: Tensor) -> Tensor:
    """Return what `norm` would return for the inputs of all devices in one batch: the part of this device.

    Args:
        norm: a batch norm with running mean and variance.
        x: (batch, channels, …).
    """
    if not norm.training:
        return type(norm).forward(norm, x)
    dims, shape = [dim for dim in range(x.ndim) if dim != 1], [1, -1, *[1] * (x.ndim - 2)]
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    count = sum_over_devices(values.new_tensor(x.numel() // x.shape[1]))
    mean = all_reduce(values.sum(dims)) / count
    centred = values - mean.view(shape)
    variance = all_reduce(centred.square().sum(dims)) / count
    assert norm.momentum is not None
    with torch.no_grad():
        for running, value in ((norm.running_mean, mean), (norm.running_var, variance * count / (count - 1))):
            if running is not None:
                running.lerp_(value.to(running.dtype), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    normalised = centred * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        normalised = normalised * norm.weight.view(shape) + norm.bias.view(shape)
    return normalised.to(x.dtype)
