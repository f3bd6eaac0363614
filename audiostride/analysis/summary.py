"""A model layer by layer: sizes, parameters, multiply-accumulates and receptive fields."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from audiostride.analysis.resolution import resolution, windows_ms
from audiostride.analysis.strided_layers import Strides
from audiostride.analysis.trained import open_run
from audiostride.config.settings import Recipe
from audiostride.frontends.build import build_frontend
from audiostride.frontends.frontend import Frontend, SoundFrontend
from audiostride.frontends.leaf import Leaf
from audiostride.layers import ConvDownsample
from audiostride.layers.downsample2d import Downsample2d
from audiostride.layers.dry_run import Map
from audiostride.models.build import build_trunk
from audiostride.models.classifier import Classifier
from audiostride.models.trunk import Trunk, size_of

# The columns that a narrow terminal leaves out first, see `audiostride.tables.render`.
LEAST_COLUMNS = (
    "share_percent",
    "field_mels",
    "field_ms",
    "field_width",
    "field_height",
    "effective_stride",
    "input",
)
_OF_SOUND, _OF_IMAGES = ("field_ms", "field_mels"), ("field_height", "field_width")


def summarise_recipe(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the rows of `summarise` for a recipe's untrained model and the length of its windows."""
    frontend = build_frontend(recipe.frontend)
    return summarise(frontend, build_trunk(recipe.model, frontend.images), recipe.data.window_s)


def summarise_run(name: str) -> list[dict[str, Any]]:
    """Return the rows of `summarise` for the model of a run folder, a checkpoint file or a model folder.

    Raises:
        UserError: there is no model, or it cannot be read.
    """
    return summarise_classifier(open_run(name).classifier)


def summarise_classifier(classifier: Classifier) -> list[dict[str, Any]]:
    """Return the rows of `summarise` for a classifier and its windows."""
    return summarise(classifier.frontend, classifier.trunk, classifier.window_s)


def summarise(frontend: Frontend, trunk: Trunk, window_s: float) -> list[dict[str, Any]]:
    """Return the rows of `summary`, a row for the frontend, and a last row for both together.

    Receptive fields of images are in pixels, in the columns field_height and field_width.

    The row "all" has the cost of the network alone, which can be compared between networks with the same
    frontend; "frontend and all" has the cost of the whole model without its heads, which hardly count.

    Args:
        frontend: the frontend, at its present strides.
        trunk: the network.
        window_s: length of a window in seconds.

    Returns:
        Rows as those of `summary`. The channels of the frontend are the spectrograms of the same sound, its
        input is in samples, and a Fourier transform of n samples counts n · log2(n) multiply-accumulates. Of
        images they are the colours, and the input is in pixels.
    """
    hop, frame, fields = 1.0, 1.0, _OF_IMAGES
    if isinstance(frontend, SoundFrontend):
        hop, fields = resolution(frontend, window_s)["hop_ms"], _OF_SOUND
        # The filters of LEAF and its low-pass follow each other, and have the same length.
        frame = max(windows_ms(frontend)) * (2 if isinstance(frontend, Leaf) else 1)
    rows = summary(trunk, *frontend.network_size(window_s), hop, frame, fields)
    whole = rows[-1]
    first = {
        "layer": "frontend",
        "channels": frontend.images,
        "input": _pair(frontend.example_shape(window_s)[-2:]),
        "output": whole["input"],
        "stride": None,
        "effective_stride": None,
        "parameters": _parameters(frontend),
        "mega_macs": frontend.example_macs(window_s) / 1e6,
        "share_percent": None,
        fields[0]: frame,
        fields[1]: 1.0,
    }
    both = whole | {
        "layer": "frontend and all",
        "input": first["input"],
        "parameters": first["parameters"] + whole["parameters"],
        "mega_macs": first["mega_macs"] + whole["mega_macs"],
        "share_percent": None,
    }
    return [*rows, first, both]


def summary(
    trunk: Trunk,
    frames: int = 100,
    mel_channels: int = 64,
    hop_ms: float = 10.0,
    frame_ms: float = 25.0,
    fields: tuple[str, str] = _OF_SOUND,
) -> list[dict[str, Any]]:
    """Return a row per part of a network, and a last row, "all", for the whole trunk.

    Multiply-accumulates count the convolutions and the resampling in a forward pass of one window at the
    present strides. Receptive fields are those of the convolutions, with the effective strides between them.
    The additional reach of low-pass windows, which extend over the whole axis, is not included.

    Args:
        trunk: the network.
        frames: number of frames of the spectrogram.
        mel_channels: number of mel channels of the spectrogram.
        hop_ms: distance between frames in milliseconds.
        frame_ms: length of the sound that a frame depends on, in milliseconds.
        fields: names of the columns of both receptive fields.

    Returns:
        Rows with layer, channels, input and output (size of the feature map, time × frequency), stride,
        effective_stride (input length / output length), parameters, mega_macs (millions of
        multiply-accumulates), share_percent (of those of the network), field_ms and field_mels (receptive
        field in milliseconds and mel channels).
        Strides are numbers where a part has one axis, and else texts, time × frequency.
    """
    with torch.no_grad():
        run = trunk.dry_run(frames, mel_channels, whole=True)
    total = run.macs().item()
    rows: list[dict[str, Any]] = []
    for name, modules in trunk.parts().items():
        before, after = run.inputs[modules[0]], run.outputs[modules[-1]]
        strides, effective, macs = _strides(modules), _effective(before, after), run.macs(modules).item()
        rows.append(
            {
                "layer": name,
                "channels": after.shape[1],
                "input": _pair(size_of(before.shape)),
                "output": _pair(size_of(after.shape)),
                "stride": _by_axis(strides),
                "effective_stride": _by_axis(None if strides is None else _where(strides, effective)),
                "parameters": sum(map(_parameters, modules)),
                "mega_macs": macs / 1e6,
                "share_percent": 100 * macs / total,
                **dict(zip(fields, _field(after, hop_ms, frame_ms), strict=True)),
            }
        )
    last = rows[-1]
    whole = {
        "layer": "all",
        "channels": trunk.embedding_size,
        "input": rows[0]["input"],
        "output": last["output"],
        "stride": None,
        "effective_stride": None,
        "parameters": _parameters(trunk),
        "mega_macs": total / 1e6,
        "share_percent": 100.0,
        **{field: last[field] for field in fields},
    }
    return [*rows, whole]


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _strides(modules: Sequence[nn.Module]) -> Strides | None:
    """Return the strides over time and frequency of the layer that downsamples in some modules, if any."""
    for module in (inner for outer in modules for inner in outer.modules()):
        if isinstance(module, ConvDownsample):
            stride = module.strides.item()
            return (stride, None) if module.dim == -2 else (None, stride)
        if isinstance(module, Downsample2d):
            time, frequency = module.strides.tolist()
            return time, frequency
    return None


def _effective(before: Map, after: Map) -> tuple[float, float]:
    (frames, bands), (less_frames, less_bands) = size_of(before.shape), size_of(after.shape)
    return frames / less_frames, bands / less_bands


def _where(known: Strides, values: tuple[float, float]) -> Strides:
    """Return the values of the axes that have a stride."""
    time, frequency = (None if one is None else value for one, value in zip(known, values, strict=True))
    return time, frequency


def _by_axis(strides: Strides | None) -> float | str | None:
    """Return the stride of the one axis that has one, or both as a text."""
    known = [stride for stride in strides or () if stride is not None]
    if len(known) < 2:
        return known[0] if known else None
    return _pair(tuple(f"{stride:.3g}" for stride in known))


def _pair(values: Sequence[Any]) -> str:
    return " × ".join(map(str, values))


def _field(after: Map, hop_ms: float, frame_ms: float) -> tuple[float | None, float | None]:
    """Return the receptive field of a sample of a feature map. An axis of one sample sees all of it."""
    time, mel = after.axes[-2:]
    return (
        None if time is None else (time.field - 1) * hop_ms + frame_ms,
        None if mel is None else mel.field,
    )
