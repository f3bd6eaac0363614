"""The cost of learned strides in the paper's network, of any width: time in training and inference, memory.

They are measured side by side with strided convolution, with a free crop, and with DiffStride by FFT.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiostride.analysis.figures import save_figures
from audiostride.bench.figure import cost_figure
from audiostride.bench.settings import LayerBench, LayersBench
from audiostride.frontends.log_mel import LogMel
from audiostride.layers import ConvDownsample, Window, freeze_
from audiostride.layers.diffstride import DiffStride1d, DiffStride2d, DiffStrideNd
from audiostride.layers.functional import cutoff_mask
from audiostride.models.networks.separable import SeparableCNN
from audiostride.timing import autocast, in_turns, inference, training_step

_FORMATS = {"channels-last": torch.channels_last, "contiguous": torch.contiguous_format}


class FreeCrop(nn.Module):
    """Crops to the output length of DiffStride: the lower bound of the cost of pooling after a convolution.

    Args:
        pool: the layer whose axis, stride and window it takes.
    """

    def __init__(self, pool: DiffStride1d) -> None:
        super().__init__()
        self.dim, self.stride, self.window = pool.dims[0], pool.stride.item(), pool.window

    def forward(self, x: Tensor) -> Tensor:
        length = self.window.output_length(x.shape[self.dim], self.stride)
        return x.narrow(self.dim, 0, length)


class FftDiffStride(nn.Module):
    """DiffStride as in the paper (section 2.3): transform, crop, mask, transform back.

    Two axes take one two-dimensional transform, which is faster than two of one dimension.

    Args:
        pool: the layer whose axes, strides and window it takes. The strides are shared with it.
    """

    def __init__(self, pool: DiffStrideNd) -> None:
        super().__init__()
        self.dims, self.stride, self.window = pool.dims, pool.stride, pool.window

    def forward(self, x: Tensor) -> Tensor:
        sizes, strides = [x.shape[dim] for dim in self.dims], self.stride.tolist()
        lengths = [self.window.output_length(n, stride) for n, stride in zip(sizes, strides, strict=True)]
        spectrum, mask = torch.fft.rfftn(x, dim=self.dims), x.new_ones(())
        for dim, n, length, stride in zip(self.dims, sizes, lengths, self.stride, strict=True):
            crop = _crop_half if dim == self.dims[-1] else _crop_both_signs
            spectrum = crop(spectrum, dim, n, length)
            heights = self._mask(spectrum.shape[dim], n, length, stride)
            if dim == self.dims[-1] and length < n and length % 2 == 0:
                # irfftn takes this bin once, but two bins of the input, of either sign, fall on it.
                heights = torch.cat([heights[:-1], 2 * heights[-1:]])
            mask = mask * heights.reshape(-1, *[1] * (-1 - dim))
        return torch.fft.irfftn(spectrum * mask, lengths, dim=self.dims)

    def _mask(self, bins: int, n: int, length: int, stride: Tensor) -> Tensor:
        """Return the low-pass mask of the first `bins` bins of a transform of `length` samples, scaled."""
        frequencies = torch.arange(bins, device=stride.device)
        frequencies = torch.where(frequencies > length // 2, length - frequencies, frequencies)
        used = stride.clamp(min=self.window.usable_stride(n, 1.0))
        return cutoff_mask(frequencies.to(used.dtype), n / (2 * used), self.window.smoothness) * length / n


def _crop_half(spectrum: Tensor, dim: int, n: int, length: int) -> Tensor:
    """Crop a transform of n real samples, which has the bins from 0 to n/2, to that of `length` samples."""
    return spectrum.narrow(dim, 0, length // 2 + 1)


def _crop_both_signs(spectrum: Tensor, dim: int, n: int, length: int) -> Tensor:
    """Crop a transform of n samples, with positive and then negative bins, to that of `length` samples."""
    if length == n:
        return spectrum
    half, negative = length // 2, (length - 1) // 2
    first, last = spectrum.narrow(dim, 0, half + 1), spectrum.narrow(dim, n - negative, negative)
    if length % 2 == 0:  # the bins ±length/2 become one
        highest = spectrum.narrow(dim, half, 1) + spectrum.narrow(dim, n - half, 1)
        first = torch.cat([spectrum.narrow(dim, 0, half), highest], dim)
    return torch.cat([first, last], dim)


def bench_layers(settings: LayersBench) -> list[dict[str, Any]]:
    """Time training and inference of a separable network with each method of downsampling, and count memory.

    Returns:
        One row per precision, smoothness, method and way of compiling: medians, and their ratios to the free
        crop ("to_crop", …), to DiffStride by FFT and to strided convolution of the same smoothness. Each is
        measured in both memory formats; the faster one counts and is named.
    """
    rows = []
    for precision in settings.precisions:
        for smoothness in settings.smoothness:
            rows += _compare(settings, precision, smoothness)
    if settings.plot is not None:
        save_figures([cost_figure(rows)], Path(settings.plot))
    return rows


def _compare(settings: LayersBench, precision: str, smoothness: float) -> list[dict[str, Any]]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.randn(settings.batch_size, 1, settings.frames, LogMel().mel_channels, device=device)
    networks = {
        (name, False, kind): _in_format(build(settings.channels, smoothness).to(device), kind)
        for name, build in _METHODS.items()
        for kind in _FORMATS
    }
    runnable: dict[tuple[str, bool, str], Any] = {**networks}
    if settings.compile:
        runnable |= {(name, True, kind): torch.compile(n) for (name, _, kind), n in networks.items()}
    steps = {key: training_step(network, x, precision) for key, network in runnable.items()}
    passes = {key: inference(network, x, precision) for key, network in runnable.items()}
    for network in networks.values():
        network.train()
    training = _faster_formats(in_turns(steps, settings.rounds))
    kept_mb = {key: _kept_mb(runnable[(*key, kind)], x, precision) for key, (kind, _) in training.items()}
    for network in networks.values():
        network.eval()
    inferences = _faster_formats(in_turns(passes, settings.rounds))
    training_ms, inference_ms = ({key: ms for key, (_, ms) in of.items()} for of in (training, inferences))
    crop, fft, strided = (("free crop", False), ("fft", False), ("strided", False))
    return [
        {
            "method": key[0],
            "smoothness": smoothness,
            "precision": precision,
            "compiled": key[1],
            "training_format": training[key][0],
            "training_ms": training_ms[key],
            "to_crop": training_ms[key] / training_ms[crop],
            "to_fft": training_ms[key] / training_ms[fft],
            "to_strided": training_ms[key] / training_ms[strided],
            "inference_format": inferences[key][0],
            "inference_ms": inference_ms[key],
            "inference_to_crop": inference_ms[key] / inference_ms[crop],
            "kept_mb": kept_mb[key],
            "kept_to_crop": kept_mb[key] / kept_mb[crop],
            "kept_to_fft": kept_mb[key] / kept_mb[fft],
        }
        for key in training
    ]


def _in_format(network: SeparableCNN, kind: str) -> SeparableCNN:
    return network.to(memory_format=_FORMATS[kind])  # type: ignore[call-overload]


def _faster_formats(times: Mapping[Any, float]) -> dict[Any, tuple[str, float]]:
    """Return by key the faster memory format and its milliseconds.

    Args:
        times: milliseconds by tuples of a key and, last, a memory format.
    """
    faster: dict[Any, tuple[str, float]] = {}
    for (*parts, kind), ms in times.items():
        key = tuple(parts)
        faster[key] = min(faster.get(key, (kind, ms)), (kind, ms), key=lambda measured: measured[1])
    return faster


def bench_layer(settings: LayerBench) -> list[dict[str, Any]]:
    """Time forward and backward passes of one layer, by matrix products and by FFT.

    Returns:
        One row per smoothness and form: the faster memory format, milliseconds, and "times_fft", how many
        times as fast as by FFT.
    """
    x = torch.randn(settings.shape, device="cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    for smoothness in settings.smoothness:
        layer = DiffStride2d(settings.strides, smoothness=smoothness).to(x.device)
        passes = {
            (name, kind): _forward_and_backward(form, x.contiguous(memory_format=memory_format))
            for name, form in {"fft": FftDiffStride(layer), "matrices": layer}.items()
            for kind, memory_format in _FORMATS.items()
        }
        times = _faster_formats(in_turns(passes, settings.rounds))
        fft_ms = times[("fft",)][1]
        rows += [
            {"form": name, "smoothness": smoothness, "format": kind, "ms": ms, "times_fft": fft_ms / ms}
            for (name,), (kind, ms) in times.items()
        ]
    return rows


def _forward_and_backward(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    x = x.detach().requires_grad_()
    with torch.no_grad():
        gradient = torch.randn_like(layer(x))
    return lambda: layer(x).backward(gradient)


def _network(
    channels: Sequence[int], smoothness: float, pool: Callable[[DiffStride1d], nn.Module]
) -> SeparableCNN:
    torch.manual_seed(0)
    network = SeparableCNN(channels, window=Window(smoothness))
    for module in network.modules():
        if isinstance(module, ConvDownsample) and isinstance(module.pool, DiffStride1d):
            module.pool = pool(module.pool)
    return network


def _inside(channels: Sequence[int], smoothness: float) -> SeparableCNN:
    return SeparableCNN(channels, window=Window(smoothness, "inside"))


def _frozen(network: SeparableCNN) -> SeparableCNN:
    freeze_(network)
    return network


_Build = Callable[[Sequence[int], float], SeparableCNN]  # from numbers of channels and the smoothness

_METHODS: dict[str, _Build] = {
    "strided": lambda channels, _: SeparableCNN(channels, downsampling="strided"),
    "spectral": lambda channels, _: SeparableCNN(channels, downsampling="spectral"),
    "free crop": lambda channels, smoothness: _network(channels, smoothness, FreeCrop),
    "fft": lambda channels, smoothness: _network(channels, smoothness, FftDiffStride),
    "diffstride": lambda channels, smoothness: SeparableCNN(channels, window=Window(smoothness)),
    "diffstride frozen": lambda channels, smoothness: _frozen(
        SeparableCNN(channels, window=Window(smoothness))
    ),
    "diffstride inside": _inside,
    "diffstride inside, frozen": lambda channels, smoothness: _frozen(_inside(channels, smoothness)),
}


def _kept_mb(network: Any, x: Tensor, precision: str) -> float:
    """Return the MB that a forward pass keeps for the backward pass; on a GPU the peak of a whole step."""
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        training_step(network, x, precision)()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with saved_bytes({p.untyped_storage().data_ptr() for p in network.parameters()}) as saved:
        with autocast(x, precision):
            loss = network(x).float().square().mean()
        kept = sum(saved.values())
        del loss  # needed until here: storages that are freed give their addresses to others
    return kept / 1e6


@contextmanager
def saved_bytes(known: set[int]) -> Iterator[dict[int, int]]:
    """Count the bytes of each storage that autograd saves for a backward pass, by address.

    Args:
        known: addresses of storages that exist anyway, such as parameters; they do not count.
    """
    saved: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        yield saved
