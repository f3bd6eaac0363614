"""Images in folders, a folder per class, as in ImageNet. They are decoded when a batch needs them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiostride.corpora.base import printable
from audiostride.errors import UserError
from audiostride.images.layout import split_folders
from audiostride.images.store import BadImageError, ImageStore, PackedNames, make_card, split_indices
from audiostride.images.vision import torchvision_datasets, torchvision_functional

TASK = "class"
# Of the evaluation: how much larger than the result an image is before its centre is cut out, as usual for
# ImageNet (256 and 224 pixels).
_MARGIN = 256 / 224
# Of random boxes (Szegedy et al. 2015): how often a box is tried, and the range of width / height.
TRIES, _RATIOS = 10, (3 / 4, 4 / 3)
_MODES = {1: "L", 3: "RGB"}
# Rounding errors must not take a pixel away.
_TINY = 1e-6


@dataclass(frozen=True)
class FolderStore(ImageStore):
    """Images in folders.

    Attributes:
        least_area: smallest fraction of an image's area that is cut out for training.
    """

    least_area: float

    def content_hash(self) -> str:
        return ""

    def check_size(self, size: tuple[int, int], colours: int) -> None:
        if colours not in _MODES:
            raise UserError(
                f"frontend.colours is {colours}, but images in folders are read with 1 (grey) or 3 colours"
            )

    def load(
        self,
        chosen: NDArray[np.int64],
        size: tuple[int, int],
        colours: int,
        cut: NDArray[np.float32] | None = None,
    ) -> Tensor:
        images = [
            self._load(number, size, colours, None if cut is None else cut[row])
            for row, number in enumerate(chosen.tolist())
        ]
        return torch.stack(images) if images else torch.zeros((0, colours, *size), dtype=torch.uint8)

    def _load(
        self, number: int, size: tuple[int, int], colours: int, cut: NDArray[np.float32] | None
    ) -> Tensor:
        functional = torchvision_functional()
        image = _decode(self.folder / self.packed_names[number], _MODES[colours])
        width, height = image.size
        if cut is not None:
            box = random_box(height, width, cut, self.least_area)
            image = functional.resized_crop(image, *box, list(size))
        else:
            image = functional.resize(image, list(resized(height, width, size)))
            image = functional.center_crop(image, list(size))
        return functional.pil_to_tensor(image)


def _decode(file: Path, mode: str) -> Any:
    """Return a PIL image in a mode.

    Raises:
        BadImageError: if the file is missing, or is no image that can be read.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.convert(mode)
    except Exception as error:  # a damaged image can raise almost any error
        reason = (
            error.strerror if isinstance(error, FileNotFoundError) else "it is no image, or a damaged one"
        )
        raise BadImageError(f"{file} cannot be read ({reason}): replace it, or remove it") from error


def resized(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of an image before its centre of this size is cut out.

    >>> resized(375, 500, (224, 224))
    (256, 341)
    """
    lengths = zip(size, (height, width), strict=True)
    factor = max(round(wanted * _MARGIN) / length for wanted, length in lengths)
    return int(height * factor + _TINY), int(width * factor + _TINY)


def random_box(
    height: int, width: int, cut: NDArray[np.float32], least_area: float
) -> tuple[int, int, int, int]:
    """Return a box to cut out of an image: part of its area, with a random ratio of width and height.

    That is `torchvision.transforms.RandomResizedCrop`, after Szegedy et al., "Going deeper with
    convolutions", CVPR 2015: the first of ten boxes that fits into the image, or else its centre.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        cut: (tries, 4), random numbers in [0, 1): area, ratio, and place from the top and from the left.
        least_area: smallest fraction of the image's area.

    Returns:
        Top, left, height and width in pixels.
    """
    low, high = map(math.log, _RATIOS)
    for area, ratio, top, left in cut.astype(np.float64):
        pixels = height * width * (least_area + (1 - least_area) * area)
        aspect = math.exp(low + (high - low) * ratio)
        box_height, box_width = round(math.sqrt(pixels / aspect)), round(math.sqrt(pixels * aspect))
        if 0 < box_height <= height and 0 < box_width <= width:
            place = int(top * (height - box_height + 1)), int(left * (width - box_width + 1))
            return *place, box_height, box_width
    limited = min(max(width / height, _RATIOS[0]), _RATIOS[1])
    box_height, box_width = min(height, round(width / limited)), min(width, round(height * limited))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def open_folder(folder: Path, least_area: float = 1.0) -> FolderStore:
    """List the images in folders.

    Args:
        folder: the folder that holds train/CLASS/FILE, and val/ or test/ of the same kind.
        least_area: see `FolderStore`.

    Raises:
        UserError: if a split has no images, or classes that train/ does not have.
    """
    listed = {split: _list(path) for split, path in split_folders(folder).items()}
    classes = sorted({name for name, _ in listed["train"]})
    index_of = {name: index for index, name in enumerate(classes)}
    for split, files in listed.items():
        unknown = sorted({name for name, _ in files if name not in index_of})
        if unknown:
            raise UserError(f"{split_folders(folder)[split]} has the class {unknown[0]}, which train/ lacks")
    if len(classes) < 2:
        raise UserError(f"{folder / 'train'} has only the class {classes[0]}: give at least two")
    labels = np.array([index_of[name] for files in listed.values() for name, _ in files], dtype=np.int64)
    paths = [path.relative_to(folder).as_posix() for files in listed.values() for _, path in files]
    splits = split_indices({split: len(files) for split, files in listed.items()})
    tasks = {TASK: [printable(name) for name in classes]}
    name = folder.resolve().name
    card = make_card(name, name, folder, "given", tasks, len(paths))
    return FolderStore(folder, card, splits, {TASK: labels}, PackedNames(paths), least_area)


def _list(path: Path) -> list[tuple[str, Path]]:
    """Return the class and the path of every image in a folder of classes, in a fixed order."""
    try:
        found = torchvision_datasets().ImageFolder(path, allow_empty=True)
    except FileNotFoundError as error:  # there are no classes
        raise UserError(f"{path} holds no folders of images, one per class") from error
    if not found.samples:
        raise UserError(f"the folders in {path} hold no images")
    return [(found.classes[index], Path(file)) for file, index in found.samples]
