"""The command `audiostride export`: a run as a file or a page, checked on the recordings of its corpora."""

import logging
from pathlib import Path
from typing import Any

from audiostride.allocator import keep_freed_memory
from audiostride.config.run_folder import checkpoint_path
from audiostride.data.datamodule import CorpusModule
from audiostride.errors import UserError
from audiostride.export.check import Difference, classifier_runner, onnx_runner
from audiostride.export.onnx import Precision, export_onnx
from audiostride.export.page import write_page
from audiostride.export.plain import fixed_length, output_names
from audiostride.export.program import export_program
from audiostride.export.recordings import accuracies, calibration_batches, open_corpora, some_recordings
from audiostride.frontends.frontend import SoundFrontend
from audiostride.models.classifier import Classifier
from audiostride.models.loading import read_checkpoint, restore

logger = logging.getLogger(__name__)

# A loss of accuracy in percent points above which int8 gets a note.
_NOTEWORTHY_LOSS = 1.0


def export_run(
    run: str,
    file: Path,
    checkpoint: str = "best",
    seconds: float | None = None,
    precision: Precision = "float32",
    int16: bool = False,
) -> list[dict[str, Any]]:
    """Export a trained classifier to a .onnx or .pt2 file.

    Args:
        run: anything that `load` takes.
        file: the file to write or replace. Its folder is created if it is missing.
        checkpoint: "best" or "last", if `run` is a run folder.
        seconds: length of the waveforms in seconds, if it is to be fixed.
        precision: "float32", "float16" or "int8".
        int16: take int16 samples instead of float32.

    Returns:
        One row per task: the name of its output, its number of classes, the largest differences of logits and
        probabilities from PyTorch, the percentage of sounds with the same label, and for int8 the accuracy on
        the test split in float32 and in int8.

    Raises:
        UserError: if the run cannot be read, if int8 lacks recordings to calibrate on, if the exported model
            differs too much, or if an option for sound is given, but the model takes images.
    """
    classifier, data = _open(run, checkpoint)
    if int16:
        _ = classifier.sound_frontend
    samples = fixed_length(classifier, seconds)
    sounds = some_recordings(data, "test") if data else []
    file.parent.mkdir(parents=True, exist_ok=True)
    write = export_program if file.suffix == ".pt2" else export_onnx
    options: dict[str, Any] = {"seconds": seconds, "precision": precision, "int16": int16, "sounds": sounds}
    if precision == "int8":
        if data is None:
            raise UserError(
                f"int8 is calibrated on training {_noun(classifier)}, but the corpora of {run} are not at "
                "hand: run this command where the run was trained"
            )
        options["calibration"] = calibration_batches(data, samples)
    differences = write(classifier, file, **options)
    compared = _compared(classifier, len(sounds))
    logger.info(f"{file}: {file.stat().st_size / 1e6:.2g} MB, {compared}")
    rows = _rows(classifier, differences)
    if precision == "int8" and data:
        _add_accuracies(rows, classifier, data, file, samples, int16)
    return rows


def export_page(
    run: str, folder: Path, runtime: Path | None = None, checkpoint: str = "best"
) -> list[dict[str, Any]]:
    """Export a trained classifier as a page that runs it in the browser, see `write_page`.

    Returns:
        The rows of `export_run` in float32.

    Raises:
        UserError: if the run cannot be read, or as by `write_page`.
    """
    classifier, data = _open(run, checkpoint)
    _ = classifier.sound_frontend
    sounds = some_recordings(data, "test") if data else []
    differences = write_page(classifier, Path(run).resolve().name, folder, runtime, sounds)
    compared = _compared(classifier, len(sounds))
    logger.info(
        f"{folder}: {compared}; next: python -m http.server --directory {folder}, and open "
        "http://localhost:8000"
    )
    return _rows(classifier, differences)


def _open(run: str, checkpoint: str) -> tuple[Classifier, CorpusModule | None]:
    """Return the classifier of a run, and its corpora if they are at hand."""
    keep_freed_memory()
    path = checkpoint_path(Path(run), checkpoint)
    saved = read_checkpoint(path)
    return restore(saved, path), open_corpora(run, saved)


def _compared(classifier: Classifier, examples: int) -> str:
    if examples:
        besides = f" and {examples} test {_noun(classifier)}"
    else:
        besides = " and a synthesised voice" if isinstance(classifier.frontend, SoundFrontend) else ""
    return f"compared with PyTorch on noise{besides}"


def _noun(classifier: Classifier) -> str:
    return "recordings" if isinstance(classifier.frontend, SoundFrontend) else "images"


def _rows(classifier: Classifier, differences: dict[str, Difference]) -> list[dict[str, Any]]:
    names = output_names(list(classifier.labels))
    return [
        {
            "task": task,
            "output": name,
            "classes": len(classifier.labels[task]),
            "logit_difference": differences[task].logits,
            "probability_difference": differences[task].probabilities,
            "same_label_percent": 100 * differences[task].same_label,
        }
        for task, name in zip(classifier.labels, names, strict=True)
    ]


def _add_accuracies(
    rows: list[dict[str, Any]],
    classifier: Classifier,
    data: CorpusModule,
    file: Path,
    samples: int | None,
    int16: bool,
) -> None:
    """Add the accuracies of the classifier and of its int8 file on the test split, and note large losses."""
    tasks = list(classifier.labels)
    before = accuracies(data, tasks, classifier_runner(classifier), samples)
    after = accuracies(data, tasks, onnx_runner(file), samples, int16)
    for row in rows:
        task = row["task"]
        row["float32_percent"], row["int8_percent"] = before.get(task), after.get(task)
        if task in before and before[task] - after[task] > _NOTEWORTHY_LOSS:
            logger.warning(
                f"int8 loses {before[task] - after[task]:.1f} points of accuracy on the test "
                f"{_noun(classifier)} of {task}: float16 hardly loses any"
            )
