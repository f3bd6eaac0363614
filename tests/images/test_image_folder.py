"""Images in folders: listing, decoding, cropping."""

import math
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import write_folders
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional

from audiostride.config.settings import DataSettings
from audiostride.corpora.base import SPLITS
from audiostride.errors import UserError
from audiostride.images.datamodule import open_images
from audiostride.images.folder import TRIES, open_folder, random_box, resized
from audiostride.images.layout import split_folders


def test_evaluation_images_are_those_of_torchvision(folders: Path) -> None:
    store = open_folder(folders)
    transform = transforms.Compose(
        [transforms.Resize(round(256 / 224 * 16)), transforms.CenterCrop(16), transforms.PILToTensor()]
    )
    for split, name in (("train", "train"), ("test", "val")):
        theirs = ImageFolder(folders / name, transform)
        chosen = np.flatnonzero(store.splits == SPLITS.index(split))
        images = store.load(chosen, (16, 16), 3)
        assert len(chosen) == len(theirs) == 18
        for number, (image, label) in enumerate(theirs):
            assert torch.equal(images[number], image)
            assert store.labels["class"][chosen[number]] == label
    assert store.tasks == {"class": ["ant", "bee", "cat"]}


def test_usual_size_is_resized_to_256_pixels() -> None:
    assert resized(375, 500, (224, 224)) == (256, 341)
    assert resized(500, 333, (224, 224)) == (384, 256)
    for height, width, size in ((10, 20, (16, 8)), (7, 7, (31, 32)), (300, 200, (2, 9))):
        result = resized(height, width, size)
        assert all(length >= wanted for length, wanted in zip(result, size, strict=True))


def test_training_images_are_cut_out_and_resized(folders: Path) -> None:
    store = open_folder(folders, least_area=0.3)
    cut = np.random.default_rng(0).random((3, TRIES, 4), dtype=np.float32)
    chosen = np.array([0, 7, 14])
    images = store.load(chosen, (12, 10), 3, cut)
    for number, name in enumerate(store.names[chosen]):
        with Image.open(folders / name) as image:
            box = random_box(image.height, image.width, cut[number], 0.3)
            expected = functional.resized_crop(image, *box, [12, 10])
        assert torch.equal(images[number], functional.pil_to_tensor(expected))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (375, 500), (9, 31)])
def test_random_boxes_have_the_areas_and_ratios_of_the_source(height: int, width: int) -> None:
    cuts = np.random.default_rng(0).random((2000, TRIES, 4), dtype=np.float32)
    boxes = np.array([random_box(height, width, cut, 0.08) for cut in cuts])
    top, left, box_height, box_width = boxes.T
    assert (boxes >= 0).all()
    assert (top + box_height <= height).all()
    assert (left + box_width <= width).all()
    if height > 9:  # small boxes are rounded, and those of a wide image do not always fit
        ratio, area = box_width / box_height, box_width * box_height / (width * height)
        assert ((ratio > 0.7) & (ratio < 1.45)).all()
        assert ((area > 0.07) & (area <= 1)).all()
        # Uniform between 0.08 and 1, but that large boxes fit less often.
        assert 0.4 < area.mean() < 0.54
        assert abs(top.mean() + box_height.mean() / 2 - height / 2) < 0.03 * height


def test_random_boxes_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        height, width = (int(n) for n in rng.integers(5, 60, 2))
        cut = rng.random((TRIES, 4), dtype=np.float32)
        expected: Any = None
        for area, ratio, top, left in cut.astype(float):
            pixels = (0.2 + 0.8 * area) * height * width
            aspect = (3 / 4) ** (1 - ratio) * (4 / 3) ** ratio  # uniform in the logarithm
            h, w = round((pixels / aspect) ** 0.5), round((pixels * aspect) ** 0.5)
            if h <= height and w <= width:
                expected = math.floor(top * (height - h + 1)), math.floor(left * (width - w + 1)), h, w
                break
        if expected is not None:
            assert random_box(height, width, cut, 0.2) == expected


@pytest.mark.parametrize(("height", "width"), [(10, 400), (400, 10)])
def test_box_that_never_fits_is_the_centre_of_torchvision(height: int, width: int) -> None:
    cut = np.full((TRIES, 4), 0.999, dtype=np.float32)
    image = torch.zeros(3, height, width)
    theirs = transforms.RandomResizedCrop.get_params(image, [0.999, 1.0], [3 / 4, 4 / 3])
    assert random_box(height, width, cut, 0.99) == theirs


def test_grey_images_have_one_colour(folders: Path) -> None:
    image = open_folder(folders).load(np.array([0]), (16, 16), 1)
    assert image.shape == (1, 1, 16, 16)


def test_jpegs_are_read_as_pil_reads_them(tmp_path: Path) -> None:
    store = open_folder(write_folders(tmp_path, per_class=1, suffix=".JPEG"))
    with Image.open(tmp_path / store.names[0]) as image:
        assert image.size == (20, 24)
        expected = functional.center_crop(functional.resize(image, [27, 23]), [24, 20])
    ours = store.load(np.array([0]), (24, 20), 3)[0]
    assert torch.equal(ours, functional.pil_to_tensor(expected))


def test_splits_follow_the_folders_that_exist(tmp_path: Path) -> None:
    def splits(*names: str) -> dict[str, str]:
        folder = tmp_path / "-".join(names)
        for name in names:
            (folder / name).mkdir(parents=True)
        return {split: path.name for split, path in split_folders(folder).items()}

    assert splits("train", "val") == {"train": "train", "test": "val"}
    assert splits("train", "val", "test") == {"train": "train", "valid": "val", "test": "test"}
    assert splits("train", "valid", "test") == {"train": "train", "valid": "valid", "test": "test"}
    assert splits("train", "test") == {"train": "train", "test": "test"}


def test_pickled_store_keeps_no_paths_of_its_own_process(folders: Path) -> None:
    store = open_folder(folders)
    again = pickle.loads(pickle.dumps(store))
    assert again.names.tolist() == store.names.tolist()
    assert again.identity == store.identity


def test_moved_folder_has_the_same_identity(tmp_path: Path) -> None:
    write_folders(tmp_path / "a")
    before = open_folder(tmp_path / "a").identity
    (tmp_path / "a").rename(tmp_path / "b")
    assert open_folder(tmp_path / "b").identity == before
    (tmp_path / "b/train/ant/0.png").rename(tmp_path / "b/train/bee/9.png")
    assert open_folder(tmp_path / "b").identity != before


def folder_data(folder: Path) -> DataSettings:
    return DataSettings(str(folder), images="folder")


def test_wrong_folders_report_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"data.corpus .*a is missing: give the folder that holds train/CLASS"
    ):
        open_images(folder_data(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match=r"data.corpus .*b has no folder train: give the folder that holds"):
        open_images(folder_data(tmp_path / "b"))
    write_folders(tmp_path / "c", ("train",))
    with pytest.raises(UserError, match=r"has no images to test on: add a folder val or test beside train"):
        open_images(folder_data(tmp_path / "c"))
    (tmp_path / "c/val").mkdir()
    with pytest.raises(UserError, match=r"val holds no folders of images, one per class"):
        open_images(folder_data(tmp_path / "c"))
    (tmp_path / "c/val/ant").mkdir()
    with pytest.raises(UserError, match=r"the folders in .*val hold no images"):
        open_images(folder_data(tmp_path / "c"))
    write_folders(tmp_path / "d")
    (tmp_path / "d/val/cat").rename(tmp_path / "d/val/dog")
    with pytest.raises(UserError, match=r"val has the class dog, which train/ lacks"):
        open_images(folder_data(tmp_path / "d"))


def test_colours_that_no_file_has_report_a_clear_error(folders: Path) -> None:
    with pytest.raises(UserError, match=r"frontend.colours is 2, but images in folders are read with 1"):
        open_folder(folders).check_size((16, 16), 2)


def test_missing_torchvision_reports_a_clear_error(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UserError, match=r"run pip install 'audiostride\[images\]'"):
        open_images(folder_data(folders))
