"""torchvision, imported at its first use."""

from types import ModuleType

from audiostride.errors import UserError


def torchvision_datasets() -> ModuleType:
    """Return torchvision.datasets.

    Raises:
        UserError: if torchvision is not installed.
    """
    try:
        from torchvision import datasets
    except ImportError as error:
        raise _missing() from error
    return datasets


def torchvision_functional() -> ModuleType:
    """Return the functions of torchvision's transforms.

    Raises:
        UserError: if torchvision is not installed.
    """
    try:
        from torchvision.transforms.v2 import functional
    except ImportError as error:
        raise _missing() from error
    return functional


def _missing() -> UserError:
    return UserError(
        "images in folders and downloads need torchvision, which is not installed: run pip install "
        "'audiostride[images]'"
    )
