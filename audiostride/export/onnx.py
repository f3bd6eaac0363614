"""ONNX files of classifiers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from audiostride.errors import UserError
from audiostride.export.check import Difference, as_int16, check, check_sounds, compare, onnx_runner
from audiostride.export.metadata import metadata
from audiostride.export.packages import require
from audiostride.export.plain import PlainClassifier, exported_program, fixed_length, quiet
from audiostride.export.quantise import quantise
from audiostride.export.shown import shown_names
from audiostride.files import replace_when_complete
from audiostride.models.classifier import Classifier

Precision = Literal["float32", "float16", "int8"]
# torch's exporter writes this version without converting it, and onnxruntime-web runs it.
_OPSET = 18
_LARGEST_BYTES = 2e9


def export_onnx(
    classifier: Classifier,
    path: Path,
    *,
    seconds: float | None = None,
    precision: Precision = "float32",
    int16: bool = False,
    also: Sequence[str] = (),
    sounds: Sequence[Tensor] = (),
    calibration: Sequence[Tensor] = (),
) -> dict[str, Difference]:
    """Write a classifier as one ONNX file, after comparing it with PyTorch in ONNX Runtime.

    The input is `waveform` (batch, samples), of any batch and any length from 0.1 s to an hour. The outputs
    are the logits (batch, classes) of each task in float32, named after the task (see `output_names`). They
    are those of the whole waveform. `classifier(waveform)` gives the same up to 60 s; it splits longer
    waveforms into windows. Of a classifier of images, the input is `image` (batch, colours, height, width)
    in [0, 1], of a fixed size. The file's metadata is that of `metadata`.

    Args:
        classifier: the classifier, in evaluation mode.
        path: the file to write or replace. Its folder exists.
        seconds: length of the waveforms, if it is to be fixed; resampling matrices then become constants.
        precision: "float16" and "int8" make the file smaller. The frontend stays in float32.
        int16: take int16 samples instead of float32 in [−1, 1].
        also: further outputs, (batch, time, channels) each, see `ShownSpectrograms`: "spectrogram" is the
            natural logarithm of the power in mel channels, or what the frontend makes instead of it; "kept"
            is what a low-pass leaves of it, see `low_pass`.
        sounds: waveforms (samples,), float32 in [−1, 1], or images, to compare on, besides noise.
        calibration: batches (batch, samples) or of images, of the same type, from the training data, which
            int8 needs.

    Returns:
        From task to the differences between ONNX Runtime and PyTorch.

    Raises:
        UserError: if a package is missing, if the network is too large for one file, if a fixed length is
            too short, or if the differences are too large (see `check`). The file is not written then.
        ValueError: if "kept" is asked for, but the classifier has no low-pass; if int8 gets no calibration.
    """
    require("onnx", "onnxscript", "onnxruntime")
    if not set(also) <= set(shown_names(classifier)):
        raise ValueError("the classifier has no low-pass to show: ask for its spectrogram alone")
    if precision == "int8" and not calibration:
        raise ValueError("int8 needs waveforms to calibrate on")
    _check_size(classifier, path)
    samples = fixed_length(classifier, seconds)
    plain = PlainClassifier(classifier, samples, half=precision == "float16", also=also)
    model = _model(plain, int16)
    if precision == "int8":
        model = quantise(model, list(map(as_int16, calibration)) if int16 else calibration)
    for key, value in metadata(classifier).items():
        model.metadata_props.add(key=key, value=value)
    with replace_when_complete(path) as new:
        new.write_bytes(model.SerializeToString())
        differences = compare(classifier, onnx_runner(new), check_sounds(classifier, samples, sounds, int16))
        check(path, differences, precision)
    return differences


def _check_size(classifier: Classifier, path: Path) -> None:
    size = sum(parameter.nbytes for parameter in classifier.parameters())
    if size > _LARGEST_BYTES:
        raise UserError(
            f"{path} cannot hold the network's {size / 1e9:.1f} GB of weights: one ONNX file holds 2 GB; "
            "export it as .pt2"
        )


def _model(plain: PlainClassifier, int16: bool) -> Any:
    """Return a plain classifier as a ModelProto."""
    import onnx_ir

    with quiet():
        exported = exported_program(plain, int16)
        program = torch.onnx.export(exported, dynamo=True, opset_version=_OPSET, verbose=False)
    assert program is not None
    graph = program.model.graph
    for number, node in enumerate(graph):
        node.metadata_props.clear()  # the lines of code that the operation comes from
        for place, value in enumerate(node.outputs):
            value.name = f"value_{number}_{place}"  # frees the names of the outputs
    (taken,) = graph.inputs
    taken.name = plain.input_name
    taken.shape = onnx_ir.Shape(["batch", *(plain.shape or ("samples",))])
    for value, name in zip(graph.outputs, plain.names, strict=True):
        value.name = name
        assert value.shape is not None
        frames = ["frames"] * (len(value.shape) - 2)
        value.shape = onnx_ir.Shape(["batch", *frames, value.shape[-1]])
    return program.model_proto
