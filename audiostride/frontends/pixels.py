"""Images as they are: the frontend of networks on images."""

from typing import Any

import torch
from torch import Tensor

from audiostride.frontends.frontend import FeatureAxis, Frontend


class Pixels(Frontend):
    """The colours of images of one size, as the input channels of a network.

    The classifier normalises each colour by its mean and deviation in training.

    Args:
        image_size: height and width of the images.
        colours: number of colours.

    Shape:
        `features`: (batch, colours, height, width), uint8 or floating point in [0, 1], to (batch, colours,
        height · width, 1); `downsample`: back to (batch, colours, height, width).

    Raises:
        ValueError: in the forward pass if the images have another size, number of colours or type.

    >>> frontend = Pixels((32, 32))
    >>> frontend.features(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape
    torch.Size([2, 3, 1024, 1])
    """

    input_name = "image"
    makes = "image"
    channels = 1
    smallest_deviation = 1 / 255  # one step of 8 bits

    def __init__(self, image_size: tuple[int, int] = (32, 32), colours: int = 3) -> None:
        super().__init__()
        height, width = image_size
        self.image_size, self.images = (height, width), colours

    @property
    def axes(self) -> tuple[FeatureAxis, FeatureAxis]:
        unit, long_unit = "cycles/pixel", "cycles per pixel"
        return FeatureAxis("height", unit, long_unit, 1.0), FeatureAxis("width", unit, long_unit, 1.0)

    @property
    def takes(self) -> str:
        height, width = self.image_size
        colours = "1 colour" if self.images == 1 else f"{self.images} colours"
        return f"images of {height} × {width} pixels in {colours}"

    def check(self, x: Tensor) -> None:
        if x.ndim != 4 or tuple(x.shape[1:]) != self.example_shape():
            height, width = self.image_size
            raise ValueError(
                f"expected images (batch, {self.images}, {height}, {width}), but got shape {tuple(x.shape)}"
            )

    def features(self, x: Tensor) -> Tensor:
        return as_unit_range(x).flatten(2).unsqueeze(-1)

    def downsample(self, features: Tensor) -> Tensor:
        return features.flatten(2).unflatten(2, self.image_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return images in [0, 1]."""
        self.check(x)
        return as_unit_range(x)

    def example_shape(self, window_s: float = 0.0) -> tuple[int, ...]:
        return (self.images, *self.image_size)

    def feature_size(self, window_s: float = 0.0) -> tuple[int, int]:
        return self.image_size

    def network_size(self, window_s: float = 0.0) -> tuple[int, int]:
        return self.image_size

    def example_macs(self, window_s: float = 0.0) -> int:
        return 0

    def configuration(self) -> dict[str, Any]:
        return {"kind": "pixels", "image_size": self.image_size, "colours": self.images}


def as_unit_range(images: Tensor) -> Tensor:
    """Return images of 8 bits as float32 in [0, 1], and floating point in float32.

    Raises:
        ValueError: if the pixels are of another type.
    """
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise ValueError(f"images must be floating point or uint8, but got {images.dtype}")
    return images.float()
