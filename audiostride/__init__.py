"""Audio classification with learnable strides (DiffStride) in PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiostride.frontends.log_mel import LogMel
    from audiostride.layers import (
        BlurPool1d,
        ConvDownsample,
        DiffStride1d,
        DiffStride2d,
        DiffStride3d,
        SpectralPool1d,
        SpectralPool2d,
        SpectralPool3d,
        Window,
        complexity,
        freeze_,
        parameter_groups,
        project_,
        read_strides,
    )
    from audiostride.models.classifier import Classifier, load
    from audiostride.models.separable_cnn import SeparableCNN

__version__ = "0.3.0"
__all__ = [
    "BlurPool1d",
    "Classifier",
    "ConvDownsample",
    "DiffStride1d",
    "DiffStride2d",
    "DiffStride3d",
    "LogMel",
    "SeparableCNN",
    "SpectralPool1d",
    "SpectralPool2d",
    "SpectralPool3d",
    "Window",
    "complexity",
    "freeze_",
    "load",
    "parameter_groups",
    "project_",
    "read_strides",
]

_MODULES = {
    "Classifier": "audiostride.models.classifier",
    "LogMel": "audiostride.frontends.log_mel",
    "SeparableCNN": "audiostride.models.separable_cnn",
    "load": "audiostride.models.classifier",
}


def __getattr__(name: str) -> Any:
    # Imported at first use: the command line reports usage errors without waiting for torch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "audiostride.layers")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
