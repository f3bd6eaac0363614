"""The settings of a recipe, and of `prepare`. Each default of a recipe is the paper's; each comment below a
field is its help text.

Kept free of torch, so that the command line can read and check a recipe at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


def _check(name: str, value: float, at_least: float) -> None:
    if not at_least <= value < float("inf"):
        raise ValueError(f"{name} must be a finite number, at least {at_least:g}, but is {value:g}")


def _check_share(name: str, value: float, most: float = 0.5) -> None:
    if not 0 <= value <= most:
        raise ValueError(f"{name} must be from 0 to {most:g}, but is {value:g}")


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
    ramp: Literal["outside", "inside", "relative"] = "outside"
    """Where the ramp lies: outside the cut-off, inside it (maps as small as by strided convolution), or
    outside and smoothness times as wide as the output is long (small maps shrink as much as large ones)."""
    multiple: int = 1
    """Round lengths of feature maps up to multiples of this, so that compilers see fewer of them."""

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
        _check("model.multiple", self.multiple, 1)
        if self.ramp == "relative" and self.smoothness > 1:
            raise ValueError(
                f"model.smoothness is a share of the output's length where model.ramp is relative, but is "
                f"{self.smoothness:g}: 0.1 to 0.5 are usual"
            )


@dataclass
class DataSettings:
    """What to train on, and which stretches of sound make a batch."""

    corpus: list[str] | str = "data/prepared/speech_commands"
    """Folder of a prepared corpus (audiostride prepare), or several; --data.corpus+ FOLDER adds one."""
    tasks: list[str] | str | None = None
    """Train these tasks only; by default all of the corpora."""
    leave_out: list[str] | str | None = None
    """Train without these tasks."""
    labels: dict[str, list[str]] | list[str] | None = None
    """Train and test on these labels only: of the one task, or from task to labels; by default on all."""
    sampling: Literal["uniform", "proportional"] | dict[str, float] = "uniform"
    """Shares of the tasks in a batch: all the same, by their numbers of recordings, or a weight each (1 where
    not named)."""
    holdout: float = 0.1
    """Share of the training recordings that validates in a corpus that has none to validate; groups stay
    whole. With 0 all of them train, and the last checkpoint counts as the best."""
    window_s: float = 1.0
    """Length of a window in seconds."""
    workers: int = 0
    """Processes that load batches ahead, for a corpus larger than memory; 0 is quickest for others."""

    def __post_init__(self) -> None:
        _check("data.window_s", self.window_s, 0.1)  # ten frames
        _check("data.workers", self.workers, 0)
        _check_share("data.holdout", self.holdout)
        if not self.corpora:
            raise ValueError("data.corpus names no corpus")
        for task, weight in self.sampling.items() if isinstance(self.sampling, dict) else ():
            _check(f"data.sampling of {task}", weight, 0)
        if isinstance(self.labels, dict):
            for task, labels in self.labels.items():
                _check_labels(f"data.labels of {task}", labels)
        elif self.labels is not None:
            _check_labels("data.labels", self.labels)

    @property
    def frames(self) -> int:
        """Of a window's spectrogram, 100 to the second."""
        return round(100 * self.window_s)

    @property
    def corpora(self) -> list[str]:
        return [self.corpus] if isinstance(self.corpus, str) else list(self.corpus)


def _check_labels(name: str, labels: list[str]) -> None:
    if len(labels) < 2:
        raise ValueError(f"{name} must name at least two labels, but names {len(labels)}")
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"{name} names {label} more than once")


@dataclass
class AugmentationSettings:
    """Changes to training windows: by default none, as in the paper."""

    shift_s: float = 0.0
    """Shift in time: let a window reach this many seconds over either end of its recording."""
    gain_db: float = 0.0
    """Change the level by up to so many decibels, up or down."""
    noise: str | None = None
    """Add noise: a folder such as Speech Commands' _background_noise_, or a prepared corpus (what trains)."""
    noise_snr_db: tuple[float, float] = (0.0, 30.0)
    """Lowest and highest level of a window above its noise, in decibels."""
    noise_share: float = 0.5
    """Share of the windows that noise is added to."""
    time_masks: int = 0
    """Cover this many stretches of each spectrogram (SpecAugment)."""
    time_mask_s: float = 0.1
    """Longest stretch in seconds."""
    frequency_masks: int = 0
    """Cover this many bands of mel channels of each spectrogram (SpecAugment)."""
    frequency_mask_channels: int = 8
    """Widest band in mel channels."""
    mixup: float = 0.0
    """Mix windows in pairs, with weights from a beta distribution of this α; usual are 0.1 to 0.4."""

    def __post_init__(self) -> None:
        for name in ("shift_s", "gain_db", "time_masks", "time_mask_s", "frequency_masks", "mixup"):
            _check(f"augmentation.{name}", getattr(self, name), 0)
        if self.gain_db > 60:
            raise ValueError(f"augmentation.gain_db must be at most 60 decibels, but is {self.gain_db:g}")
        _check("augmentation.frequency_mask_channels", self.frequency_mask_channels, 1)
        _check_share("augmentation.noise_share", self.noise_share, most=1)
        low, high = self.noise_snr_db
        self.noise_snr_db = (low, high)
        for edge in (low, high):
            _check("augmentation.noise_snr_db", edge, -200)
        if low > high:
            raise ValueError(
                f"augmentation.noise_snr_db must be lowest and highest, but is {low:g}, {high:g}"
            )

    @property
    def draws(self) -> bool:
        """Whether anything is drawn besides the places of the windows."""
        wanted = (self.gain_db, self.noise, self.time_masks, self.frequency_masks, self.mixup)
        return any(wanted)


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
    task_weights: dict[str, float] = field(default_factory=dict)
    """Weight of each task's loss; 1 for those not named."""
    complexity: float = 0.0
    """Weight λ of the cost regulariser J (paper eq. 6), which makes strides grow."""
    smoothness_from: float | None = None
    """Smoothness to begin with, which narrows to model.smoothness over the first half of the steps: a wide
    ramp shows the strides where to go, a narrow one costs less. Of no effect unless it is the larger one."""
    freeze_strides_after: int | None = None
    """Step after which the strides stay as they are, and maps keep their sizes (once ramps have narrowed); by
    default they never do."""
    compile: bool = False
    """Compile the network (torch.compile), which pays where its maps keep their sizes: with
    freeze_strides_after, or multiple."""
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
        if self.smoothness_from is not None:
            _check("training.smoothness_from", self.smoothness_from, 0)
            if self.compile:
                raise ValueError(
                    "training.smoothness_from changes the network at each step, which cannot be compiled: "
                    "leave it or training.compile out"
                )
        if self.freeze_strides_after is not None:
            _check("training.freeze_strides_after", self.freeze_strides_after, 0)
        for task, weight in self.task_weights.items():
            _check(f"training.task_weights of {task}", weight, 0)
        if self.seed >= 2**32:
            raise ValueError(f"training.seed must be below 2 ** 32, but is {self.seed}")


@dataclass
class Recipe:
    """Everything that a run depends on."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    trainer: dict[str, Any] = field(default_factory=dict)
    """Arguments of Lightning's Trainer, for instance --trainer.devices 2."""

    def __post_init__(self) -> None:
        begins = self.training.smoothness_from
        if self.model.ramp == "relative" and begins is not None and begins > 1:
            raise ValueError(
                f"training.smoothness_from is a share of the output's length where model.ramp is relative, "
                f"but is {begins:g}: give it another value, or null"
            )


@dataclass
class PrepareSettings:
    """How sound files become a prepared corpus."""

    bad: float = 1.0
    """Percent of the files that may be unusable; more is an error."""
    longest: float = 3600.0
    """Length in seconds above which a file counts as unusable."""
    workers: int | None = None
    """Processes; by default all cores, or fewer for a small corpus."""

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= 100:
            raise ValueError(f"--bad is a percentage from 0 to 100, but is {self.bad:g}")
        _check("--longest", self.longest, 0)
        if self.workers is not None:
            _check("--workers", self.workers, 1)
