"""What depends on whether a run takes sound or images: its data, and their augmentation.

The package for images is imported only if a run takes them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import AugmentationSettings, DataSettings, TrainingSettings
from audiostride.data.augmentation import Augmentation, BatchAugmentation
from audiostride.data.datamodule import CorpusModule, WindowsModule
from audiostride.data.examples import Examples
from audiostride.data.store import open_store
from audiostride.frontends.frontend import Frontend, SoundFrontend


def open_data(
    data: DataSettings,
    training: TrainingSettings,
    frontend: FrontendSettings,
    augmentation: AugmentationSettings | None = None,
    labels: dict[str, list[str]] | None = None,
) -> CorpusModule[Any]:
    """Open the corpora of a run, of sound or of images.

    Args:
        data, training, augmentation, labels: see `CorpusModule`.
        frontend: size of the images, if they are images.

    Raises:
        UserError: if a corpus is missing or damaged, or if it has no task or label that `data` names.
    """
    if data.images is None:
        return WindowsModule(data, training, augmentation, labels)
    from audiostride.images.datamodule import ImagesModule

    return ImagesModule(data, training, frontend, augmentation, labels)


def open_stores(data: DataSettings) -> Sequence[Examples]:
    """Open the corpora that settings name, without selecting anything.

    Raises:
        UserError: if a corpus is missing or damaged.
    """
    if data.images is None:
        return [open_store(Path(corpus)) for corpus in data.corpora]
    from audiostride.images.datamodule import open_images

    return [open_images(data)]


def augmentation_for(settings: AugmentationSettings, frontend: Frontend) -> BatchAugmentation:
    """Return the augmentation of what a frontend takes."""
    if isinstance(frontend, SoundFrontend):
        return Augmentation(settings, frontend.sample_rate)
    from audiostride.images.augmentation import ImageAugmentation

    return ImageAugmentation(settings)
