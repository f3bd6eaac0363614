"""Small datasets of images, and a run on one of them."""

import shutil
from pathlib import Path

import pytest
from helpers.images import tiny_images, write_cifar, write_folders

from audiostride.timing import one_thread
from audiostride.training.fit import train


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both CIFAR-10 and CIFAR-100."""
    folder = tmp_path_factory.mktemp("cifar")
    write_cifar(folder, "cifar10")
    return write_cifar(folder, "cifar100", per_file=60, seed=1)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("folders"))


@pytest.fixture(scope="session")
def _image_run(cifar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("image_run") / "run"
    recipe = tiny_images(cifar, steps=4)
    recipe.augmentation.crop, recipe.augmentation.flip = 4, True
    with one_thread():
        train(recipe, run)
    return run


@pytest.fixture
def image_run(_image_run: Path, tmp_path: Path) -> Path:
    """The folder of a copy of a run on images."""
    return shutil.copytree(_image_run, tmp_path / "image_run")
