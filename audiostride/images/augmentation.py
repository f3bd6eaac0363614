"""Random changes of training images: crops, flips and mixup.

The loader draws the random numbers as a pure function of the seed and the batch's number; the device applies
them, to all images of a batch at once.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from audiostride.config.settings import AugmentationSettings
from audiostride.data.augmentation import draw_mixup, mix
from audiostride.frontends.pixels import as_unit_range
from audiostride.images.folder import TRIES


class ImageAugmentation:
    """The augmentation of images: draws the random numbers for a batch, and applies them.

    Args:
        settings: kinds of augmentation and their strength.
        cuts: also draw the part of each image that is decoded, see `random_box`.
    """

    def __init__(self, settings: AugmentationSettings, cuts: bool = False) -> None:
        self.settings, self.cuts = settings, cuts and settings.least_area < 1

    def draw(self, rng: np.random.Generator, count: int, *shape: int) -> dict[str, Tensor]:
        """Draw the input of `augment`, without the entries that the settings do not need.

        Args:
            rng: random number generator.
            count: number of images in the batch.
            *shape: of an image; not used.

        Returns:
            cut: (images, tries, 4), for `random_box`, in [0, 1).
            place: (images, 2), top and left of the crop in the padded image, in pixels.
            flip: (images,), whether the image is mirrored.
            partner, weight: for mixup, see `audiostride.data.augmentation.Augmentation.draw`.
        """
        settings, draws = self.settings, {}
        if self.cuts:
            draws["cut"] = torch.from_numpy(rng.random((count, TRIES, 4), dtype=np.float32))
        if settings.crop:
            draws["place"] = torch.from_numpy(rng.integers(2 * settings.crop, size=(count, 2), endpoint=True))
        if settings.flip:
            draws["flip"] = torch.from_numpy(rng.random(count) < 0.5)
        if settings.mixup:
            draws |= draw_mixup(rng, count, settings.mixup)
        return draws

    def augment(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """Crop and flip images, then mix them.

        Args:
            x: (images, colours, height, width), uint8, or floating point in [0, 1]. Images that are only
                mixed into others may follow, see `audiostride.data.augmentation.draws_of_rows`.
            draws: see `draw`.

        Returns:
            (images, colours, height, width), float32 in [0, 1], without those that follow.
        """
        if "place" in draws or "flip" in draws:
            x = crop_and_flip(x, draws.get("place"), draws.get("flip"), self.settings.crop)
        x = as_unit_range(x)
        return mix(x, draws) if "partner" in draws else x

    def mask(self, x: Tensor, draws: dict[str, Tensor], length: int) -> Tensor:
        """Return the network's input as it is."""
        return x


def crop_and_flip(images: Tensor, place: Tensor | None, flip: Tensor | None, padding: int) -> Tensor:
    """Crop images that are padded with zeros, and mirror some of them, by one gather.

    Args:
        images: (images, colours, height, width), any type.
        place: (images, 2), top and left of each crop in the padded image, in [0, 2 · padding]; None for no
            crop.
        flip: (images,), whether to mirror each crop left to right; None for none.
        padding: pixels of zeros at each side.

    Returns:
        (images, colours, height, width).
    """
    count, colours, height, width = images.shape
    device = images.device
    rows = torch.arange(height, device=device).expand(count, -1)
    columns = torch.arange(width, device=device).expand(count, -1)
    if flip is not None:
        columns = torch.where(flip[:, None], columns.flip(1), columns)
    if place is not None:
        images = pad(images, (padding, padding, padding, padding))
        rows, columns = rows + place[:, :1], columns + place[:, 1:]
    number = torch.arange(count, device=device).view(-1, 1, 1, 1)
    colour = torch.arange(colours, device=device).view(1, -1, 1, 1)
    return images[number, colour, rows[:, None, :, None], columns[:, None, None, :]]
