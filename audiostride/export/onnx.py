"""ONNX files of trained classifiers: written, described by metadata, and compared with PyTorch."""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from audiostride import __version__
from audiostride.analysis.cutoffs import has_low_pass, stride_table
from audiostride.errors import UserError
from audiostride.export.check import LARGEST_DIFFERENCE, check_sounds, largest_difference
from audiostride.export.plain import SHORTEST_S, PlainClassifier
from audiostride.files import replace_when_complete
from audiostride.models.classifier import Classifier

WAVEFORM = "waveform"
Also = Literal["spectrogram", "kept"]
# torch's exporter writes this version without converting it, and onnxruntime-web runs it.
_OPSET = 18
_LONGEST_S = 3600


def export_onnx(
    classifier: Classifier,
    path: Path,
    *,
    seconds: float | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    int16: bool = False,
    also: Sequence[Also] = (),
    sounds: Sequence[Tensor] = (),
) -> float:
    """Write a classifier as one ONNX file, after comparing it with PyTorch in ONNX Runtime.

    The input is `waveform` (batch, samples), of any batch and any length from 0.1 s. The outputs are the
    logits (batch, classes) of each task in float32, named after the task, as `output_names` says. They are
    those of `classifier(waveform)` for the whole waveform.

    Metadata: "labels" (JSON, from task to its labels), "outputs" (JSON, from task to the name of its output),
    "sample_rate" in Hz, "window_s" (seconds of the windows that it was trained on), "cutoffs" (JSON, rows of
    `stride_table`) and "audiostride" (the version).

    Args:
        classifier: the classifier. It is not changed.
        path: the file to write or replace. Its folder exists.
        seconds: length of the waveforms, if it is to be fixed; resampling matrices then become constants.
        dtype: "float16" computes the network, but not the frontend, in half precision.
        int16: take int16 samples instead of float32 in [−1, 1].
        also: further outputs, (batch, time, mel) each, see `ShownSpectrograms`: "spectrogram" is the natural
            logarithm of the power in mel channels, "kept" what the first layer's low-pass leaves of it. Only
            DiffStride and spectral pooling have a low-pass.
        sounds: waveforms (samples,) to compare on, besides noise.

    Returns:
        The largest difference of the logits between ONNX Runtime and PyTorch.

    Raises:
        UserError: if onnx, onnxscript or onnxruntime is missing, or if the difference is above 1e-4. The file
            is not written then.
        ValueError: if "kept" is asked for, but the classifier has no low-pass.
    """
    require("onnx", "onnxscript", "onnxruntime")
    if "kept" in also and not has_low_pass(classifier):
        raise ValueError(f"{classifier.trunk.downsampling} downsampling has no low-pass to show")
    samples = None if seconds is None else round(seconds * classifier.sample_rate)
    model = _model(classifier, samples, dtype, int16, also)
    with replace_when_complete(path) as new:
        new.write_bytes(model.SerializeToString())
        waveforms = check_sounds(classifier, samples, sounds)
        difference = largest_difference(classifier, new, waveforms, int16)
        if not difference <= LARGEST_DIFFERENCE:
            raise UserError(
                f"{path} was not written: its logits in ONNX Runtime differ from PyTorch's by "
                f"{difference:.1g}, more than {LARGEST_DIFFERENCE:g}"
            )
    return difference


def require(*packages: str) -> None:
    """Raise `UserError` if a package of the extra `export` is missing."""
    from importlib.util import find_spec

    if missing := [package for package in packages if find_spec(package) is None]:
        raise UserError(f"this needs {' and '.join(missing)}: install with pip install 'audiostride[export]'")


def output_names(tasks: Sequence[str], taken: Sequence[str] = (WAVEFORM, "spectrogram", "kept")) -> list[str]:
    """Return the name of each task's output: the task, with a suffix if the name is empty or taken.

    >>> output_names(["word", "waveform", ""])
    ['word', 'waveform_logits', 'logits']
    """
    names: list[str] = []
    for task in tasks:
        # Names of folders that are not UTF-8 have characters that a file cannot hold.
        name = task.encode(errors="replace").decode() or "logits"
        while name in names or name in taken:
            name += "_logits"
        names.append(name)
    return names


def metadata(classifier: Classifier) -> dict[str, str]:
    """Return the metadata of an exported classifier, see `export_onnx`."""
    frames = round(classifier.window_s * classifier.sample_rate) // classifier.frontend.hop
    names = output_names(list(classifier.labels))
    return {
        "labels": json.dumps(classifier.labels),
        "outputs": json.dumps(dict(zip(classifier.labels, names, strict=True))),
        "sample_rate": str(classifier.sample_rate),
        "window_s": f"{classifier.window_s:g}",
        "cutoffs": json.dumps(stride_table(classifier, frames)),
        "audiostride": __version__,
    }


def exported_program(
    plain: PlainClassifier, samples: int | None, sample_rate: int, int16: bool = False
) -> torch.export.ExportedProgram:
    """Return the operations of a plain classifier, for any batch, and any length unless it is fixed."""
    example = torch.zeros(2, samples or sample_rate, dtype=torch.int16 if int16 else torch.float32)
    lengths = torch.export.Dim("samples", min=round(SHORTEST_S * sample_rate), max=_LONGEST_S * sample_rate)
    dynamic = {0: torch.export.Dim("batch", min=1, max=65536)} | ({1: lengths} if samples is None else {})
    return torch.export.export(plain, (example,), dynamic_shapes=(dynamic,), strict=False)


def _model(classifier: Classifier, samples: int | None, dtype: str, int16: bool, also: Sequence[Also]) -> Any:
    """Return the classifier as a ModelProto."""
    import onnx_ir

    plain = PlainClassifier(classifier, samples, half=dtype == "float16", also=also)
    names = [*output_names(list(classifier.labels)), *also]
    with _quiet():
        program = torch.onnx.export(
            exported_program(plain, samples, classifier.sample_rate, int16),
            dynamo=True,
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    graph = program.model.graph
    for number, value in enumerate(value for node in graph for value in node.outputs):
        value.name = f"value_{number}"  # the names of inputs and outputs are then free
    for node in graph:
        node.metadata_props.clear()  # the lines of code that the operations come from
    (waveform,) = graph.inputs
    waveform.name = WAVEFORM
    waveform.shape = onnx_ir.Shape(["batch", samples or "samples"])
    for value, name in zip(graph.outputs, names, strict=True):
        value.name = name
        value.shape = onnx_ir.Shape(
            ["batch", *(["frames", value.shape[2]] if name in also else value.shape[1:])]
        )
    program.model.metadata_props.update(metadata(classifier))
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch's exporter prints and warns of from the user, who can do nothing about it."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
