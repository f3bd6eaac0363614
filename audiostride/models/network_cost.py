"""What the network of a classifier costs, as a smooth function of its learned strides."""

import torch
from torch import Tensor, nn

from audiostride.frontends.frontend import Frontend, SoundFrontend
from audiostride.layers.dry_run import DryRun
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
    run = _dry_run(frontend, trunk, window_s, whole)
    macs = run.macs() - run.macs(frontend.modules())
    return macs / _seconds(frontend, window_s)


def macs_of_parts(frontend: Frontend, trunk: Trunk, window_s: float) -> dict[str, float]:
    """Return `network_macs` with whole lengths of each part of a network, and of "all".

    Args:
        frontend, trunk, window_s: as in `network_macs`.

    Returns:
        From the names of `audiostride summary`, in order.
    """
    with torch.no_grad():
        run = _dry_run(frontend, trunk, window_s, whole=True)
        totals = {name: run.macs(modules) for name, modules in trunk.parts().items()}
        totals["all"] = run.macs() - run.macs(frontend.modules())
    return {name: float(macs) / _seconds(frontend, window_s) for name, macs in totals.items()}


def _dry_run(frontend: Frontend, trunk: Trunk, window_s: float, whole: bool) -> DryRun:
    shape = (frontend.images, *frontend.feature_size(window_s))
    return DryRun(_Network(frontend, trunk), shape, whole)


def _seconds(frontend: Frontend, window_s: float) -> float:
    return window_s if isinstance(frontend, SoundFrontend) else 1.0


def macs_unit(frontend: Frontend) -> str:
    """Return what `network_macs` counts, in words."""
    example = "second of sound" if isinstance(frontend, SoundFrontend) else "image"
    return f"million multiply-accumulates per {example}"
