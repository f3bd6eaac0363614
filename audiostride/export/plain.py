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
from audiostride.export.plain_layers import make_plain_
from audiostride.export.shown import KEPT, SPECTROGRAM, ShownSpectrograms
from audiostride.frontends.frontend import SoundFrontend
from audiostride.models.classifier import Classifier

# Names of inputs, and the shortest and longest waveform in seconds.
INPUTS = ("waveform", "image")
SHORTEST_S, LONGEST_S = 0.1, 3600.0


def shortest_waveform(classifier: Classifier) -> int:
    """Return the samples of the shortest waveform of an export for any length: 0.1 s, or else two frames."""
    frontend = classifier.sound_frontend
    return max(frontend.samples(SHORTEST_S), 2 * frontend.hop)


def fixed_length(classifier: Classifier, seconds: float | None) -> int | None:
    """Return a length in samples, or None for any length, and for images.

    Raises:
        UserError: if it is shorter than a frame of the classifier's frontend, or if the classifier takes
            images.
    """
    if seconds is None:
        return None
    frontend = classifier.sound_frontend
    samples, least = frontend.samples(seconds), frontend.hop
    if samples < least:
        raise UserError(
            f"--seconds {seconds:g} is too short: the frames of this model are "
            f"{least / frontend.sample_rate:g} s apart"
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
        while name in names or name in (*INPUTS, SPECTROGRAM, KEPT):
            name += "_logits"
        names.append(name)
    return names


class PlainClassifier(nn.Module):
    """A copy of a classifier in evaluation mode, for exporters; see the description of this module.

    Args:
        classifier: the classifier. It is not changed.
        samples: length of the waveforms in samples, or None if it may be any from 0.1 s. Images have a fixed
            size.
        half: compute the network, but not the frontend, in half precision.
        also: names of `ShownSpectrograms` to return as well.

    Shape:
        (batch, samples), floating point in [−1, 1] or int16, to a dict: the logits (batch, classes) of each
        task in float32 under the name that `output_names` gives it, then the spectrograms of `also`. Images
        (batch, colours, height, width), floating point in [0, 1], to the same.

    Attributes:
        shape: shape of an example, without the batch; None for waveforms of any length.
        shortest, longest: range of the lengths of waveforms in samples; 0 for images.
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
        frontend, frames = plain.frontend, None
        self.input_name, self.shortest, self.longest = frontend.input_name, 0, 0
        self.shape: tuple[int, ...] | None = None if samples is None else (samples,)
        if isinstance(frontend, SoundFrontend):
            frames = None if samples is None else frontend.frames(samples)
            self.shortest, self.longest = shortest_waveform(classifier), frontend.samples(LONGEST_S)
        else:
            self.shape = frontend.example_shape(classifier.window_s)
        self.names = [*output_names(list(classifier.labels)), *also]
        self.shown = ShownSpectrograms(plain, also, frames)
        plain.frontend = plain_frontend(frontend, samples, samples or self.longest)  # type: ignore[assignment]
        make_plain_(plain.trunk, classifier.input_size(samples), self.shape is not None)
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
    dims, shape = {0: torch.export.Dim("batch", min=1, max=65536)}, plain.shape
    if shape is None:
        dims[1] = torch.export.Dim("samples", min=plain.shortest, max=plain.longest)
        shape = (max(plain.shortest, plain.longest // round(LONGEST_S)),)  # about a second
    example = torch.zeros(2, *shape, dtype=torch.int16 if int16 else torch.float32)
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
