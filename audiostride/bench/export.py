"""Speed, size and accuracy of exported models beside PyTorch, on one core."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from audiostride.bench.settings import ExportBench
from audiostride.config.run_folder import check_runs, checkpoint_path
from audiostride.data.datamodule import WindowsModule
from audiostride.export.check import Runner, classifier_runner, compare, onnx_runner
from audiostride.export.onnx import export_onnx
from audiostride.export.packages import require
from audiostride.export.program import export_program, program_runner
from audiostride.export.recordings import accuracies, calibration_batches, open_corpora, windows_of_tests
from audiostride.models.classifier import Classifier
from audiostride.models.loading import read_checkpoint, restore
from audiostride.timing import in_turns, one_thread


@dataclass
class Form:
    """One form of a model.

    Attributes:
        runtime: what runs it.
        precision: "float32", "float16" or "int8".
        length: length of the waveforms in words.
        megabytes: size of its file, or of the weights in PyTorch.
        run: function that runs it.
    """

    runtime: str
    precision: str
    length: str
    megabytes: float
    run: Runner


def bench_export(settings: ExportBench) -> list[dict[str, Any]]:
    """Export models in several forms, and time them in turns on one waveform at a time.

    Returns:
        One row per model and form: milliseconds per second of sound on one core, how many times as fast as
        PyTorch that is, and megabytes of the file (in PyTorch of the weights). If the test recordings are at
        hand, also the largest difference of a logit from PyTorch, the lowest percentage of windows with the
        same label in any task, and the accuracy in percent averaged over tasks. int8 is left out if there are
        no training recordings to calibrate on.
    """
    check_runs(settings.runs)
    require("onnx", "onnxscript", "onnxruntime")
    with one_thread(), TemporaryDirectory() as folder:
        return [row for run in settings.runs for row in _rows(run, settings, Path(folder))]


def _rows(run: str, settings: ExportBench, folder: Path) -> list[dict[str, Any]]:
    path = checkpoint_path(Path(run))
    saved = read_checkpoint(path)
    classifier = restore(saved, path)
    data = open_corpora(run, saved) if classifier.sound_frontend else None
    assert data is None or isinstance(data, WindowsModule)
    forms = _forms(classifier, data, settings.seconds, folder)
    waveform = 0.1 * torch.randn(1, round(settings.seconds * classifier.sample_rate))
    times = in_turns(
        {number: partial(form.run, waveform) for number, form in enumerate(forms)}, settings.rounds
    )
    return [
        {
            "run": run,
            "runtime": form.runtime,
            "precision": form.precision,
            "length": form.length,
            "ms_per_second": times[number] / settings.seconds,
            "times_torch": times[0] / times[number],
            "megabytes": form.megabytes,
            **_scores(classifier, form, data, waveform.shape[1]),
        }
        for number, form in enumerate(forms)
    ]


def _forms(classifier: Classifier, data: WindowsModule | None, seconds: float, folder: Path) -> list[Form]:
    """Export a classifier in each form. PyTorch comes first."""
    weights = sum(parameter.nbytes for parameter in classifier.parameters())
    forms = [Form("PyTorch", "float32", "any", weights / 1e6, classifier_runner(classifier))]

    def add(runtime: str, write: Callable[..., Any], read: Callable[[Path], Runner], **options: Any) -> None:
        file = folder / f"model{len(forms)}"
        write(classifier, file, **options)
        length = f"{seconds:g} s" if "seconds" in options else "any"
        precision = options.get("precision", "float32")
        forms.append(Form(runtime, precision, length, file.stat().st_size / 1e6, read(file)))

    add("torch.export", export_program, program_runner)
    add("ONNX Runtime", export_onnx, onnx_runner)
    add("ONNX Runtime", export_onnx, onnx_runner, seconds=seconds)
    add("ONNX Runtime", export_onnx, onnx_runner, seconds=seconds, precision="float16")
    if data is not None:
        batches = calibration_batches(data, round(seconds * classifier.sample_rate))
        add("ONNX Runtime", export_onnx, onnx_runner, seconds=seconds, precision="int8", calibration=batches)
    return forms


def _scores(classifier: Classifier, form: Form, data: WindowsModule | None, samples: int) -> dict[str, Any]:
    """Return how one form differs from PyTorch on all test recordings, and its accuracy."""
    scores: dict[str, Any] = dict.fromkeys(("logit_difference", "same_label_percent", "accuracy_percent"))
    if data is None or len(data.select("test").recordings) == 0:
        return scores
    differences = compare(classifier, form.run, windows_of_tests(data, samples)).values()
    accuracy = accuracies(data, list(classifier.labels), form.run, samples)
    return {
        "logit_difference": max(difference.logits for difference in differences),
        "same_label_percent": 100 * min(difference.same_label for difference in differences),
        "accuracy_percent": sum(accuracy.values()) / len(accuracy),
    }
