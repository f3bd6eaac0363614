"""Audio classification with learnable strides (DiffStride) in PyTorch.

Train and use models:

    fit                   trains a recipe on prepared corpora, with a progress bar
    FitResult             what fit returns: run folder, classifier, metrics, test()
    load                  loads the classifier of a run folder, a checkpoint file or a model folder
    Classifier            waveforms to logits, for one task or several
    ClassifierTraining    a LightningModule that trains a Classifier from any DataLoader

Settings:

    Recipe                all settings of a run, in these groups:
    ModelSettings         the network
    FrontendSettings      from waveforms to spectrograms
    DataSettings          corpora, labels and windows
    TrainingSettings      steps, learning rates, what trains
    AugmentationSettings  random changes to the training windows

DiffStride in a network of torchvision, timm or your own:

    replace_strides       learns the strides of any network, by one call
    Replacements          what it returns: what was replaced, and what was kept and why

Layers for your own network:

    DiffStride1d          low-pass and downsample one axis by a stride that is learned
    DiffStride2d          the same for two axes
    DiffStride3d          the same for three axes
    Window                the shape of their low-pass window
    SpectralPool1d        downsample one axis by cropping its spectrum
    SpectralPool2d        the same for two axes
    SpectralPool3d        the same for three axes
    BlurPool1d            blur one axis, then keep every stride-th sample
    ConvDownsample        a convolution followed by any kind of downsampling, chosen by name
    SeparableCNN          the paper's network, from spectrograms to embeddings

Frontends, from waveforms to spectrograms:

    LogMel                logarithm of the power in mel channels
    PcenMel               per-channel energy normalisation of that power, learned
    LearnedResolution     log-mel spectrograms whose hop and mel channels are learned
    Leaf                  learned filters, with a learned hop
    Pcen                  the normalisation of PcenMel and Leaf, a layer for any spectrogram

What a training loop does with learned strides:

    parameter_groups      the groups of parameters for an optimiser, strides apart
    project_              clamps strides to their range after a step
    freeze_               makes strides constant, or learns them again
    read_strides          reads all strides at once, before a forward pass
    complexity            the cost J of strides (paper equation 6)
    cost                  multiply-accumulates of any network, differentiable by strides
    activations           values that its operations return, likewise

`audiostride --help` in a terminal describes the commands.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiostride.config.frontend_settings import FrontendSettings
    from audiostride.config.settings import (
        AugmentationSettings,
        DataSettings,
        ModelSettings,
        Recipe,
        TrainingSettings,
    )
    from audiostride.frontends.leaf import Leaf
    from audiostride.frontends.learned_resolution import LearnedResolution
    from audiostride.frontends.log_mel import LogMel
    from audiostride.frontends.pcen import Pcen, PcenMel
    from audiostride.layers import (
        BlurPool1d,
        ConvDownsample,
        DiffStride1d,
        DiffStride2d,
        DiffStride3d,
        Replacements,
        SpectralPool1d,
        SpectralPool2d,
        SpectralPool3d,
        Window,
        activations,
        complexity,
        cost,
        freeze_,
        parameter_groups,
        project_,
        read_strides,
        replace_strides,
    )
    from audiostride.models.classifier import Classifier
    from audiostride.models.loading import load
    from audiostride.models.networks.separable import SeparableCNN
    from audiostride.training.from_python import FitResult, fit
    from audiostride.training.lightning_module import ClassifierTraining

__version__ = "0.7.0"
__all__ = [
    "AugmentationSettings",
    "BlurPool1d",
    "Classifier",
    "ClassifierTraining",
    "ConvDownsample",
    "DataSettings",
    "DiffStride1d",
    "DiffStride2d",
    "DiffStride3d",
    "FitResult",
    "FrontendSettings",
    "Leaf",
    "LearnedResolution",
    "LogMel",
    "ModelSettings",
    "Pcen",
    "PcenMel",
    "Recipe",
    "Replacements",
    "SeparableCNN",
    "SpectralPool1d",
    "SpectralPool2d",
    "SpectralPool3d",
    "TrainingSettings",
    "Window",
    "activations",
    "complexity",
    "cost",
    "fit",
    "freeze_",
    "load",
    "parameter_groups",
    "project_",
    "read_strides",
    "replace_strides",
]

_MODULES = {
    "AugmentationSettings": "audiostride.config.settings",
    "Classifier": "audiostride.models.classifier",
    "ClassifierTraining": "audiostride.training.lightning_module",
    "DataSettings": "audiostride.config.settings",
    "FitResult": "audiostride.training.from_python",
    "FrontendSettings": "audiostride.config.frontend_settings",
    "Leaf": "audiostride.frontends.leaf",
    "LearnedResolution": "audiostride.frontends.learned_resolution",
    "LogMel": "audiostride.frontends.log_mel",
    "ModelSettings": "audiostride.config.settings",
    "Pcen": "audiostride.frontends.pcen",
    "PcenMel": "audiostride.frontends.pcen",
    "Recipe": "audiostride.config.settings",
    "SeparableCNN": "audiostride.models.networks.separable",
    "TrainingSettings": "audiostride.config.settings",
    "fit": "audiostride.training.from_python",
    "load": "audiostride.models.loading",
}


def __getattr__(name: str) -> Any:
    # Imported at first use: the command line reports usage errors without waiting for torch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "audiostride.layers")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
