"""torchvision, which only some networks need: it comes with the extra `images`."""

from collections.abc import Iterator
from contextlib import contextmanager

from audiostride.errors import UserError


@contextmanager
def needs_torchvision(network: str) -> Iterator[None]:
    """Raise `UserError` if an import in this context finds no torchvision.

    Args:
        network: name of the network that imports it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"the network {network} needs torchvision: run pip install 'audiostride[images]'"
        ) from error
