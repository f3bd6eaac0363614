"""A trained classifier as plain operations with constant strides, for exporters that see lengths as symbols.

`plain_classifier` copies a classifier and replaces the modules that choose their operations by the length of
their input: the frontend's Fourier transform and the layers that downsample. All other code is that of the
classifier. A test compares both, and so does every export.
"""

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

import torch
from torch import Tensor, nn

from audiostride.export.plain_frontends import PlainLogMel
from audiostride.export.plain_layers import PlainDownsample, Resampling, as_symbol
from audiostride.models.classifier import Classifier

# Name of the input, and the shortest and longest waveform in seconds.
WAVEFORM = "waveform"
SHORTEST_S, LONGEST_S = 0.1, 3600.0


def output_names(tasks: Sequence[str]) -> list[str]:
    """Return the name of each task's output: the task, with a suffix if the name is empty or taken.

    >>> output_names(["word", "waveform", ""])
    ['word', 'waveform_logits', 'logits']
    """
    names: list[str] = []
    for task in tasks:
        # Names of folders that are not UTF-8 have characters that a file cannot hold.
        name = task.encode(errors="replace").decode() or "logits"
        while name in names or name in (WAVEFORM, "spectrogram", "kept"):
            name += "_logits"
        names.append(name)
    return names


class ShownSpectrograms(nn.Module):
    """Spectrograms for people to look at, from the normalised spectrogram that a classifier's network sees.

    "spectrogram" is the natural logarithm of the power plus the frontend's offset. "kept" is what the first
    layer's low-pass leaves of it, see `analysis.listen`; here each waveform is one window, however long.

    Args:
        classifier: the classifier; for "kept" it has spectral pooling or DiffStride.
        names: "spectrogram", "kept" or both.
        frames: number of frames of the spectrograms, or None if it may be any.

    Shape:
        (batch, time, mel) to a list of tensors of the same shape, one for each name.
    """

    def __init__(self, classifier: Classifier, names: Sequence[str], frames: int | None) -> None:
        super().__init__()
        window, (mean, deviation) = classifier.trunk.window, classifier.channel_statistics()
        self.mean, self.deviation = nn.Buffer(mean[0].clone()), nn.Buffer(deviation[0].clone())
        self.names = tuple(names)
        if "kept" in names:
            time, mel = classifier.trunk.strides[0].tolist()
            self.low_pass = nn.Sequential(
                Resampling(time, window, -2, frames, keeps_length=True),
                Resampling(mel, window, -1, classifier.frontend.mel_channels, keeps_length=True),
            )

    def forward(self, normalised: Tensor) -> list[Tensor]:
        shown = (self.low_pass(normalised) if name == "kept" else normalised for name in self.names)
        return [spectrogram * self.deviation + self.mean for spectrogram in shown]


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
        frontend, frames = plain.frontend, None if samples is None else samples // plain.frontend.hop
        self.any_length = samples is None
        self.names = [*output_names(list(classifier.labels)), *also]
        self.shown = ShownSpectrograms(classifier, also, frames)
        usual = round(classifier.window_s * classifier.sample_rate) // frontend.hop
        usual_sizes = plain.trunk.sizes(frames or usual, frontend.mel_channels)
        plain.frontend = PlainLogMel(frontend)  # type: ignore[assignment]
        for block, (time, mel) in zip(plain.trunk.separable_blocks(), usual_sizes, strict=False):
            fixed = None if frames is None else time
            block.time = PlainDownsample(block.time, fixed, time)  # type: ignore[assignment]
            block.frequency = PlainDownsample(block.frequency, mel, mel)  # type: ignore[assignment]
        self.classifier = plain.half() if half else plain
        self.classifier.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        spectrogram = self.classifier.spectrogram(waveform)
        if self.any_length:
            frames = spectrogram.shape[2]
            length = torch.scalar_tensor(frames, dtype=torch.int64)
            spectrogram = spectrogram.narrow(2, 0, as_symbol(length, 10, frames))
        logits = [values.float() for values in self.classifier.classify(spectrogram).values()]
        return dict(zip(self.names, [*logits, *self.shown(spectrogram[:, 0].float())], strict=True))


def exported_program(
    plain: PlainClassifier, sample_rate: int, samples: int | None = None, int16: bool = False
) -> torch.export.ExportedProgram:
    """Return the operations of a plain classifier, for any batch.

    Args:
        plain: the plain classifier.
        sample_rate: sample rate in Hz.
        samples: length of the waveforms in samples, or None for any from 0.1 s to an hour.
        int16: take int16 samples instead of float32.
    """
    example = torch.zeros(2, samples or sample_rate, dtype=torch.int16 if int16 else torch.float32)
    shortest, longest = round(SHORTEST_S * sample_rate), round(LONGEST_S * sample_rate)
    dims = {0: torch.export.Dim("batch", min=1, max=65536)}
    if samples is None:
        dims[1] = torch.export.Dim("samples", min=shortest, max=longest)
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
