"""The settings of a recipe. Each default is the paper's; each comment below a field is its help text.

Kept free of torch, so that the command line can read and check a recipe at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


def _check(name: str, value: float, at_least: float) -> None:
    if not at_least <= value < float("inf"):
        raise ValueError(f"{name} must be a finite number, at least {at_least:g}, but is {value:g}")


@dataclass
class ModelSettings:
    """The network: see `SeparableCNN`."""

    channels: Sequence[int] = (64, 128, 256, 256, 512, 512)
    """Channels of each block."""
    strides: Sequence[tuple[float, float]] = ((2, 2), (2, 2), (1, 1), (2, 2), (1, 1), (2, 2))
    """Initial strides of each block over time and frequency, each at least 1."""
    downsampling: Literal["strided", "max", "average", "blur", "spectral", "diffstride"] = "diffstride"
    """How feature maps are downsampled."""
    smoothness: float = 4.0
    """Width of the DiffStride window's ramp, in DFT bins."""
    shared: bool = False
    """Learn one stride per block for time and frequency, instead of one each."""

    def __post_init__(self) -> None:
        self.channels = tuple(self.channels)
        self.strides = tuple((time, frequency) for time, frequency in self.strides)
        if not self.channels or len(self.channels) != len(self.strides):
            raise ValueError(
                f"model.channels and model.strides need one entry per block, "
                f"but have {len(self.channels)} and {len(self.strides)}"
            )
        if min(self.channels) < 1:
            raise ValueError(f"model.channels must be at least 1, but hold {min(self.channels)}")
        for pair in self.strides:
            for stride in pair:
                _check("model.strides", stride, 1)
                if self.downsampling not in ("spectral", "diffstride") and stride != int(stride):
                    raise ValueError(
                        f"{self.downsampling} downsampling takes whole strides, but got {stride:g}"
                    )
            if self.shared and pair[0] != pair[1]:
                raise ValueError(f"model.shared needs equal strides over time and frequency, but got {pair}")
        _check("model.smoothness", self.smoothness, 0)


@dataclass
class DataSettings:
    """What to train on, and which stretches of sound make a batch."""

    corpus: str = "data/prepared/speech_commands"
    """Folder of a prepared corpus (audiostride prepare)."""
    labels: list[str] | None = None
    """Train and test on these labels only; by default on all of the corpus."""
    window_s: float = 1.0
    """Length of a window in seconds."""
    shift_s: float = 0.0
    """In training, let a window reach this many seconds over either end of its recording."""

    def __post_init__(self) -> None:
        _check("data.window_s", self.window_s, 0.01)  # a frame
        _check("data.shift_s", self.shift_s, 0)
        if self.labels is None:
            return
        if len(self.labels) < 2:
            raise ValueError(f"data.labels must name at least two labels, but names {len(self.labels)}")
        for label in self.labels:
            if self.labels.count(label) > 1:
                raise ValueError(f"data.labels names {label} more than once")


@dataclass
class TrainingSettings:
    """How long and how fast to learn."""

    steps: int = 1_000_000
    """Number of batches."""
    batch_size: int = 256
    """Windows per batch."""
    learning_rate: float = 1e-4
    """Adam's learning rate for the weights."""
    stride_learning_rate: float | None = None
    """Adam's learning rate for the strides, by default the weights'. With a small one they hardly move."""
    schedule: Literal["constant", "one_cycle"] = "constant"
    """Keep the learning rates, or let them rise for 30 % of the steps and fall to zero (Smith 2018)."""
    complexity: float = 0.0
    """Weight λ of the cost regulariser J (paper eq. 6), which makes strides grow."""
    validate_every: int = 2000
    """Steps between validations; each one saves a checkpoint."""
    seed: int = 0
    """Of the weights and of the choice of windows."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every"):
            _check(f"training.{name}", getattr(self, name), 1)
        for name in ("learning_rate", "complexity", "seed"):
            _check(f"training.{name}", getattr(self, name), 0)
        if self.stride_learning_rate is not None:
            _check("training.stride_learning_rate", self.stride_learning_rate, 0)
        if self.seed >= 2**32:
            raise ValueError(f"training.seed must be below 2 ** 32, but is {self.seed}")


@dataclass
class Recipe:
    """Everything that a run depends on."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    trainer: dict[str, Any] = field(default_factory=dict)
    """Arguments of Lightning's Trainer, for instance --trainer.devices 2."""
