"""CIFAR-10 and CIFAR-100 in memory.

Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009. The files are pickles.
torchvision unpickles them after comparing them with the authors' MD5. Here nothing but numbers, texts and
arrays is unpickled, so that changed files are safe to open too.
"""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from audiostride.errors import UserError
from audiostride.images.layout import CIFAR, CifarLayout
from audiostride.images.store import ImageStore, PackedNames, make_card, split_indices

SIZE, COLOURS = (32, 32), 3
# All that an array of numbers needs to be unpickled, in the names of several versions of NumPy.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class CifarStore(ImageStore):
    """CIFAR-10 or CIFAR-100.

    Attributes:
        name: "cifar10" or "cifar100".
        pixels: (images, 3, 32, 32), uint8.
    """

    name: str
    pixels: NDArray[np.uint8]

    def __reduce__(self) -> Any:
        """Let processes that load batches read the files themselves."""
        return open_cifar, (self.folder, self.name)

    def keys(self, chosen: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return hashes of the pixels of images, by which they are recognised wherever they are."""
        digests = (hashlib.blake2b(self.pixels[number].data, digest_size=8).digest() for number in chosen)
        return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)

    def content_hash(self) -> str:
        return hashlib.blake2b(self.pixels.data, digest_size=16).hexdigest()

    def check_size(self, size: tuple[int, int], colours: int) -> None:
        if (size, colours) != (SIZE, COLOURS):
            raise UserError(
                f"{CIFAR[self.name].title} has images of 32 × 32 pixels in 3 colours, but frontend.image_size"
                f" is {size[0]} × {size[1]}, and frontend.colours is {colours}: leave them out"
            )

    def load(
        self,
        chosen: NDArray[np.int64],
        size: tuple[int, int] = SIZE,
        colours: int = COLOURS,
        cut: NDArray[np.float32] | None = None,
    ) -> Tensor:
        return torch.from_numpy(self.pixels[chosen])


def open_cifar(folder: Path, name: str) -> CifarStore:
    """Read CIFAR-10 or CIFAR-100 into memory.

    Args:
        folder: the folder that holds cifar-10-batches-py or cifar-100-python.
        name: "cifar10" or "cifar100".

    Raises:
        UserError: if a file is missing or damaged.
    """
    layout = CIFAR[name]
    names = _labels(folder / layout.folder / layout.meta, layout)
    parts = {
        split: [_batch(folder / layout.folder / file, layout, len(names)) for file in files]
        for split, files in (("train", layout.train), ("test", layout.test))
    }
    batches = [batch for split in parts.values() for batch in split]
    pixels = np.concatenate([pixels for _, pixels, _ in batches])
    labels = np.concatenate([labels for _, _, labels in batches])
    paths = [f"{file}/{number:05d}" for file, _, labels in batches for number in range(len(labels))]
    splits = split_indices({split: sum(len(p) for _, p, _ in made) for split, made in parts.items()})
    card = make_card(name, layout.title, folder / layout.folder, "official", {name: names}, len(pixels))
    return CifarStore(folder, card, splits, {name: labels}, PackedNames(paths), name, pixels)


def _labels(file: Path, layout: CifarLayout) -> list[str]:
    """Return the names of the labels."""
    names = _unpickle(file).get(layout.names)
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise _damaged(file, f"it has no list of {layout.names}")
    return names


def _batch(file: Path, layout: CifarLayout, classes: int) -> tuple[str, NDArray[np.uint8], NDArray[np.int64]]:
    """Return the name of a file of images, its images (images, 3, 32, 32) and their labels (images,)."""
    content = _unpickle(file)
    pixels, labels = content.get("data"), content.get(layout.labels)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (3072,):
        raise _damaged(file, "its data are not images of 32 × 32 pixels in 3 colours")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise _damaged(file, f"it has no {layout.labels} for its {len(pixels)} images")
    if not all(isinstance(label, int) and 0 <= label < classes for label in labels):
        raise _damaged(file, f"its {layout.labels} are not numbers from 0 to {classes - 1}")
    return file.name, pixels.reshape(-1, COLOURS, *SIZE), np.array(labels, dtype=np.int64)


class _Unpickler(pickle.Unpickler):
    """Unpickles numbers, texts, lists, mappings and arrays of numbers, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _unpickle(file: Path) -> dict[str, Any]:
    """Return the mapping in a file.

    Raises:
        UserError: if it is missing, or is not a mapping.
    """
    try:
        with file.open("rb") as opened:
            content = _Unpickler(opened, encoding="latin1").load()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): unpack the dataset again") from error
    except Exception as error:  # a damaged pickle can raise almost any error
        raise _damaged(file, " ".join(str(error).split()) or type(error).__name__) from error
    if not isinstance(content, dict):
        raise _damaged(file, "it holds no mapping")
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}


def _damaged(file: Path, reason: str) -> UserError:
    return UserError(f"{file} is no file of CIFAR, or a damaged one ({reason}): unpack the dataset again")


def download_cifar(folder: Path, name: str) -> None:
    """Download CIFAR-10 or CIFAR-100 by torchvision, unless its files are there.

    Raises:
        UserError: if torchvision is missing, or the download fails.
    """
    from audiostride.images.vision import torchvision_datasets

    datasets = torchvision_datasets()
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".download.lock"):  # several processes may train together
            kind(folder, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{CIFAR[name].title} cannot be downloaded to {folder}: {reason}") from error
