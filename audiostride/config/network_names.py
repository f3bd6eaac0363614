"""The names of the networks, without importing them."""

from functools import cache
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Literal

NETWORKS = "audiostride.models.networks"


@cache
def network_names() -> tuple[str, ...]:
    """Return the names of the networks: those of the files in `audiostride.models.networks`, sorted."""
    folder = Path(__file__).parents[1] / "models" / "networks"
    return tuple(sorted(module.name for module in iter_modules([str(folder)])))


if TYPE_CHECKING:
    Network = str
else:
    Network = Literal[network_names()]
