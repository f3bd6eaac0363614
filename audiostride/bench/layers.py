"""What learned strides cost in the paper's network: time of a training step and of inference, and memory,
side by side with strided convolution, with a crop that costs nothing, and with DiffStride by FFT.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiostride.analysis.plots import save
from audiostride.bench.figure import cost_picture
from audiostride.bench.settings import LayerBench, LayersBench
from audiostride.layers import freeze_
from audiostride.layers.conv_downsample import Downsample
from audiostride.layers.diffstride import DiffStride1d, DiffStride2d, DiffStrideNd
from audiostride.layers.functional import cutoff_mask, output_length, usable_stride
from audiostride.models.separable_cnn import SeparableCNN
from audiostride.timing import autocast, in_turns, inference, training_step


class FreeCrop(nn.Module):
    """Keeps the first samples, as many as DiffStride would: the floor for any pooling after a convolution."""

    def __init__(self, pool: DiffStride1d) -> None:
        super().__init__()
        self.dim, self.stride, self.smoothness = pool.dims[0], pool.stride.item(), pool.smoothness

    def forward(self, x: Tensor) -> Tensor:
        length = output_length(x.shape[self.dim], self.stride, self.smoothness)
        return x.narrow(self.dim, 0, length)


class FftDiffStride(nn.Module):
    """DiffStride as the paper has it: transform, mask, crop, transform back. For comparison.

    Over two axes by one transform of both, which is quicker than one after the other.
    """

    def __init__(self, pool: DiffStrideNd) -> None:
        super().__init__()
        self.dims, self.stride, self.smoothness = pool.dims, pool.stride, pool.smoothness

    def forward(self, x: Tensor) -> Tensor:
        sizes = [x.shape[dim] for dim in self.dims]
        lengths = [
            output_length(n, s, self.smoothness) for n, s in zip(sizes, self.stride.tolist(), strict=True)
        ]
        spectrum, mask = torch.fft.rfftn(x, dim=self.dims), x.new_ones(())
        for dim, n, length, stride in zip(self.dims, sizes, lengths, self.stride, strict=True):
            spectrum = _cropped(spectrum, dim, n, length, both_signs=dim != self.dims[-1])
            bins = torch.arange(spectrum.shape[dim], device=x.device)
            bins = torch.where(bins > length // 2, length - bins, bins)
            used = stride.clamp(min=usable_stride(n, 1.0, self.smoothness))
            height = cutoff_mask(bins.to(used.dtype), n / (2 * used), self.smoothness) * length / n
            if dim == self.dims[-1] and length < n and length % 2 == 0:  # its other sign is the same sample
                height = height * torch.where(bins == length // 2, 2.0, 1.0)
            mask = mask * height.reshape(-1, *[1] * (-1 - dim))
        return torch.fft.irfftn(spectrum * mask, lengths, dim=self.dims)


def _cropped(spectrum: Tensor, dim: int, n: int, length: int, both_signs: bool) -> Tensor:
    """The lowest frequencies of one axis."""
    if not both_signs or length == n:
        return spectrum.narrow(dim, 0, length // 2 + 1 if not both_signs else n)
    half, below = length // 2, (length - 1) // 2
    first, last = spectrum.narrow(dim, 0, half + 1), spectrum.narrow(dim, n - below, below)
    if length % 2 == 0:  # both signs of the highest frequency become one
        highest = spectrum.narrow(dim, half, 1) + spectrum.narrow(dim, n - half, 1)
        first = torch.cat([spectrum.narrow(dim, 0, half), highest], dim)
    return torch.cat([first, last], dim)


def bench_layers(settings: LayersBench) -> list[dict[str, Any]]:
    """One row per method, smoothness and precision, with medians and their ratios to the free crop's."""
    rows = []
    for precision in settings.precisions:
        for smoothness in settings.smoothness:
            rows += _compare(settings, precision, smoothness)
    if settings.plot is not None:
        save([cost_picture(rows)], Path(settings.plot))
    return rows


def _compare(settings: LayersBench, precision: str, smoothness: float) -> list[dict[str, Any]]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.randn(settings.batch_size, 1, settings.frames, 64, device=device)
    networks = {name: make(smoothness).to(device) for name, make in _METHODS.items()}
    kinds = {(name, False): network for name, network in networks.items()}
    if settings.compile:
        kinds |= {(name, True): torch.compile(network) for name, network in networks.items()}  # type: ignore[misc]
    steps = {kind: training_step(network, x, precision) for kind, network in kinds.items()}
    passes = {kind: inference(network, x, precision) for kind, network in kinds.items()}
    for network in networks.values():
        network.train()
    trained = in_turns(steps, settings.rounds)
    memory = {kind: _kept_mb(network, x, precision) for kind, network in kinds.items()}
    for network in networks.values():
        network.eval()
    inferred = in_turns(passes, settings.rounds)
    floor = ("free crop", False)
    return [
        {
            "method": name,
            "smoothness": smoothness,
            "precision": precision,
            "compiled": compiled,
            "training_ms": trained[name, compiled],
            "to_crop": trained[name, compiled] / trained[floor],
            "to_fft": trained[name, compiled] / trained["fft", False],
            "to_strided": trained[name, compiled] / trained["strided", False],
            "inference_ms": inferred[name, compiled],
            "inference_to_crop": inferred[name, compiled] / inferred[floor],
            "kept_mb": memory[name, compiled],
            "kept_to_crop": memory[name, compiled] / memory[floor],
            "kept_to_fft": memory[name, compiled] / memory["fft", False],
        }
        for name, compiled in kinds
    ]


def bench_layer(settings: LayerBench) -> list[dict[str, Any]]:
    """One row per form and smoothness: milliseconds there and back, and how many times as fast as FFT."""
    x = torch.randn(settings.shape, device="cuda" if torch.cuda.is_available() else "cpu").requires_grad_()
    rows = []
    for smoothness in settings.smoothness:
        layer = DiffStride2d(settings.strides, smoothness).to(x.device)
        forms = {"fft": FftDiffStride(layer), "matrices": layer}
        times = in_turns({name: _there_and_back(form, x) for name, form in forms.items()}, settings.rounds)
        rows += [
            {"form": name, "smoothness": smoothness, "ms": taken, "times_fft": times["fft"] / taken}
            for name, taken in times.items()
        ]
    return rows


def _there_and_back(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    with torch.no_grad():
        gradient = torch.randn_like(layer(x))
    return lambda: layer(x).backward(gradient)


def _network(smoothness: float, pool: Callable[[DiffStride1d], nn.Module] | None) -> SeparableCNN:
    torch.manual_seed(0)
    network = SeparableCNN(smoothness=smoothness)
    for module in network.modules():
        if pool is not None and isinstance(module, Downsample) and isinstance(module.pool, DiffStride1d):
            module.pool = pool(module.pool)
    return network


def _frozen(network: SeparableCNN) -> SeparableCNN:
    freeze_(network)
    return network


_METHODS: dict[str, Callable[[float], SeparableCNN]] = {
    "strided": lambda smoothness: SeparableCNN(downsampling="strided"),
    "free crop": lambda smoothness: _network(smoothness, FreeCrop),
    "fft": lambda smoothness: _network(smoothness, FftDiffStride),
    "diffstride": lambda smoothness: _network(smoothness, None),
    "diffstride frozen": lambda smoothness: _frozen(_network(smoothness, None)),
    "diffstride inside": lambda smoothness: SeparableCNN(smoothness=smoothness, ramp="inside"),
}


def _kept_mb(network: Any, x: Tensor, precision: str) -> float:
    """What the forward pass keeps for the backward pass, in MB; on a GPU the peak of a whole step."""
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        training_step(network, x, precision)()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with _counted({p.untyped_storage().data_ptr() for p in network.parameters()}) as kept:
        with autocast(x, precision):
            loss = network(x).float().square().mean()
        total = sum(kept.values())
        del loss
    return total / 1e6


@contextmanager
def _counted(known: set[int]) -> Iterator[dict[int, int]]:
    """Bytes of each piece of memory that is kept for a backward pass, but for those known before."""
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        yield kept
