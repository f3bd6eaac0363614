"""A model layer by layer: sizes, parameters, multiply-accumulates and receptive fields."""

from typing import Any

from audiostride.analysis.resolution import resolution, windows_ms
from audiostride.analysis.trained import open_run
from audiostride.config.settings import Recipe
from audiostride.frontends.build import build_frontend
from audiostride.frontends.frontend import Frontend
from audiostride.frontends.leaf import Leaf
from audiostride.layers import ConvDownsample
from audiostride.layers.kernels.costs import resampling_macs
from audiostride.models.classifier import Classifier, build_trunk
from audiostride.models.separable_cnn import SeparableCNN

# The columns that a narrow terminal leaves out first, see `audiostride.tables.render`.
LEAST_COLUMNS = ("field_mels", "field_ms", "effective_stride", "input")


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


def summarise(frontend: Frontend, trunk: SeparableCNN, window_s: float) -> list[dict[str, Any]]:
    """Return the rows of `summary`, a row for the frontend, and a last row for both together.

    The row "all" has the cost of the network alone, which can be compared between networks with the same
    frontend; "frontend and all" has the cost of the whole model without its heads, which hardly count.

    Args:
        frontend: the frontend, at its present strides.
        trunk: the network.
        window_s: length of a window in seconds.

    Returns:
        Rows as those of `summary`. The channels of the frontend are the spectrograms of the same sound, its
        input is in samples, and a Fourier transform of n samples counts n · log2(n) multiply-accumulates.
    """
    samples = round(window_s * frontend.sample_rate)
    (frames, mel_channels), hop_ms = frontend.size(samples), resolution(frontend, window_s)["hop_ms"]
    # The filters of LEAF and its low-pass follow each other, and have the same length.
    frame_ms = max(windows_ms(frontend)) * (2 if isinstance(frontend, Leaf) else 1)
    rows = summary(trunk, frames, mel_channels, hop_ms, frame_ms)
    whole = rows[-1]
    first = {
        "layer": "frontend",
        "channels": frontend.images,
        "input": f"{samples}",
        "output": whole["input"],
        "stride": None,
        "effective_stride": None,
        "parameters": _parameters(frontend),
        "mega_macs": frontend.macs(samples) / 1e6,
        "field_ms": frame_ms,
        "field_mels": 1.0,
    }
    both = whole | {
        "layer": "frontend and all",
        "input": first["input"],
        "parameters": first["parameters"] + whole["parameters"],
        "mega_macs": first["mega_macs"] + whole["mega_macs"],
    }
    return [*rows, first, both]


def summary(
    trunk: SeparableCNN,
    frames: int = 100,
    mel_channels: int = 64,
    hop_ms: float = 10.0,
    frame_ms: float = 25.0,
) -> list[dict[str, Any]]:
    """Return a row per convolution with its downsampling, and a last row, "all", for the whole trunk.

    Multiply-accumulates count the convolutions and the resampling in a forward pass of one window at the
    present strides. Receptive fields are those of the convolutions, with the effective strides between them.
    The additional reach of low-pass windows, which extend over the whole axis, is not included.

    Args:
        trunk: the network.
        frames: number of frames of the spectrogram.
        mel_channels: number of mel channels of the spectrogram.
        hop_ms: distance between frames in milliseconds.
        frame_ms: length of the sound that a frame depends on, in milliseconds.

    Returns:
        Rows with layer, channels, input and output (size of the feature map, time × frequency), stride,
        effective_stride (input length / output length), parameters, mega_macs (millions of
        multiply-accumulates), field_ms and field_mels (receptive field in milliseconds and mel channels).
    """
    sizes, field, jump = [frames, mel_channels], [1.0, 1.0], [1.0, 1.0]
    rows: list[dict[str, Any]] = []
    for number, block in enumerate(trunk.separable_blocks(), 1):
        for axis, (name, layer, norm) in enumerate(
            (("time", block.time, block.time_norm), ("frequency", block.frequency, block.frequency_norm))
        ):
            before = list(sizes)
            sizes[axis] = layer.output_length(before[axis])
            effective = before[axis] / sizes[axis]
            field[axis] += (layer.kernel_size - 1) * jump[axis]
            jump[axis] *= effective
            rows.append(
                {
                    "layer": f"{number} {name}",
                    "channels": layer.conv.out_channels,
                    "input": f"{before[0]} × {before[1]}",
                    "output": f"{sizes[0]} × {sizes[1]}",
                    "stride": layer.strides.item(),
                    "effective_stride": effective,
                    "parameters": _parameters(layer) + _parameters(norm),
                    "mega_macs": _macs(layer, before[axis], before[1 - axis]) / 1e6,
                    "field_ms": (field[0] - 1) * hop_ms + frame_ms,
                    "field_mels": field[1],
                }
            )
    total = {
        "layer": "all",
        "channels": trunk.embedding_size,
        "input": rows[0]["input"],
        "output": rows[-1]["output"],
        "stride": None,
        "effective_stride": None,
        "parameters": _parameters(trunk),
        "mega_macs": sum(row["mega_macs"] for row in rows),
        "field_ms": rows[-1]["field_ms"],
        "field_mels": rows[-1]["field_mels"],
    }
    return [*rows, total]


def _parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _macs(layer: ConvDownsample, n: int, lines: int) -> float:
    """Return the multiply-accumulates of a layer, for `lines` lines of n samples along its axis."""
    length = layer.output_length(n)
    weights = layer.kernel_size * layer.conv.in_channels * layer.conv.out_channels
    if layer.kind == "strided":
        return weights * length * lines
    if layer.kind not in ("spectral", "diffstride") or (layer.kind == "spectral" and length == n):
        return weights * n * lines
    resampling = resampling_macs(n, length)
    if layer.is_fused(n):
        return (weights * length + layer.kernel_size * layer.conv.in_channels * resampling) * lines
    return (weights * n + layer.conv.out_channels * resampling) * lines
