"""The data loaders of a run on images."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import AugmentationSettings, DataSettings, TrainingSettings
from audiostride.data.datamodule import CorpusModule, total_memory
from audiostride.data.selection import Batch
from audiostride.errors import UserError
from audiostride.frontends.pixels import as_unit_range
from audiostride.images.augmentation import ImageAugmentation
from audiostride.images.batches import FAULT, EvaluationImages, TrainingImages
from audiostride.images.cifar import download_cifar, open_cifar
from audiostride.images.folder import open_folder
from audiostride.images.layout import CIFAR, check_images, missing_cifar
from audiostride.images.store import ImageStore


class ImagesModule(CorpusModule[ImageStore]):
    """Batches of images for training, validation and test.

    Args:
        data: folder and kind of the images, and labels.
        training: number and size of the batches, and the seed.
        frontend: size and colours of the images.
        augmentation: of the training images, by default none.
        labels: from task to labels, as a classifier has them. By default those that `data` selects.

    Raises:
        UserError: if images are missing or damaged, if there is no label that `data` names, or if the images
            of a batch do not fit into the memory.
    """

    noun, key_text, has_groups = "images", "the pixels or the name", False

    def __init__(
        self,
        data: DataSettings,
        training: TrainingSettings,
        frontend: FrontendSettings,
        augmentation: AugmentationSettings | None = None,
        labels: dict[str, list[str]] | None = None,
    ) -> None:
        augmentation = augmentation or AugmentationSettings()
        super().__init__(data, training, augmentation, labels, [open_images(data, augmentation.least_area)])
        self.size, self.colours = frontend.image_size, frontend.colours
        _check_memory(training.batch_size, self.size, self.colours)
        self.augment = ImageAugmentation(augmentation, cuts=data.images == "folder")

    def check_frontend(self, settings: FrontendSettings) -> None:
        if settings.kind != "pixels":
            raise UserError(
                f"data.images is {self.data.images}, but frontend.kind {settings.kind} takes sound"
            )
        for store in self.stores:
            store.check_size(settings.image_size, settings.colours)

    def check_model(self, settings: FrontendSettings, user: str) -> None:
        try:
            self.check_frontend(settings)
        except UserError as error:
            raise UserError(f"{user}: {error}") from error

    def images(self, split: str, chosen: NDArray[np.int64]) -> Tensor:
        """Return some images of a split (images, colours, height, width) as in evaluation, in [0, 1]."""
        (store,), selection = self.stores, self.select(split)
        return as_unit_range(store.load(selection.recordings[chosen], self.size, self.colours))

    def training_batches(self, devices: int, device: int) -> TrainingImages:
        return TrainingImages(
            self.select("train"),
            self.training.batch_size,
            self.size,
            self.colours,
            self.augment,
            self.training.seed,
            devices,
            device,
        )

    def evaluation_batches(self, split: str) -> EvaluationImages:
        return EvaluationImages(self.select(split), self.training.batch_size, self.size, self.colours)

    def _loader(self, batches: Dataset[Batch], numbers: range) -> DataLoader[Batch]:
        return _CheckedLoader(
            batches,
            batch_size=None,
            sampler=numbers,
            num_workers=self.data.workers,
            pin_memory=torch.cuda.is_available(),
        )


class _CheckedLoader(DataLoader[Batch]):
    """Raises `UserError` for a batch with an image that cannot be read."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            if FAULT in batch:
                raise UserError(batch[FAULT])
            yield batch


def open_images(data: DataSettings, least_area: float = 1.0) -> ImageStore:
    """Open the images that settings name.

    Args:
        data: folder and kind of the images.
        least_area: of images in folders, see `FolderStore`.

    Raises:
        UserError: if they are missing or damaged.
    """
    folder = Path(data.corpora[0])
    if data.download and data.images in CIFAR and missing_cifar(folder, data.images):
        download_cifar(folder, data.images)
    check_images(data)
    if data.images not in CIFAR:
        return open_folder(folder, least_area)
    return open_cifar(folder, data.images)


def _check_memory(count: int, size: tuple[int, int], colours: int) -> None:
    """Raise `UserError` if the memory of this machine is too small for the images of one batch."""
    memory, height_width = total_memory(), " × ".join(map(str, size))
    if count * colours * math.prod(size) > memory:
        raise UserError(
            f"{count} images of {height_width} pixels (training.batch_size, frontend.image_size) do not fit "
            f"into the memory of {memory / 2**30:.0f} GiB: lower one of them"
        )
