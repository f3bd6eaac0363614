"""A trained classifier as plain operations with constant strides, for exporters that see lengths as symbols.

`PlainClassifier` copies a classifier and replaces the modules that choose their operations by the length of
their input: the frontend and the layers that downsample. All other code is that of the classifier. Tests
compare both, and so does every export.
"""

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

import torch
from torch import Tensor, nn

from audiostride.errors import UserError
from audiostride.export.plain_frontends import plain_frontend
from audiostride.export.plain_layers import PlainDownsample
from audiostride.export.shown import KEPT, SPECTROGRAM, ShownSpectrograms
from audiostride.models.classifier import Classifier

# Name of the input, and the shortest and longest waveform in seconds.
WAVEFORM = "waveform"
SHORTEST_S, LONGEST_S = 0.1, 3600.0


def shortest_waveform(classifier: Classifier) -> int:
    """Return the samples of the shortest waveform of an export for any length: 0.1 s, or else two frames."""
    return max(round(SHORTEST_S * classifier.sample_rate), 2 * classifier.frontend.hop)


def fixed_length(classifier: Classifier, seconds: float | None) -> int | None:
    """Return a length in samples, or None for any length.

    Raises:
        UserError: if it is shorter than a frame of the classifier's frontend.
    """
    if seconds is None:
        return None
    samples, least = round(seconds * classifier.sample_rate), classifier.frontend.hop
    if samples < least:
        raise UserError(
            f"--seconds {seconds:g} is too short: the frames of this model are "
            f"{least / classifier.sample_rate:g} s apart"
        )
    return samples


def output_names(tasks: Sequence[str]) -> list[str]:
    """Return the name of each task's output: the task, with a suffix if the name is empty or taken.

    >>> output_names(["word", "waveform", ""])
    ['word', 'waveform_logits', 'logits']
    """
    names: list[str] = []
    for task in tasks:
        # Names of folders that are not UTF-8 have characters that a file cannot hold.
        name = task.encode(errors="replace").decode() or "logits"
        while name in names or name in (WAVEFORM, SPECTROGRAM, KEPT):
            name += "_logits"
        names.append(name)
    return names


class PlainClassifier(nn.Module):
    """A copy of a classifier in evaluation mode, for exporters; see the description of this module.

    Args:
        classifier: the classifier. It is not changed.
        samples: length of the waveforms in samples, or None if it may be any from 0.1 s.
        half: compute the network, but not the frontend, in half precision.
        also: names of `ShownSpectrograms` to return as well.

    Shape:
        (batch, samples), floating point in [−1, 1] or int16, to a dict: the logits (batch, classes) of each
        task in float32 under the name that `output_names` gives it, then the spectrograms of `also`.
    """

    def __init__(
        self,
        classifier: Classifier,
        samples: int | None = None,
        *,
        half: bool = False,
        also: Sequence[str] = (),
    ) -> None:
        super().__init__()
        plain = copy.deepcopy(classifier).eval().requires_grad_(False)
        frontend, frames = plain.frontend, None if samples is None else plain.frontend.frames(samples)
        self.samples, self.shortest = samples, shortest_waveform(classifier)
        self.names = [*output_names(list(classifier.labels)), *also]
        self.shown = ShownSpectrograms(plain, also, frames)
        usual_sizes = plain.trunk.sizes(*classifier.input_size(samples))
        longest = samples or round(LONGEST_S * classifier.sample_rate)
        plain.frontend = plain_frontend(frontend, samples, longest)  # type: ignore[assignment]
        for block, (time, mel) in zip(plain.trunk.separable_blocks(), usual_sizes, strict=False):
            fixed = None if samples is None else time
            block.time = PlainDownsample(block.time, fixed, time)  # type: ignore[assignment]
            block.frequency = PlainDownsample(block.frequency, mel, mel)  # type: ignore[assignment]
        self.classifier = plain.half() if half else plain
        self.classifier.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        features = self.classifier.features(waveform)
        outputs = self.classifier.classify(self.classifier.frontend.downsample(features))
        logits = [values.float() for values in outputs.values()]
        return dict(zip(self.names, [*logits, *self.shown(features)], strict=True))


def exported_program(plain: PlainClassifier, int16: bool = False) -> torch.export.ExportedProgram:
    """Return the operations of a plain classifier, for any batch.

    Args:
        plain: the plain classifier.
        int16: take int16 samples instead of float32.
    """
    dims = {0: torch.export.Dim("batch", min=1, max=65536)}
    samples = plain.samples
    if samples is None:
        shortest, longest = plain.shortest, round(LONGEST_S * plain.classifier.sample_rate)
        dims[1] = torch.export.Dim("samples", min=shortest, max=longest)
        samples = max(shortest, plain.classifier.sample_rate)
    example = torch.zeros(2, samples, dtype=torch.int16 if int16 else torch.float32)
    return torch.export.export(plain, (example,), dynamic_shapes=(dims,), strict=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what the exporters of torch and ONNX print and warn of: users can do nothing about it."""
    silent = logging.NullHandler()
    disabled = logging.root.manager.disable
    logging.root.addHandler(silent)  # without a handler, logging.warning would add one that stays
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        logging.root.removeHandler(silent)
