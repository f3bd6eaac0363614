"""Audio classification with learnable strides (DiffStride) in PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiostride.frontends.log_mel import LogMel
    from audiostride.layers import (
        DiffStride1d,
        DiffStride2d,
        DiffStride3d,
        SpectralPool1d,
        SpectralPool2d,
        SpectralPool3d,
    )
    from audiostride.models.classifier import Classifier, load
    from audiostride.models.separable_cnn import SeparableCNN

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "DiffStride1d",
    "DiffStride2d",
    "DiffStride3d",
    "LogMel",
    "SeparableCNN",
    "SpectralPool1d",
    "SpectralPool2d",
    "SpectralPool3d",
    "load",
]

_ROOMS = {
    "Classifier": "audiostride.models.classifier",
    "LogMel": "audiostride.frontends.log_mel",
    "SeparableCNN": "audiostride.models.separable_cnn",
    "load": "audiostride.models.classifier",
}


def __getattr__(name: str) -> Any:
    # Imported at first use: the command line answers usage errors without waiting for torch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS.get(name, "audiostride.layers")), name)
