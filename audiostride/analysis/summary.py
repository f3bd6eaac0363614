"""A network layer by layer: sizes, parameters, multiply-accumulates and receptive fields."""

from typing import Any

from audiostride.analysis.trained import open_run
from audiostride.config.settings import Recipe
from audiostride.frontends.build import build_frontend
from audiostride.layers import ConvDownsample
from audiostride.layers.kernels.costs import resampling_macs
from audiostride.models.classifier import build_trunk
from audiostride.models.separable_cnn import SeparableCNN

# Of the frontend: distance between frames, and length of the window of a frame.
HOP_MS, WINDOW_MS = 10.0, 25.0
# The columns that a narrow terminal leaves out first, see `audiostride.tables.render`.
LEAST_COLUMNS = ("field_mels", "field_ms", "effective_stride", "input")


def summarise_recipe(recipe: Recipe) -> list[dict[str, Any]]:
    """Return the rows of `summary` for a recipe's untrained network and the length of its windows."""
    frontend = build_frontend(recipe.frontend)
    size = frontend.size(round(recipe.data.window_s * frontend.sample_rate))
    return summary(build_trunk(recipe.model, frontend.images), *size)


def summarise_run(name: str) -> list[dict[str, Any]]:
    """Return the rows of `summary` for the network of a run folder, a checkpoint file or a model folder.

    Raises:
        UserError: there is no model, or it cannot be read.
    """
    run = open_run(name)
    return summary(run.classifier.trunk, *run.classifier.input_size())


def summary(trunk: SeparableCNN, frames: int = 100, mel_channels: int = 64) -> list[dict[str, Any]]:
    """Return a row per convolution with its downsampling, and a last row for the whole trunk.

    Multiply-accumulates count the convolutions and the resampling in a forward pass of one window at the
    present strides. Receptive fields are those of the convolutions, with the effective strides between them.
    The additional reach of low-pass windows, which extend over the whole axis, is not included.

    Args:
        trunk: the network.
        frames: length of the spectrogram, 100 frames per second.
        mel_channels: number of mel channels of the spectrogram.

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
                    "field_ms": (field[0] - 1) * HOP_MS + WINDOW_MS,
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
