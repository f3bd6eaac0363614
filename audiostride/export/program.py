"""torch's exported programs of classifiers, in .pt2 files that torch alone can load."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from audiostride.export.check import Difference, Runner, check, check_sounds, compare
from audiostride.export.metadata import metadata
from audiostride.export.plain import PlainClassifier, exported_program, fixed_length, quiet
from audiostride.files import replace_when_complete
from audiostride.models.classifier import Classifier


def export_program(
    classifier: Classifier,
    path: Path,
    *,
    seconds: float | None = None,
    precision: Literal["float32", "float16"] = "float32",
    int16: bool = False,
    sounds: Sequence[Tensor] = (),
) -> dict[str, Difference]:
    """Write a classifier for ``torch.export.load(path).module()``, after comparing it with the classifier.

    The module takes waveforms (batch, samples) of any batch and any length from 0.1 s to an hour, or images
    of any batch and a fixed size. It returns a dict from the output's name (see `output_names`) to the logits
    (batch, classes) in float32. Each entry of `metadata` is an extra file of this name. Arguments, result and
    errors are those of `export_onnx`.
    """
    samples = fixed_length(classifier, seconds)
    plain = PlainClassifier(classifier, samples, half=precision == "float16")
    with quiet():
        program = exported_program(plain, int16)
        with replace_when_complete(path) as new:
            with new.open("wb") as file:
                torch.export.save(program, file, extra_files=metadata(classifier))
            waveforms = check_sounds(classifier, samples, sounds, int16)
            differences = compare(classifier, program_runner(new), waveforms)
            check(path, differences, precision)
    return differences


def program_runner(file: Path) -> Runner:
    """Open an exported program on the CPU."""
    with file.open("rb") as opened:
        module = torch.export.load(opened).module()
    return lambda waveform: list(module(waveform).values())
