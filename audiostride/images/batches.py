"""Batches of images for training and evaluation.

A training batch is a pure function of the settings, the seed and the batch's number, whatever the number of
devices that share it.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from audiostride.data.augmentation import draws_of_rows
from audiostride.data.selection import Batch, Selection
from audiostride.data.windows import shuffled
from audiostride.images.augmentation import ImageAugmentation
from audiostride.images.store import BadImageError, ImageStore

# In place of a batch with an image that cannot be read: the sentence that says so, under this key.
FAULT = "fault"


class ImageBatches(Dataset[Batch]):
    """What batches of images have in common.

    Args:
        selection: the images.
        batch_size: images per batch.
        size: height and width of the images in a batch.
        colours: their number of colours.
    """

    def __init__(
        self, selection: Selection[ImageStore], batch_size: int, size: tuple[int, int], colours: int
    ) -> None:
        self.selection, self.batch_size = selection, batch_size
        self.size, self.colours = size, colours

    def _load(self, chosen: NDArray[np.int64], cut: NDArray[np.float32] | None = None) -> Any:
        (store,) = self.selection.stores
        try:
            images = store.load(self.selection.recordings[chosen], self.size, self.colours, cut)
        except BadImageError as error:  # an exception of another process would come with a traceback
            return {FAULT: str(error)}
        return {
            "waveform": images,
            "labels": {
                task: torch.from_numpy(labels[chosen]) for task, labels in self.selection.labels.items()
            },
            "recording": torch.from_numpy(chosen),
        }


class TrainingImages(ImageBatches):
    """Item k is training batch k, for any k ≥ 0. All images are drawn once before any is repeated.

    Args:
        selection, batch_size, size, colours: see `ImageBatches`.
        augmentation: draws random numbers for the augmentation.
        seed: seed of the order and of the augmentation.
        devices: number of devices that share each batch, ≥ 1.
        device: which of them gets these images, from 0: the first and every `devices`-th one after it.
    """

    def __init__(
        self,
        selection: Selection[ImageStore],
        batch_size: int,
        size: tuple[int, int],
        colours: int,
        augmentation: ImageAugmentation,
        seed: int = 0,
        devices: int = 1,
        device: int = 0,
    ) -> None:
        super().__init__(selection, batch_size, size, colours)
        self.augmentation, self.seed = augmentation, seed
        self.devices, self.device = devices, device

    def __getitem__(self, number: int) -> Batch:
        chosen, rows = self._chosen(number), np.arange(self.device, self.batch_size, self.devices)
        rng = np.random.default_rng((self.seed, 2, number))
        draws = self.augmentation.draw(rng, self.batch_size)
        if self.devices > 1:
            rows, draws = draws_of_rows(draws, rows)
        cut = draws.pop("cut", None)
        batch = self._load(chosen[rows], None if cut is None else cut.numpy())
        if draws and FAULT not in batch:
            batch["draws"] = draws
        return batch

    def _chosen(self, number: int) -> NDArray[np.int64]:
        """Return (images,), the images of batch `number`."""
        count = len(self.selection.recordings)
        positions = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        epochs, places = np.divmod(positions, count)
        chosen = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(epochs).tolist():
            chosen[epochs == epoch] = shuffled(self.seed, epoch, 0, count)[places[epochs == epoch]]
        return chosen


class EvaluationImages(ImageBatches):
    """All images in their order, in batches; the last batch may be smaller."""

    def __len__(self) -> int:
        return -(-len(self.selection.recordings) // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        end = min((number + 1) * self.batch_size, len(self.selection.recordings))
        return self._load(np.arange(number * self.batch_size, end))
