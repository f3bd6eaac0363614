"""The layers of a classifier that have strides: that of a frontend that learns them, and the blocks."""

from itertools import pairwise
from typing import NamedTuple

from audiostride.frontends.build import build_frontend
from audiostride.frontends.frontend import Frontend
from audiostride.layers import Window
from audiostride.layers.learned_strides import diffstride_layers
from audiostride.models.classifier import Classifier

# A stride over time and one over frequency, or over height and width. A frontend that learns only its hop
# has none over frequency.
Strides = tuple[float | None, float | None]
# The number of the layer by which a frontend learns its resolution. Blocks are counted from 1.
FRONTEND = 0


class StridedLayer(NamedTuple):
    """A layer with strides.

    Attributes:
        number: `FRONTEND`, or the number of a block, from 1.
        strides: over time and frequency, or over height and width.
        window: its low-pass window, or None if it has none.
        input_size: (time, frequency) at its input.
        output_size: (time, frequency) at its output.
    """

    number: int
    strides: Strides
    window: Window | None
    input_size: tuple[int, int]
    output_size: tuple[int, int]


def layer_name(number: int) -> str:
    """Return the name of a layer in figures: "frontend", "layer 1", …"""
    return "frontend" if number == FRONTEND else f"layer {number}"


def strided_layers(classifier: Classifier, frames: int | None = None) -> list[StridedLayer]:
    """Return the layers with strides in their order, with their present strides.

    Args:
        classifier: a classifier, trained or not.
        frames: number of frames of the frontend's features, before its learned strides; by default those of
            the classifier's windows. Images have none.

    Raises:
        UserError: if there are frames, but the classifier takes images.
    """
    frontend, trunk = classifier.frontend, classifier.trunk
    size = frontend.feature_size(classifier.window_s)
    if frames is not None:
        size = (frames, classifier.sound_frontend.channels)
    layers = []
    window, strides = frontend_window(frontend), frontend_strides(frontend)
    if window is not None:
        time, mel = (
            n if stride is None else window.output_length(n, stride)
            for n, stride in zip(size, strides, strict=True)
        )
        layers.append(StridedLayer(FRONTEND, strides, window, size, (time, mel)))
        size = (time, mel)
    window = trunk.window if has_low_pass(classifier) else None
    for number, ((time, mel), (before, after)) in enumerate(
        zip(trunk.strides.tolist(), pairwise(trunk.sizes(*size)), strict=True), 1
    ):
        layers.append(StridedLayer(number, (time, mel), window, before, after))
    return layers


def low_pass_layers(classifier: Classifier, frames: int | None = None) -> list[StridedLayer]:
    """Return those of `strided_layers` that have a low-pass window."""
    return [layer for layer in strided_layers(classifier, frames) if layer.window is not None]


def has_low_pass(classifier: Classifier) -> bool:
    """Return whether the classifier's blocks have a low-pass window in the Fourier domain."""
    return classifier.trunk.downsampling in ("spectral", "diffstride")


def frontend_window(frontend: Frontend) -> Window | None:
    """Return the low-pass window of the strides that a frontend learns, or None if it learns none."""
    return next((layer.window for layer in diffstride_layers(frontend)), None)


def frontend_strides(frontend: Frontend) -> Strides:
    """Return the present strides of a frontend, relative to its dense grid, None where it learns none."""
    time = frequency = None
    for layer in diffstride_layers(frontend):
        by_axis = dict(zip(layer.dims, layer.strides.tolist(), strict=True))
        time, frequency = by_axis.get(-2), by_axis.get(-1)
    return time, frequency


def initial_frontend_strides(classifier: Classifier) -> Strides:
    """Return the strides that the classifier's frontend had where training began."""
    return frontend_strides(build_frontend(classifier.frontend_settings))
