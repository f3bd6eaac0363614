"""What the network of a classifier costs, as a smooth function of its learned strides."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from audiostride.frontends.frontend import Frontend, SoundFrontend
from audiostride.layers.dry_run import DryRun, Operation
from audiostride.models.trunk import Trunk


class _Network(nn.Module):
    """What follows the features: the downsampling of a frontend that learns its resolution, and the trunk."""

    def __init__(self, frontend: Frontend, trunk: Trunk) -> None:
        super().__init__()
        self.trunk, self.frontend = trunk, frontend  # the type of the trunk counts, so it comes first

    def forward(self, features: Tensor) -> Tensor:
        # Not as a call of the trunk, which could be compiled.
        return self.trunk.forward(self.frontend.downsample(features))


def network_macs(frontend: Frontend, trunk: Trunk, window_s: float, whole: bool = False) -> Tensor:
    """Return the multiply-accumulates of a network per second of sound, or per image.

    They are those of the row "all" of `audiostride summary`, for a second instead of a window: of the
    network without its frontend. If the frontend learns its resolution, they follow its strides too.

    Args:
        frontend: the frontend, whose features the network gets.
        trunk: the network.
        window_s: length of a window in seconds.
        whole: round all lengths to whole samples, as the network does.

    Returns:
        A scalar in float64, differentiable by the learned strides of both.
    """
    return _per_second(frontend, window_s, _total(_operations(frontend, trunk, window_s, whole)))


def macs_of_parts(frontend: Frontend, trunk: Trunk, window_s: float) -> dict[str, float]:
    """Return `network_macs` with whole lengths of each part of a network, and of "all".

    Args:
        frontend, trunk, window_s: as in `network_macs`.

    Returns:
        From the names of `audiostride summary`, in order.
    """
    with torch.no_grad():
        operations = _operations(frontend, trunk, window_s, whole=True)
    totals = {}
    for name, modules in (*trunk.parts().items(), ("all", (trunk,))):
        own = {inner for module in modules for inner in module.modules()}
        inside = [one for one in operations if name == "all" or not own.isdisjoint(one.modules)]
        totals[name] = float(_per_second(frontend, window_s, _total(inside)))
    return totals


def _operations(frontend: Frontend, trunk: Trunk, window_s: float, whole: bool) -> list[Operation]:
    """Return the operations of a network for a window, or for an image."""
    shape = (frontend.images, *frontend.feature_size(window_s))
    run = DryRun(_Network(frontend, trunk), shape, whole)
    of_frontend = set(frontend.modules())
    return [operation for operation in run.operations if of_frontend.isdisjoint(operation.modules)]


def _total(operations: Sequence[Operation]) -> Tensor:
    macs = [operation.macs for operation in operations]
    return torch.stack(macs).sum() if macs else torch.zeros((), dtype=torch.float64)


def _per_second(frontend: Frontend, window_s: float, macs: Tensor) -> Tensor:
    return macs / window_s if isinstance(frontend, SoundFrontend) else macs


def unit(frontend: Frontend) -> str:
    """Return what `network_macs` counts, in words."""
    example = "second of sound" if isinstance(frontend, SoundFrontend) else "image"
    return f"million multiply-accumulates per {example}"
