"""Settings of sound for images, and of images for sound."""

from pathlib import Path
from typing import Any

import pytest
from helpers.command_line import fails

from audiostride.config import recipe as recipes
from audiostride.config.settings import Recipe
from audiostride.errors import UserError

IMAGES: dict[str, Any] = {"frontend.kind": "pixels", "data.images": "cifar10"}


def build(**settings: Any) -> Recipe:
    return recipes.build(recipes.from_python(settings))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model.level", "rms"),
        ("data.tasks", ["a"]),
        ("data.leave_out", ["a"]),
        ("data.sampling", "proportional"),
        ("data.window_s", 2.0),
        ("augmentation.shift_s", 0.1),
        ("augmentation.gain_db", 3.0),
        ("augmentation.noise", "folder"),
        ("augmentation.noise_snr_db", [0, 3]),
        ("augmentation.noise_share", 0.2),
        ("augmentation.time_masks", 1),
        ("augmentation.time_mask_s", 0.2),
        ("augmentation.frequency_masks", 1),
        ("augmentation.frequency_mask_channels", 3),
    ],
)
def test_setting_of_sound_is_refused_for_images(setting: str, value: Any) -> None:
    message = f"{setting} is for sound, not for images (frontend.kind pixels): leave it out"
    with pytest.raises(UserError) as raised:
        build(**IMAGES, **{setting: value})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("data.download", True),
        ("augmentation.crop", 4),
        ("augmentation.flip", True),
        ("augmentation.least_area", 1.0),
    ],
)
def test_setting_of_images_is_refused_for_sound(setting: str, value: Any) -> None:
    with pytest.raises(UserError) as raised:
        build(**{setting: value})
    assert str(raised.value) == f"{setting} is for images (frontend.kind pixels): leave it out"


def test_images_need_the_frontend_pixels() -> None:
    message = r"data.images is cifar10, but frontend.kind log_mel takes sound: give --frontend.kind pixels"
    with pytest.raises(UserError, match=message):
        build(**{"data.images": "cifar10"})


def test_settings_of_some_images_are_refused_for_others() -> None:
    with pytest.raises(
        UserError, match=r"data\.download is for cifar10 and cifar100, not for images in folders"
    ):
        build(**{"frontend.kind": "pixels", "data.images": "folder", "data.download": True})
    with pytest.raises(
        UserError, match=r"augmentation\.least_area is for images in folders, not for cifar10"
    ):
        build(**IMAGES, **{"augmentation.least_area": 0.5})
    with pytest.raises(UserError, match=r"data\.corpus names 2 folders of images: give one"):
        build(**IMAGES, **{"data.corpus": ["a", "b"]})


def test_trained_network_need_not_name_its_images() -> None:
    assert build(**{"frontend.kind": "pixels"}).data.images is None


def test_training_must_name_its_images(working_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.yaml").write_text("frontend: {kind: pixels}")
    message = fails(capsys, 1, "train", "r.yaml")
    assert "data.images is missing: give --data.images cifar10, cifar100 or folder" in message


def test_missing_images_are_reported_before_torch_is_imported(
    working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails(capsys, 1, "train", "cifar10")
    assert "there is no CIFAR-10 in data.corpus data/cifar (cifar-10-batches-py is missing)" in message
    message = fails(capsys, 1, "train", "imagenet")
    assert "data.corpus data/imagenet is missing: give the folder that holds train/CLASS/FILE" in message
    assert not list(working_folder.iterdir())


def test_schedule_of_steps_is_checked() -> None:
    with pytest.raises(UserError, match=r"training\.decay_at\[1\] must be a number from 0 to 1, but is 2"):
        build(**{"training.decay_at": [0.5, 2]})
    with pytest.raises(UserError, match=r"training\.momentum must be a number from 0 to 0.9999, but is 1"):
        build(**{"training.momentum": 1})
