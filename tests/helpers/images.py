"""Small datasets in the layouts of CIFAR and ImageNet, whose classes a tiny network can tell apart."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import DataSettings, ModelSettings, Recipe, TrainingSettings
from audiostride.images.layout import CIFAR

PIXELS = FrontendSettings(kind="pixels")


def striped(label: int, rng: np.random.Generator, height: int = 32, width: int = 32) -> NDArray[np.uint8]:
    """Return (3, height, width): dark noise with stripes in the direction and distance of a class."""
    image = rng.integers(0, 60, (3, height, width))
    lit = np.arange(height if label % 2 else width) % (4 if label < 2 else 8) < 2
    image += 150 * (lit[:, None] if label % 2 else lit[None, :])
    return image.astype(np.uint8)


def write_cifar(folder: Path, name: str = "cifar10", per_file: int = 20, seed: int = 0) -> Path:
    """Write a dataset of four classes in the layout of CIFAR, with so many images per file."""
    layout, rng = CIFAR[name], np.random.default_rng(seed)
    inner = folder / layout.folder
    inner.mkdir(parents=True)
    for file in (*layout.train, *layout.test):
        labels = [number % 4 for number in range(per_file)]
        pixels = np.stack([striped(label, rng) for label in labels])
        content: dict[str, Any] = {"data": pixels.reshape(per_file, -1), layout.labels: labels}
        if name == "cifar100":
            content["coarse_labels"] = [label // 2 for label in labels]
        write_pickle(inner / file, content)
    write_pickle(inner / layout.meta, {layout.names: ["apple", "bear", "cloud", "dog"]})
    return folder


def write_pickle(file: Path, content: Any) -> None:
    """Write a pickle in the protocol of CIFAR's files."""
    with file.open("wb") as opened:
        pickle.dump(content, opened, protocol=2)


def write_folders(
    folder: Path, splits: tuple[str, ...] = ("train", "val"), per_class: int = 6, suffix: str = ".png"
) -> Path:
    """Write images of several sizes of three classes in folders, as ImageNet has them."""
    rng = np.random.default_rng(0)
    for split in splits:
        for label, name in enumerate(("ant", "bee", "cat")):
            (folder / split / name).mkdir(parents=True)
            for number in range(per_class):
                size = 24 + 4 * (number % 3), 20 + 8 * (number % 2)
                image = Image.fromarray(striped(label, rng, *size).transpose(1, 2, 0))
                image.save(folder / split / name / f"{number}{suffix}")
    return folder


def tiny_images(folder: Path, images: Any = "cifar10", **training: Any) -> Recipe:
    """Return a recipe on images that takes seconds."""
    settings: dict[str, Any] = {"steps": 6, "validate_every": 2, "batch_size": 8, "optimizer": "sgd"}
    model = ModelSettings(
        (4, 4, 8, 8),
        ((1, 1), (2, 2), (2, 2), (2, 2)),
        smoothness=1.0,
        network="resnet18",
        options={"layers": [1, 1, 1, 1]},
    )
    settings |= {"learning_rate": 0.05, "weight_decay": 1e-3, "schedule": "steps"}
    return Recipe(
        model,
        DataSettings(str(folder), images=images, holdout=0.2),
        TrainingSettings(**(settings | training)),
        frontend=FrontendSettings(kind="pixels"),
    )
