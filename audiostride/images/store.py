"""An open dataset of images."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audiostride.corpora.base import SPLITS
from audiostride.corpora.splits import hashes
from audiostride.data.examples import Examples
from audiostride.errors import UserError


class BadImageError(UserError):
    """An image cannot be read."""


class PackedNames:
    """Many names in little memory.

    Args:
        names: the names.

    >>> PackedNames(["a.png", "bc.png"])[1]
    'bc.png'
    """

    def __init__(self, names: Sequence[str]) -> None:
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self.ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        self.text = b"".join(encoded)

    def __getitem__(self, number: int) -> str:
        begin = int(self.ends[number - 1]) if number else 0
        return self.text[begin : int(self.ends[number])].decode("utf-8", "surrogateescape")

    def __len__(self) -> int:
        return len(self.ends)


@dataclass(frozen=True)
class ImageStore(Examples):
    """The images of a dataset, with their splits and labels. Different images are in different groups.

    Attributes:
        folder: the folder that holds the dataset.
        card: see `Examples`.
        splits: (images,), index into `SPLITS`.
        labels: from the one task to (images,), index into its labels.
        packed_names: the name of each image.
    """

    folder: Path
    card: dict[str, Any]
    splits: NDArray[np.int8]
    labels: dict[str, NDArray[np.int64]]
    packed_names: PackedNames

    @cached_property
    def names(self) -> NDArray[np.str_]:
        return np.array([self.packed_names[number] for number in range(len(self.packed_names))])

    @cached_property
    def groups(self) -> NDArray[np.uint64]:  # type: ignore[override]
        """(images,), hash by which each image is recognised: images with the same one stay together."""
        return self.keys(np.arange(len(self.splits)))

    @cached_property
    def identity(self) -> str:
        digest = hashlib.sha256(json.dumps([self.tasks, self.content_hash()]).encode())
        parts: list[NDArray[Any]] = [self.splits, *self.labels.values()]
        for part in parts:
            digest.update(part.tobytes())
        digest.update(self.packed_names.text)
        return digest.hexdigest()

    def keys(self, chosen: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return hashes of the names of images."""
        return hashes(self.packed_names[number] for number in chosen.tolist())

    def facts(self) -> dict[str, Any]:
        return {
            "corpus": str(self.folder),
            "images": len(self.splits),
            "made_of": self.card["corpus"],
            "hash": self.identity[:12],
        }

    def card_row(self) -> dict[str, Any]:
        return {"dataset": self.card["title"], "images": len(self.splits)}

    @abstractmethod
    def content_hash(self) -> str:
        """Return a hash of the pixels, or an empty text if they lie in files of their own."""

    @abstractmethod
    def check_size(self, size: tuple[int, int], colours: int) -> None:
        """Raise `UserError` if images of this height and width with so many colours cannot be made."""

    @abstractmethod
    def load(
        self,
        chosen: NDArray[np.int64],
        size: tuple[int, int],
        colours: int,
        cut: NDArray[np.float32] | None = None,
    ) -> Tensor:
        """Return images as a network takes them.

        Args:
            chosen: (images,), their positions.
            size: height and width of the result.
            colours: number of colours of the result.
            cut: random numbers for cutting out a part of each image, see `folder.random_box`; None for the
                centre. Images that have the size already are not cut.

        Returns:
            (images, colours, height, width), uint8.

        Raises:
            BadImageError: if an image cannot be read.
        """


def make_card(
    corpus: str, title: str, folder: Path, split: str, tasks: dict[str, list[str]], images: int
) -> dict[str, Any]:
    """Return the card of a dataset, see `Examples`.

    Args:
        corpus: name of the dataset.
        title: its name as people write it.
        folder: its folder.
        split: source of the splits.
        tasks: from the one task to its labels.
        images: number of images.
    """
    return {
        "corpus": corpus,
        "title": title,
        "folder": str(folder),
        "split": split,
        "tasks": tasks,
        "recordings": images,
        "notes": [],
    }


def split_indices(counts: dict[str, int]) -> NDArray[np.int8]:
    """Return (images,), the split of each image, for images in the order of their splits."""
    return np.repeat([SPLITS.index(split) for split in counts], list(counts.values())).astype(np.int8)
