"""What a training loop does with all learned strides of a network."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from audiostride.layers.diffstride import DiffStrideNd, project_layers_
from audiostride.layers.kernels.products import transforms_active


def diffstride_layers(network: nn.Module) -> Iterator[DiffStrideNd]:
    """Yield every DiffStride layer of a network, in the order of its modules."""
    return (module for module in network.modules() if isinstance(module, DiffStrideNd))


def project_(network: nn.Module) -> None:
    """Clamp every learned stride of a network to its range [1, N). Call it after each optimiser step.

    N is the largest size that the axis has had in forward passes with gradients enabled since the last call.
    Without such a pass there is no upper limit. In distributed training all processes must call it together:
    N is the largest size in all of them, so that their strides stay equal.

    Args:
        network: any module that contains DiffStride layers; others are left alone.

    >>> from audiostride.layers import DiffStride1d
    >>> layer = DiffStride1d(stride=2.0)
    >>> _ = layer.stride.data.fill_(0.5)
    >>> project_(layer)
    >>> layer.stride.item()
    1.0
    """
    project_layers_(diffstride_layers(network))


def read_strides(network: nn.Module) -> None:
    """Read all learned strides of a network at once, for the forward pass that follows.

    Call it at the beginning of the forward pass of your own network: a GPU is then waited for once, instead
    of once per layer. `SeparableCNN` does so, and `replace_strides` sees to it. Each layer uses its numbers
    once, or as often as `replace_strides` saw it called, and only if its parameter has not changed since;
    otherwise it reads its strides itself. Results are the same.

    Args:
        network: the network, any module that contains DiffStride layers.

    >>> import torch
    >>> from audiostride.layers import DiffStride1d
    >>> class Network(nn.Sequential):
    ...     def forward(self, x):
    ...         read_strides(self)
    ...         return super().forward(x)
    >>> Network(DiffStride1d(stride=2.0, dim=-2), DiffStride1d(stride=2.0))(torch.ones(1, 100, 64)).shape
    torch.Size([1, 58, 40])
    """
    layers = [
        layer
        for layer in diffstride_layers(network)
        if not layer.frozen and not layer.knows_strides(for_all_uses=True)
    ]
    if sum(layer.uses for layer in layers) > 1:
        _read_at_once(layers)


@torch.compiler.disable  # a compiled graph cannot read
@torch.no_grad()
def _read_at_once(layers: list[DiffStrideNd]) -> None:
    unreadable = any(layer.stride.is_meta for layer in layers) or transforms_active()
    if unreadable or torch.compiler.is_exporting():
        return
    device = layers[0].stride.device
    values = torch.cat([layer.stride.to(device) for layer in layers]).tolist()
    for layer in layers:
        count = len(layer.stride)
        layer.hand_(values[:count])
        del values[:count]


def freeze_(network: nn.Module, frozen: bool = True) -> None:
    """Make every learned stride of a network a constant, or learn them again with ``frozen=False``.

    Frozen strides get no gradient, need no synchronisation with a GPU and do not break a compiled graph. A
    state dict does not store whether strides are frozen.

    Args:
        network: any module that contains DiffStride layers.
        frozen: False to learn the strides again.

    >>> import torch
    >>> from audiostride.layers import DiffStride1d
    >>> layer = DiffStride1d(stride=2.0)
    >>> freeze_(layer)
    >>> layer(torch.ones(1, 40)).requires_grad
    False
    """
    for layer in diffstride_layers(network):
        layer.freeze_(frozen)


def parameter_groups(
    network: nn.Module, *, stride_lr: float | None = None, **options: Any
) -> list[dict[str, Any]]:
    """Split the parameters of a network into groups for an optimiser: the strides apart, without weight
    decay.

    Weight decay moves a parameter towards 0 whatever the task asks for. `project_` then holds a stride at 1,
    so a plain AdamW drives all strides to 1.

    Args:
        network: any module.
        stride_lr: learning rate of the strides, by default that of the optimiser. Strides often need a larger
            one than weights to move at all.
        **options: options of the group of all other parameters, such as ``weight_decay=0.01``.

    Returns:
        One group for the weights and one for the strides. A group without parameters is left out.

    >>> import torch
    >>> from audiostride.layers import DiffStride1d
    >>> network = nn.Sequential(nn.Conv1d(1, 4, 3), DiffStride1d(stride=2.0))
    >>> optimizer = torch.optim.AdamW(parameter_groups(network, stride_lr=0.05), lr=1e-3)
    >>> [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    [(0.001, 0.01), (0.05, 0.0)]
    """
    strides = {id(layer.stride): layer.stride for layer in diffstride_layers(network)}
    weights = [parameter for parameter in network.parameters() if id(parameter) not in strides]
    rate = {} if stride_lr is None else {"lr": stride_lr}
    groups = [
        {"params": weights, **options},
        {"params": list(strides.values()), "weight_decay": 0.0, **rate},
    ]
    return [group for group in groups if group["params"]]
