"""The object that is trained, saved, loaded and used: frontend, trunk and one linear head per task."""

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiostride.errors import UserError
from audiostride.frontend import LogMel
from audiostride.models.separable_cnn import SeparableCNN
from audiostride.settings import ModelSettings

_PREFIX = "classifier."


class Classifier(nn.Module):
    """Waveforms to logits, for one task or several.

    Spectrograms are normalised per mel channel by a batch norm without weights, whose running mean and
    variance are saved with the model.

    Args:
        labels: of each task, in the order of its logits.
        settings: of the network and its downsampling.

    Shape:
        (batch, samples), floating point in [−1, 1] or int16 at `sample_rate`, to a dict from task to logits
        (batch, classes).

    Attributes:
        sample_rate: of the waveforms, in Hz.
        labels: from task to its labels.

    Raises:
        ValueError: for a task without labels, or settings that `SeparableCNN` refuses.
    """

    def __init__(self, labels: Mapping[str, Sequence[str]], settings: ModelSettings | None = None) -> None:
        super().__init__()
        self.labels = {task: list(names) for task, names in labels.items()}
        if not self.labels or not all(self.labels.values()):
            raise ValueError(f"a classifier needs at least one task, each with labels, but got {self.labels}")
        self.settings = settings or ModelSettings()
        self.frontend = LogMel()
        self.sample_rate = self.frontend.sample_rate
        self.normalise = nn.BatchNorm1d(self.frontend.mel_channels, affine=False)
        self.trunk = SeparableCNN(**asdict(self.settings))
        self.heads = nn.ModuleDict(
            {task: nn.Linear(self.trunk.embedding_size, len(names)) for task, names in self.labels.items()}
        )

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        embedding = self.embed(waveform)
        return {task: head(embedding) for task, head in self.heads.items()}

    def embed(self, waveform: Tensor) -> Tensor:
        """(batch, samples) to the trunk's embeddings (batch, channels[-1])."""
        spectrogram = self.normalise(self.frontend(waveform).mT).mT
        return self.trunk(spectrogram.unsqueeze(1))

    def configuration(self) -> dict[str, Any]:
        """What the constructor needs to build this model again, as plain values."""
        return {"labels": self.labels, "settings": asdict(self.settings)}


def load(run_or_file: str | os.PathLike[str], checkpoint: str = "best") -> Classifier:
    """The trained classifier of a run, in evaluation mode, on the CPU.

    Args:
        run_or_file: a run folder, or a checkpoint file.
        checkpoint: of a run folder, "best" or "last".

    Raises:
        UserError: where there is no checkpoint, or a file that is none of audiostride's.
    """
    path = checkpoint_path(Path(run_or_file), checkpoint)
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        configuration, weights = saved["classifier"], saved["state_dict"]
    except (KeyError, TypeError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} is not a checkpoint of audiostride, or a damaged one: train again"
        ) from error
    classifier = Classifier(configuration["labels"], ModelSettings(**configuration["settings"]))
    classifier.load_state_dict(
        {name.removeprefix(_PREFIX): value for name, value in weights.items() if name.startswith(_PREFIX)}
    )
    return classifier.eval()


def checkpoint_path(run_or_file: Path, checkpoint: str = "best") -> Path:
    """Where a run's checkpoint lies; a file stands for itself."""
    if run_or_file.is_file():
        return run_or_file
    if not run_or_file.is_dir():
        raise UserError(f"there is no run at {run_or_file}: give a run folder or a checkpoint file")
    path = run_or_file / "checkpoints" / f"{checkpoint}.ckpt"
    if not path.is_file():
        raise UserError(
            f"the run {run_or_file} has no checkpoint ({path.relative_to(run_or_file)} is missing): "
            "train it first, at least until the first validation"
        )
    return path
