"""Settings of the benchmarks. Without torch, so that `audiostride bench --help` answers at once."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from audiostride.config.ranges import AtLeast, Between, check_ranges
from audiostride.config.settings import NonNegative, PositiveCount, Stride, WindowSeconds

Level = Annotated[float, Between(-100, 60)]


@dataclass
class WindowsBench:
    """Training windows per second: from prepared corpora, and from one WAV file per window, by one thread."""

    files: PositiveCount = 2000
    """Number of recordings of noise to cut windows from, at least 10 per corpus."""
    seconds: Annotated[float, AtLeast(1)] = 2.0
    """Length of each recording in seconds."""
    corpora: PositiveCount = 4
    """Number of prepared corpora that share the recordings; a single corpus of all is measured as well."""
    batch_size: PositiveCount = 256
    """Number of windows of one second per batch."""
    rounds: PositiveCount = 20
    """Number of measurements of each source, taken in turns; the median counts."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        if self.files < 10 * self.corpora:
            raise ValueError(f"--files must be at least {10 * self.corpora}, but is {self.files}")


@dataclass
class LayersBench:
    """Time and memory of the paper's network by method of downsampling, each in its faster memory format."""

    batch_size: PositiveCount = 32
    """Number of windows of one second per batch."""
    channels: list[PositiveCount] = field(default_factory=lambda: [64, 128, 256, 256, 512, 512])
    """Numbers of channels of the six blocks; the default is that of the paper, and half of it that of the
    small recipes."""
    frames: PositiveCount = 100
    """Number of frames per window, 100 per second."""
    smoothness: list[NonNegative] = field(default_factory=lambda: [4.0, 2.0, 1.0])
    """Smoothnesses of DiffStride, each measured against its own free crop."""
    precisions: list[Literal["float32", "bf16"]] = field(default_factory=lambda: ["float32"])
    """float32, or bf16 by autocast, or both."""
    compile: bool = False
    """Measure each network with torch.compile as well."""
    rounds: PositiveCount = 5
    """Number of measurements of each network, taken in turns; the median counts."""
    plot: str | None = None
    """Folder for a figure of the ratios to the free crop."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        _check_six(self.channels)


@dataclass
class DriftBench:
    """Training while strides drift and feature maps change size: plain, compiled, rounded, and frozen."""

    batch_size: PositiveCount = 16
    """Number of windows of one second per batch."""
    channels: list[PositiveCount] = field(default_factory=lambda: [32, 64, 128, 128, 256, 256])
    """Numbers of channels of the six blocks; the default is that of the small recipes."""
    smoothness: NonNegative = 1.0
    """Smoothness of DiffStride."""
    multiples: list[PositiveCount] = field(default_factory=lambda: [1, 4, 8])
    """Round lengths of feature maps up to multiples of these, each measured in turn."""
    drift: NonNegative = 0.01
    """Growth of every stride per step."""
    steps: PositiveCount = 60
    """Number of training steps of each network."""
    compile: bool = True
    """Measure each network with torch.compile as well."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")
        _check_six(self.channels)


@dataclass
class StepBench:
    """How the time of a training step divides into windows, frontend, network, optimiser and logging."""

    recipe: str = "small"
    """Recipe whose model and training are measured, on noise."""
    batch_size: PositiveCount = 64
    """Number of windows of one second per batch."""
    precision: Literal["float32", "bf16"] = "float32"
    """float32, or bf16 by autocast."""
    steps: Annotated[int, AtLeast(14)] = 50
    """Number of training steps; the first eleven do not count, and the median of the others is reported."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")


@dataclass
class LayerBench:
    """Forward and backward pass of a DiffStride2d layer, by matrices and by FFT, in its faster format."""

    shape: tuple[PositiveCount, PositiveCount, PositiveCount, PositiveCount] = (8, 32, 64, 101)
    """Shape of the input: batch, channels and the two axes."""
    strides: tuple[Stride, Stride] = (2.3, 1.7)
    """Strides of the two axes."""
    smoothness: list[NonNegative] = field(default_factory=lambda: [4.0, 2.0, 1.0])
    """Smoothnesses of DiffStride, each measured against FFT with the same."""
    rounds: PositiveCount = 30
    """Number of measurements of each form, taken in turns; the median counts."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")


@dataclass
class LongAxesBench:
    """A learned stride on axes of any length, by matrix and through the FFT: time, memory and accuracy."""

    lengths: list[Annotated[int, AtLeast(16)]] = field(
        default_factory=lambda: [64, 100, 256, 500, 1000, 2000, 6000, 16_000, 48_000, 160_000]
    )
    """Numbers of samples of the axis, in increasing order."""
    lines: PositiveCount = 64
    """Number of lines along the axis, such as the waveforms of a batch."""
    stride: Stride = 2.3
    """Stride of the axis."""
    smoothness: Annotated[float, AtLeast(1)] = 4.0
    """Smoothness of DiffStride."""
    largest_matrix_mb: Annotated[float, AtLeast(0)] = 500.0
    """Largest matrix in MB of float64. Longer axes are measured through the FFT alone."""
    rounds: PositiveCount = 5
    """Number of measurements of each form, taken in turns; the median counts."""
    plot: str | None = None
    """Folder for a figure of time and memory."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")


@dataclass
class PrepareBench:
    """Files per second and peak memory of preparing WAV files: all intact, and with every 100th damaged."""

    files: Annotated[int, AtLeast(100)] = 10000
    """Number of files of noise."""
    seconds: Annotated[float, AtLeast(0.01)] = 1.0
    """Length of each file in seconds."""
    sample_rate: Annotated[int, AtLeast(1000)] = 16000
    """Sample rate of the files in Hz; the prepared corpus has 16000."""
    channels: PositiveCount = 1
    """Number of channels of each file."""
    workers: list[PositiveCount] = field(default_factory=lambda: [1, 2])
    """Numbers of processes to compare."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")


@dataclass
class PredictBench:
    """Hours of sound labelled per minute, against a plain loop over files, and memory of a long recording."""

    run: list[str] = field(metadata={"positional": "Runs, checkpoint files or model folders."})
    files: PositiveCount = 1000
    """Number of files of noise."""
    seconds: Annotated[float, AtLeast(0.1)] = 1.0
    """Length of each file in seconds."""
    rounds: PositiveCount = 3
    """Number of measurements of each method, taken in turns; the median counts."""
    minutes: list[Annotated[float, AtLeast(0.1)]] = field(default_factory=lambda: [1.0, 180.0])
    """Lengths of the single recordings in minutes."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")


@dataclass
class BaselineBench:
    """Test accuracy of logistic regression on mean and deviation of each mel channel, and of guessing."""

    corpus: list[str] = field(metadata={"positional": "Folders of prepared corpora."})


@dataclass
class ExportBench:
    """Exported models beside PyTorch, on one core: speed, size, and accuracy on the test recordings."""

    runs: list[str] = field(metadata={"positional": "Folders of runs, checkpoint files or model folders."})
    seconds: WindowSeconds = 1.0
    """Length of the waveforms in seconds."""
    rounds: PositiveCount = 50
    """Number of measurements of each form, taken in turns; the median counts."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")


@dataclass
class LevelBench:
    """Test accuracy of runs on softer and louder recordings. Runs that differ in their seed count as one."""

    runs: list[str] = field(metadata={"positional": "Folders of runs."})
    levels_db: list[Level] = field(default_factory=lambda: [-30.0, -20.0, -10.0, 0.0, 10.0, 20.0])
    """Changes of the level in decibels, from −100 to 60. Samples are rounded and clipped to 16 bits."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")


def _check_six(channels: list[int]) -> None:
    if len(channels) != 6:
        raise ValueError(f"--channels must be six numbers, one per block, but are {len(channels)}")
