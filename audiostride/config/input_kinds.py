"""Which settings are for sound alone, and which for images. This module does not import torch."""

from dataclasses import fields
from typing import Any, Literal

from audiostride.errors import UserError

Images = Literal["cifar10", "cifar100", "folder"]

# The settings that mean nothing for the other kind of input. They keep their defaults there.
_OF_SOUND = {
    "model": ("level",),
    "data": ("tasks", "leave_out", "sampling", "window_s"),
    "augmentation": (
        "shift_s",
        "gain_db",
        "noise",
        "noise_snr_db",
        "noise_share",
        "time_masks",
        "time_mask_s",
        "frequency_masks",
        "frequency_mask_channels",
    ),
}
_OF_IMAGES = {"data": ("images", "download"), "augmentation": ("crop", "flip", "least_area")}
_NOT_SOUND = "images (frontend.kind pixels)"
_NOT_IMAGES = "sound, not for images (frontend.kind pixels)"


def check_input_settings(recipe: Any) -> None:
    """Raise an error if a recipe has settings of sound for images, or the other way round.

    `data.images` may be missing where the kind of the frontend is pixels: a trained network alone does not
    name its images.

    Args:
        recipe: the `Recipe`.

    Raises:
        ValueError: naming the setting.
    """
    kind, data = recipe.frontend.kind, recipe.data
    if kind != "pixels":
        if data.images is not None:
            raise ValueError(
                f"data.images is {data.images}, but frontend.kind {kind} takes sound: give --frontend.kind "
                "pixels, or leave data.images out"
            )
        _check_defaults(recipe, _OF_IMAGES, _NOT_SOUND)
        return
    _check_defaults(recipe, _OF_SOUND, _NOT_IMAGES)
    if len(data.corpora) > 1:
        raise ValueError(f"data.corpus names {len(data.corpora)} folders of images: give one")
    if data.images == "folder":
        _check_default(data, "data", "download", "cifar10 and cifar100, not for images in folders")
    elif data.images is not None:
        _check_default(
            recipe.augmentation, "augmentation", "least_area", f"images in folders, not for {data.images}"
        )


def check_images_named(recipe: Any) -> None:
    """Raise an error if a recipe that is to be trained takes images, but does not say which.

    Raises:
        UserError: naming the setting.
    """
    if recipe.frontend.kind == "pixels" and recipe.data.images is None:
        raise UserError(
            "frontend.kind is pixels, but data.images is missing: give --data.images cifar10, cifar100 or "
            "folder"
        )


def check_model_settings(model: Any, kind: str) -> None:
    """Raise an error if a network has settings that its frontend cannot follow.

    Args:
        model: the `ModelSettings`.
        kind: kind of the frontend.

    Raises:
        ValueError: naming the setting.
    """
    if kind == "pixels":
        for setting in _OF_SOUND["model"]:
            _check_default(model, "model", setting, _NOT_IMAGES)


def _check_defaults(recipe: Any, names: dict[str, tuple[str, ...]], purpose: str) -> None:
    for group, settings in names.items():
        for setting in settings:
            _check_default(getattr(recipe, group), group, setting, purpose)


def _check_default(settings: Any, group: str, name: str, purpose: str) -> None:
    default = next(field.default for field in fields(settings) if field.name == name)
    if getattr(settings, name) != default:
        raise ValueError(f"{group}.{name} is for {purpose}: leave it out")
