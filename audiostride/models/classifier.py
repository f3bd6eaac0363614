"""The object that is trained, saved, loaded and used: frontend, trunk and one linear head per task."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from audiostride.config.run_folder import checkpoint_path
from audiostride.config.settings import ModelSettings
from audiostride.errors import UserError
from audiostride.frontends.log_mel import LogMel
from audiostride.models.separable_cnn import SeparableCNN

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
        # In the order of `labels`: a ModuleDict would not take every name that a task may have.
        self.heads = nn.ModuleList(
            nn.Linear(self.trunk.embedding_size, len(names)) for names in self.labels.values()
        )

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        return self.classify(self.spectrogram(waveform))

    def embed(self, waveform: Tensor) -> Tensor:
        """(batch, samples) to the trunk's embeddings (batch, channels[-1])."""
        return self.trunk(self.spectrogram(waveform).unsqueeze(1))

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """(batch, samples) to normalised log-mel spectrograms (batch, time, mel)."""
        spectrogram = self.frontend(waveform).to(next(self.trunk.parameters()).dtype)
        return self.normalise(spectrogram.mT).mT

    def classify(self, spectrogram: Tensor) -> dict[str, Tensor]:
        """Normalised spectrograms (batch, time, mel) to a dict from task to logits (batch, classes)."""
        embedding = self.trunk(spectrogram.unsqueeze(1))
        return {task: head(embedding) for task, head in zip(self.labels, self.heads, strict=True)}

    def configuration(self) -> dict[str, Any]:
        """What the constructor needs to build this model again, as plain values."""
        settings = asdict(self.settings)
        if self.trunk.downsampling == "diffstride":
            settings["smoothness"] = self.trunk.window.smoothness  # which training may have begun wider
        return {"labels": self.labels, "settings": settings}


def load(run_or_file: str | os.PathLike[str], checkpoint: str = "best") -> Classifier:
    """The trained classifier of a run, in evaluation mode, on the CPU.

    Args:
        run_or_file: a run folder, or a checkpoint file.
        checkpoint: of a run folder, "best" or "last".

    Raises:
        UserError: where there is no checkpoint, or a file that is none of audiostride's.
    """
    path = checkpoint_path(Path(run_or_file), checkpoint)
    saved = read_checkpoint(path)
    weights = {
        name.removeprefix(_PREFIX): value
        for name, value in saved["state_dict"].items()
        if name.startswith(_PREFIX)
    }
    try:
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn in vain
            classifier = Classifier(
                saved["classifier"]["labels"], ModelSettings(**saved["classifier"]["settings"])
            )
        classifier.load_state_dict(weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} was written by another version of audiostride: train again") from error
    return classifier.eval()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """All that a checkpoint file holds, on the CPU.

    Raises:
        UserError: where it is none of audiostride's, or damaged.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved.keys() >= {"classifier", "state_dict"}:
            return saved
    except (AttributeError, EOFError, LookupError, TypeError, ValueError, RuntimeError, UnpicklingError):
        pass
    raise UserError(f"{path} is not a checkpoint of audiostride, or a damaged one")
