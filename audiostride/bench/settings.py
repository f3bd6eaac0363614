"""Settings of the benchmarks. Without torch, so that `audiostride bench --help` answers at once."""

from dataclasses import dataclass, field
from typing import Literal


def _check(name: str, value: float, at_least: float) -> None:
    if not at_least <= value < float("inf"):
        raise ValueError(f"--{name} must be at least {at_least:g}, but is {value:g}")


@dataclass
class WindowsBench:
    """Training windows per second: from prepared corpora, and from one WAV file per window, by one thread."""

    files: int = 2000
    """Recordings of noise to cut windows from."""
    seconds: float = 2.0
    """Length of each recording."""
    corpora: int = 4
    """Prepared corpora over which the recordings are spread; a single corpus of all is measured as well."""
    batch_size: int = 256
    """Windows of one second per batch."""
    rounds: int = 20
    """Measurements of each source, taken in turns; the median counts."""

    def __post_init__(self) -> None:
        for name in ("corpora", "batch_size", "rounds"):
            _check(name, getattr(self, name), 1)
        _check("files", self.files, 10 * self.corpora)
        _check("seconds", self.seconds, 1)


@dataclass
class LayersBench:
    """Time and memory of the paper's network: strided convolution, free crop, DiffStride, and by FFT."""

    batch_size: int = 32
    """Windows of one second per batch."""
    frames: int = 100
    """Frames per window."""
    smoothness: list[float] = field(default_factory=lambda: [4.0, 2.0, 1.0])
    """Smoothnesses of DiffStride, each measured against its own free crop."""
    precisions: list[Literal["float32", "bf16"]] = field(default_factory=lambda: ["float32"])
    """float32, or bf16 by autocast, or both."""
    compile: bool = False
    """Measure each network with torch.compile as well."""
    rounds: int = 5
    """Measurements of each network, taken in turns; the median counts."""
    plot: str | None = None
    """Folder for a figure of the ratios to the free crop."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "frames", "rounds"):
            _check(name, getattr(self, name), 1)
        for smoothness in self.smoothness:
            _check("smoothness", smoothness, 0)


@dataclass
class DriftBench:
    """Training while strides drift and feature maps change size: plain, compiled, rounded, and frozen."""

    batch_size: int = 16
    """Windows of one second per batch."""
    channels: list[int] = field(default_factory=lambda: [32, 64, 128, 128, 256, 256])
    """Channels of the six blocks; the default is that of the small recipes."""
    smoothness: float = 1.0
    """Smoothness of DiffStride."""
    multiples: list[int] = field(default_factory=lambda: [1, 4, 8])
    """Round lengths of feature maps up to multiples of these, each measured in turn."""
    drift: float = 0.01
    """Growth of every stride per step."""
    steps: int = 60
    """Training steps of each network."""
    compile: bool = True
    """Measure each network with torch.compile as well."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps"):
            _check(name, getattr(self, name), 1)
        for name in ("smoothness", "drift"):
            _check(name, getattr(self, name), 0)
        for value in (*self.channels, *self.multiples):
            _check("channels and multiples", value, 1)
        if len(self.channels) != 6:
            raise ValueError(f"--channels must be six numbers, one per block, but are {len(self.channels)}")


@dataclass
class StepBench:
    """How the time of a training step divides into windows, frontend, network, optimiser and logging."""

    recipe: str = "small"
    """Recipe whose model and training are measured, on noise."""
    batch_size: int = 64
    """Windows of one second per batch."""
    precision: Literal["float32", "bf16"] = "float32"
    """float32, or bf16 by autocast."""
    steps: int = 50
    """Training steps; the first eleven do not count, and the median of the others is reported."""

    def __post_init__(self) -> None:
        _check("batch_size", self.batch_size, 1)
        _check("steps", self.steps, 14)


@dataclass
class LayerBench:
    """Forward and backward pass of one DiffStride2d layer: by matrix products, and by FFT."""

    shape: tuple[int, int, int, int] = (8, 32, 64, 101)
    """Shape of the input: batch, channels and the two axes."""
    strides: tuple[float, float] = (2.3, 1.7)
    """Strides of the two axes."""
    smoothness: list[float] = field(default_factory=lambda: [4.0, 2.0, 1.0])
    """Smoothnesses of DiffStride, each measured against FFT with the same."""
    rounds: int = 30
    """Measurements of each form, taken in turns; the median counts."""

    def __post_init__(self) -> None:
        for size in (*self.shape, self.rounds):
            _check("shape and rounds", size, 1)
        for stride in self.strides:
            _check("strides", stride, 1)
        for smoothness in self.smoothness:
            _check("smoothness", smoothness, 0)


@dataclass
class PrepareBench:
    """Files per second and peak memory of preparing WAV files: all intact, and with every 100th damaged."""

    files: int = 10000
    """Files of noise."""
    seconds: float = 1.0
    """Length of each file."""
    sample_rate: int = 16000
    """Sample rate of the files in Hz; the prepared corpus has 16000."""
    channels: int = 1
    """Channels of each file."""
    workers: list[int] = field(default_factory=lambda: [1, 2])
    """Numbers of processes to compare."""

    def __post_init__(self) -> None:
        _check("files", self.files, 100)
        _check("seconds", self.seconds, 0.01)
        _check("sample_rate", self.sample_rate, 1000)
        _check("channels", self.channels, 1)
        for workers in self.workers:
            _check("workers", workers, 1)


@dataclass
class BaselineBench:
    """Test accuracy of logistic regression on mean and deviation of each mel channel, and of guessing."""

    corpus: list[str] = field(metadata={"positional": "Folders of prepared corpora."})
