"""Where the files of image datasets lie. This module does not import torch."""

from dataclasses import dataclass
from pathlib import Path

from audiostride.config.settings import DataSettings
from audiostride.errors import UserError


@dataclass(frozen=True)
class CifarLayout:
    """The files of CIFAR-10 or CIFAR-100, as their authors publish them for Python.

    Attributes:
        title: name of the dataset.
        archive: name of the file that its authors offer.
        folder: folder of its files.
        train: names of the files with training images.
        test: names of the files with test images.
        meta: name of the file with the names of the labels.
        labels: key of the labels in a file of images.
        names: key of the names in the meta file.
    """

    title: str
    archive: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    labels: str
    names: str


CIFAR = {
    "cifar10": CifarLayout(
        "CIFAR-10",
        "cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        ("test_batch",),
        "batches.meta",
        "labels",
        "label_names",
    ),
    "cifar100": CifarLayout(
        "CIFAR-100",
        "cifar-100-python.tar.gz",
        "cifar-100-python",
        ("train",),
        ("test",),
        "meta",
        "fine_labels",
        "fine_label_names",
    ),
}
# From splits to the folders that may hold them. ImageNet has train and val alone: then val is the test split,
# and images for validation are held out of train, so that no choice of a checkpoint looks at the test.
TRAIN, VALID, TEST = "train", ("valid", "val"), "test"


def check_images(data: DataSettings) -> None:
    """Raise an error unless the folder that settings name holds images in the layout that they name.

    Raises:
        UserError: saying what is missing, and what to do.
    """
    folder = Path(data.corpora[0])
    if data.images in CIFAR:
        _check_cifar(folder, data.images)
    elif not (folder / TRAIN).is_dir():
        missing = "is missing" if not folder.is_dir() else f"has no folder {TRAIN}"
        raise UserError(
            f"data.corpus {folder} {missing}: give the folder that holds train/CLASS/FILE, and val/ or test/ "
            "of the same kind"
        )
    elif len(split_folders(folder)) == 1:
        raise UserError(
            f"data.corpus {folder} has no images to test on: add a folder val or test beside train"
        )


def missing_cifar(folder: Path, name: str) -> list[str]:
    """Return the names of the files of CIFAR that are not in the folder that should hold them.

    Args:
        folder: the folder above them.
        name: "cifar10" or "cifar100".
    """
    layout = CIFAR[name]
    names = (*layout.train, *layout.test, layout.meta)
    return [name for name in names if not (folder / layout.folder / name).is_file()]


def _check_cifar(folder: Path, name: str) -> None:
    layout = CIFAR[name]
    inner = folder / layout.folder
    if folder.name == layout.folder and (folder / layout.meta).is_file():
        raise UserError(f"data.corpus {folder} is the folder of {layout.title} itself: give the one above it")
    if not inner.is_dir():
        raise UserError(
            f"there is no {layout.title} in data.corpus {folder} ({layout.folder} is missing): unpack "
            f"{layout.archive} there, or give --data.download true"
        )
    if missing := missing_cifar(folder, name):
        raise UserError(f"{inner} lacks {', '.join(missing)}: unpack {layout.title} again")


def split_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of the splits "train", "valid" and "test" that exist, see `TRAIN`."""
    valid = next((folder / name for name in VALID if (folder / name).is_dir()), None)
    found = {"train": folder / TRAIN, "valid": valid, "test": folder / TEST}
    if valid is not None and not (folder / TEST).is_dir():
        found |= {"valid": None, "test": valid}
    return {split: path for split, path in found.items() if path is not None and path.is_dir()}
