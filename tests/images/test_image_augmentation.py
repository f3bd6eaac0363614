"""Crops, flips and mixup of images."""

import numpy as np
import pytest
import torch
from torch import Tensor

from audiostride.config.settings import AugmentationSettings
from audiostride.data.augmentation import draws_of_rows
from audiostride.images.augmentation import ImageAugmentation, crop_and_flip


def plain_crop_and_flip(images: Tensor, place: Tensor | None, flip: Tensor | None, padding: int) -> Tensor:
    """Crop and flip pixel by pixel."""
    count, _, height, width = images.shape
    result = torch.zeros_like(images)
    for n in range(count):
        top, left = (0, 0) if place is None else (int(value) - padding for value in place[n])
        for y in range(height):
            for x in range(width):
                column = width - 1 - x if flip is not None and flip[n] else x
                if 0 <= y + top < height and 0 <= column + left < width:
                    result[n, :, y, x] = images[n, :, y + top, column + left]
    return result


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("crops", "flips"), [(True, True), (True, False), (False, True)])
def test_crops_and_flips_are_those_of_a_plain_loop(dtype: torch.dtype, crops: bool, flips: bool) -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (9, 3, 6, 5))).to(dtype)
    place = torch.from_numpy(rng.integers(0, 5, (9, 2))) if crops else None
    flip = torch.from_numpy(rng.random(9) < 0.5) if flips else None
    expected = plain_crop_and_flip(images, place, flip, 2)
    result = crop_and_flip(images, place, flip, 2)
    assert result.dtype == dtype
    assert torch.equal(result, expected)


def test_every_place_and_both_directions_are_drawn_equally_often() -> None:
    draws = ImageAugmentation(AugmentationSettings(crop=1, flip=True)).draw(np.random.default_rng(0), 9000)
    counts = np.bincount((3 * draws["place"][:, 0] + draws["place"][:, 1]).numpy(), minlength=9)
    assert abs(counts - 1000).max() < 120
    assert 4300 < int(draws["flip"].sum()) < 4700


def test_images_become_numbers_from_0_to_1_and_are_mixed() -> None:
    augmentation = ImageAugmentation(AugmentationSettings(mixup=0.4))
    images = torch.randint(0, 256, (6, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    draws = augmentation.draw(np.random.default_rng(0), 6)
    result = augmentation.augment(images, draws)
    for n in range(6):
        weight, partner = float(draws["weight"][n]), int(draws["partner"][n])
        assert 0.5 <= weight <= 1
        expected = (weight * images[n].double() + (1 - weight) * images[partner].double()) / 255
        torch.testing.assert_close(result[n].double(), expected, atol=1e-6, rtol=0)


def test_without_settings_nothing_is_drawn_and_nothing_changes() -> None:
    augmentation = ImageAugmentation(AugmentationSettings())
    assert augmentation.draw(np.random.default_rng(0), 4) == {}
    images = torch.full((1, 1, 2, 2), 51, dtype=torch.uint8)
    assert torch.equal(augmentation.augment(images, {}), torch.full((1, 1, 2, 2), 0.2))
    assert augmentation.mask(images, {}, 2) is images


def test_part_of_a_batch_is_changed_as_the_whole_is() -> None:
    settings = AugmentationSettings(crop=2, flip=True, mixup=0.3)
    augmentation = ImageAugmentation(settings)
    images = torch.randint(0, 256, (8, 3, 6, 6), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    draws = augmentation.draw(np.random.default_rng(3), 8)
    whole = augmentation.augment(images, draws)
    for device in range(2):
        loaded, part = draws_of_rows(draws, np.arange(device, 8, 2))
        assert torch.equal(augmentation.augment(images[loaded], part), whole[device::2])
