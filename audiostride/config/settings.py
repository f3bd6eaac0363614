"""The settings of a recipe, and those of `audiostride prepare`.

A recipe's defaults are the paper's. The comment below a field is its help text, and its type holds its range.
This module does not import torch, so that the command line can check a recipe before torch is imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from audiostride.config.frontend_settings import FrontendSettings, SampleRate
from audiostride.config.input_kinds import Images, check_input_settings
from audiostride.config.messages import PlainValue
from audiostride.config.network_names import Network
from audiostride.config.ranges import AtLeast, Between, check_ranges
from audiostride.config.trainer_arguments import check_trainer_arguments

Count = Annotated[int, AtLeast(0)]
PositiveCount = Annotated[int, AtLeast(1)]
NonNegative = Annotated[float, AtLeast(0)]
Positive = Annotated[float, AtLeast(1e-6)]
# Limits above which a value is a mistake: 4096 channels are eight times those of the paper, a ramp of 10,000
# bins is wider than the spectrum of a window of three minutes, and no machine has room for more windows.
Channels = Annotated[int, Between(1, 4096)]
Smoothness = Annotated[float, Between(0, 10_000)]
BatchSize = Annotated[int, Between(1, 65_536)]
Workers = Annotated[int, Between(0, 1024)]
Masks = Annotated[int, Between(0, 100)]
Frames = Annotated[int, Between(1, 360_000)]  # up to an hour
WindowSeconds = Annotated[float, Between(0.1, 3600)]
ShiftSeconds = Annotated[float, Between(0, 3600)]
Fraction = Annotated[float, Between(0, 1)]
Stride = Annotated[float, AtLeast(1)]
Decibels = Annotated[float, AtLeast(-200)]


@dataclass
class ModelSettings:
    """The network: separable is that of the paper. The reference of networks describes all of them."""

    channels: Sequence[Channels] | None = None
    """Numbers of channels: of each block (separable), or as the network says. (default: those of the network,
    separable 64, 128, 256, 256, 512, 512)"""
    strides: Sequence[tuple[Stride, Stride]] | None = None
    """Initial strides, one over time and one over frequency (of images: over height and width): of each block
    (separable), or as the network says. (default: those of the network)"""
    downsampling: Literal["strided", "max", "average", "blur", "spectral", "diffstride"] = "diffstride"
    """How feature maps are downsampled. Only diffstride learns strides; only it and spectral
    take fractional ones."""
    smoothness: Smoothness = 4.0
    """Width of the ramp of DiffStride's window, in DFT bins; if the ramp is relative, as a fraction of the
    output length."""
    shared: bool = False
    """Learn one stride per block for both time and frequency (height and width), instead of one each."""
    ramp: Literal["outside", "inside", "relative"] = "outside"
    """Where the ramp lies: outside the cut-off; inside it, which makes feature maps as small as strided
    convolution does; or outside with a width relative to the output length, which shrinks small feature maps
    as much as large ones."""
    multiple: PositiveCount = 1
    """Round lengths of feature maps up to multiples of this number, so that a compiler sees fewer sizes."""
    level: Literal["unchanged", "rms"] = "unchanged"
    """What to do with the level of each window before the spectrogram: nothing, as in the paper; or remove
    the mean and scale to a root mean square of 0.1, so that results do not depend on how loud a recording
    is. Silence stays silence."""
    network: Network = "separable"
    """The network, by its name."""
    options: dict[str, PlainValue] = field(default_factory=dict)
    """Options of the network, for instance --model.options.layers '[2, 2, 2, 2]' of resnet18."""

    def __post_init__(self) -> None:
        self.channels = None if self.channels is None else tuple(self.channels)
        if self.strides is not None:
            self.strides = tuple((time, frequency) for time, frequency in self.strides)
        check_ranges(self, "model.")
        for pair in self.strides or ():
            self._check_pair(*pair)
        self.options = {  # as they are read from a file
            name: list(value) if isinstance(value, tuple) else value for name, value in self.options.items()
        }
        if self.ramp == "relative" and self.smoothness > 1:
            raise ValueError(
                f"model.smoothness is a fraction of the output length if model.ramp is relative, but is "
                f"{self.smoothness:g}: 0.1 to 0.5 are usual"
            )

    def _check_pair(self, time: float, frequency: float) -> None:
        for stride in (time, frequency):
            if self.downsampling not in ("spectral", "diffstride") and stride != int(stride):
                raise ValueError(f"{self.downsampling} downsampling takes whole strides, but got {stride:g}")
        if self.shared and time != frequency:
            raise ValueError(
                f"model.shared needs equal strides over time and frequency, but got {(time, frequency)}"
            )


@dataclass
class DataSettings:
    """The corpora to train on, and the windows or images that make a batch."""

    corpus: list[str] | str = "data/prepared/speech_commands"
    """Folder of a prepared corpus (see audiostride prepare), or several; --data.corpus+ FOLDER adds one. Of
    images, the folder that holds them."""
    images: Images | None = None
    """Train on images instead of sound, with frontend.kind pixels. cifar10 and cifar100: data.corpus holds
    the folder cifar-10-batches-py or cifar-100-python. folder: data.corpus holds train/CLASS/FILE and val/ or
    test/ of the same kind, as ImageNet does."""
    download: bool = False
    """Of cifar10 and cifar100: first download the images into data.corpus if they are not there."""
    tasks: list[str] | str | None = None
    """Train these tasks only; by default all tasks of the corpora."""
    leave_out: list[str] | str | None = None
    """Train without these tasks."""
    labels: dict[str, list[str]] | list[str] | None = None
    """Train and test on these labels only: a list if there is one task, or a mapping from tasks to lists; by
    default all labels."""
    sampling: Literal["uniform", "proportional"] | dict[str, NonNegative] = "uniform"
    """How the windows of a batch are divided among the tasks: uniform gives each task equally many (tasks of
    the same recordings share theirs), proportional draws every recording equally often, and a mapping gives
    each task a weight (1 if not named)."""
    holdout: Annotated[float, Between(0, 0.5)] = 0.1
    """Fraction of the training recordings or images held out for validation, if the corpus has no validation
    split. Groups stay whole and each label that has several gets one, so it can be more in a small corpus.
    With 0 all train, and the last checkpoint counts as best."""
    per_label: PositiveCount | None = None
    """Maximum number of training recordings of each label, to find out how many are needed; by default all
    recordings train. They are chosen by training.seed, those of a smaller number among those of a larger.
    Validation and test keep all of theirs."""
    window_s: WindowSeconds = 1.0
    """Length of a window in seconds."""
    workers: Workers = 0
    """Number of processes that load batches ahead. 0 is fastest, unless the corpus exceeds the memory."""

    def __post_init__(self) -> None:
        check_ranges(self, "data.")
        if isinstance(self.labels, dict):
            self.labels = {task: [str(label) for label in labels] for task, labels in self.labels.items()}
        elif isinstance(self.labels, list):
            self.labels = [str(label) for label in self.labels]
        if not self.corpora:
            raise ValueError("data.corpus names no corpus")
        if isinstance(self.labels, dict):
            for task, labels in self.labels.items():
                _check_labels(f"data.labels.{task}", labels)
        elif self.labels is not None:
            _check_labels("data.labels", self.labels)

    @property
    def corpora(self) -> list[str]:
        """Folders of the prepared corpora."""
        return [self.corpus] if isinstance(self.corpus, str) else list(self.corpus)


def _check_labels(name: str, labels: list[str]) -> None:
    if len(labels) < 2:
        raise ValueError(f"{name} must name at least two labels, but names {len(labels)}")
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"{name} names {label} more than once")


@dataclass
class AugmentationSettings:
    """Random changes to the training windows or images; by default none, as in the paper."""

    shift_s: ShiftSeconds = 0.0
    """Let a window start up to this many seconds before its recording, or end as much after it."""
    gain_db: Annotated[float, Between(0, 60)] = 0.0
    """Change the level of each window by up to this many decibels, up or down. Samples beyond full scale are
    clipped, as in a recording. If model.level is rms, the change comes after the level is normalised as well:
    otherwise the network would see nothing of it."""
    noise: str | None = None
    """Add noise from a folder of sound files, such as _background_noise_ of Speech Commands, or from the
    training recordings of a prepared corpus."""
    noise_snr_db: tuple[Decibels, Decibels] = (0.0, 30.0)
    """Lowest and highest signal-to-noise ratio in decibels."""
    noise_share: Annotated[float, Between(0, 1)] = 0.5
    """Fraction of the windows to which noise is added."""
    time_masks: Masks = 0
    """Number of stretches of each spectrogram to mask (SpecAugment)."""
    time_mask_s: ShiftSeconds = 0.1
    """Maximum length of a masked stretch in seconds."""
    frequency_masks: Masks = 0
    """Number of frequency bands of each spectrogram to mask (SpecAugment)."""
    frequency_mask_channels: PositiveCount = 8
    """Maximum width of a masked band in mel channels."""
    mixup: NonNegative = 0.0
    """Mix windows or images in pairs, with weights from a beta distribution with this α; 0.1 to 0.4 are
    usual, 0 is off."""
    crop: Annotated[int, Between(0, 64)] = 0
    """Of images: add so many pixels of zeros at each side, then crop to the size at random; 4 is usual for
    CIFAR."""
    flip: bool = False
    """Of images: mirror half of them, left to right."""
    least_area: Annotated[float, Between(0.01, 1)] = 0.08
    """Of images in folders, also by default: smallest fraction of its area that is cut out of an image at
    random and resized (Szegedy et al. 2015). With 1 the centre is cut out, as in evaluation."""

    def __post_init__(self) -> None:
        check_ranges(self, "augmentation.")
        low, high = self.noise_snr_db
        self.noise_snr_db = (low, high)
        if low > high:
            raise ValueError(
                f"augmentation.noise_snr_db must be lowest and highest, but is {low:g}, {high:g}"
            )

    @property
    def draws(self) -> bool:
        """Whether a batch needs random numbers besides those that place its windows."""
        settings = (self.gain_db, self.noise, self.time_masks, self.frequency_masks, self.mixup, self.crop)
        return any(settings) or self.flip


@dataclass
class TrainingSettings:
    """How long to train, and how fast to learn."""

    steps: PositiveCount = 1_000_000
    """Number of steps of the optimiser."""
    batch_size: BatchSize = 256
    """Number of windows or images in a batch, over all devices. A step takes one batch, or as many as
    trainer.accumulate_grad_batches says."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """What takes the steps: Adam, or stochastic gradient descent."""
    momentum: Annotated[float, Between(0, 0.9999)] = 0.9
    """Momentum of sgd."""
    weight_decay: NonNegative = 0.0
    """Decay of the weights of convolutions and linear layers; strides, biases and normalisations have none.
    For sgd it is added to the gradient, times the weight; for adam it is decoupled (Loshchilov and Hutter
    2019)."""
    learning_rate: NonNegative = 1e-4
    """Learning rate of the weights."""
    stride_learning_rate: NonNegative | None = None
    """Learning rate of the strides; by default that of the trunk's weights. With a small one strides hardly
    move."""
    init_from: str | None = None
    """Begin with the weights of a trained model: a run folder, a checkpoint file or a model folder. Settings
    of model that are not given are then those of that model. Short: --init_from."""
    freeze_trunk: bool = False
    """Train the heads only: frontend, normalisation and trunk stay as they are, with their strides, ramps and
    running statistics. Needs training.init_from."""
    trunk_learning_rate: NonNegative | None = None
    """Learning rate of the weights of frontend and trunk, if they begin with those of a trained model; by
    default training.learning_rate, which the heads have."""
    schedule: Literal["constant", "one_cycle", "steps"] = "constant"
    """Keep the learning rates constant; let them rise for 30 % of the steps and then fall to zero (one_cycle,
    Smith 2018); or multiply them by training.decay at each of training.decay_at (steps)."""
    decay_at: Sequence[Fraction] = (0.5, 0.75)
    """Of the schedule steps: when to lower the learning rates, as fractions of the steps."""
    decay: Fraction = 0.1
    """Of the schedule steps: factor by which learning rates are multiplied each time."""
    task_weights: dict[str, NonNegative] = field(default_factory=dict)
    """Weight of each task's loss; 1 for tasks that are not named."""
    complexity: NonNegative = 0.0
    """Weight λ of the cost regulariser J (paper eq. 6). It makes strides grow."""
    budget: Positive | None = None
    """Multiply-accumulates per second of sound (of images: per image) that the trained network costs: a
    number such as 30e6, or if it is at most 1, a share of what the network costs at its initial strides.
    Strides are learned under this limit for 40 % of the steps, and are constants from then on. (default: no
    limit)"""
    budget_on: Literal["both", "strides"] = "both"
    """What training.budget is spent on: both, strides and channels, so that all numbers of channels are
    multiplied by one factor before training; or strides alone. A network that training.init_from names keeps
    its channels."""
    smoothness_from: Smoothness | None = None
    """Smoothness at the start of training. It narrows to model.smoothness over the first half of the steps. A
    wide ramp gives the strides a clearer gradient, a narrow one makes feature maps smaller. Has no effect
    unless it is larger than model.smoothness, nor if the trunk is frozen."""
    freeze_strides_after: Count | None = None
    """Number of steps after which strides no longer change. Feature maps then keep their sizes, once the ramp
    has its final width. By default strides always learn."""
    compile: bool = False
    """Compile the network with torch.compile. This pays off if feature maps keep their sizes, or have few
    sizes: set freeze_strides_after or model.multiple."""
    validate_every: PositiveCount = 2000
    """Number of steps between validations; each validation saves a checkpoint."""
    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    """Seed of the initial weights and of the choice of windows."""

    def __post_init__(self) -> None:
        self.decay_at = tuple(self.decay_at)
        check_ranges(self, "training.")
        if self.smoothness_from is not None and self.compile:
            raise ValueError(
                "training.smoothness_from changes the network at each step, which cannot be compiled: "
                "leave it or training.compile out"
            )
        if self.budget is not None and self.freeze_trunk:
            raise ValueError(
                "training.freeze_trunk keeps the strides as they are: leave it or training.budget out"
            )
        if self.budget is not None and self.complexity > 0:
            raise ValueError("training.complexity also limits the cost: leave it or training.budget out")


@dataclass
class Recipe:
    """All settings of a run."""

    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    trainer: dict[str, PlainValue] = field(default_factory=dict)
    """Arguments of Lightning's Trainer, for instance --trainer.devices 2."""
    frontend: FrontendSettings = field(default_factory=FrontendSettings)

    def __post_init__(self) -> None:
        check_trainer_arguments(self.trainer)
        check_input_settings(self)
        initial = self.training.smoothness_from
        if self.model.ramp == "relative" and initial is not None and initial > 1:
            raise ValueError(
                f"training.smoothness_from is a fraction of the output length if model.ramp is relative, "
                f"but is {initial:g}: give it another value, or null"
            )


@dataclass
class PrepareSettings:
    """How sound files are packed into a prepared corpus."""

    sample_rate: SampleRate = 16000
    """Sample rate of the prepared corpus in Hz."""
    bad: Annotated[float, Between(0, 100)] = 1.0
    """Percentage of the files that may be unusable; if more are, preparing fails."""
    longest: NonNegative = 3600.0
    """Length in seconds above which a file counts as unusable."""
    workers: PositiveCount | None = None
    """Number of processes; by default one per core, or fewer for a small corpus."""

    def __post_init__(self) -> None:
        check_ranges(self, "--")
