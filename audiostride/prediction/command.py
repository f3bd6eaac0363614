"""What `audiostride predict` does: lines of text from files or from sound on standard input."""

import logging
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from audiostride.audio_file import BadSoundError
from audiostride.errors import UserError
from audiostride.layers import freeze_
from audiostride.prediction.batches import Model, Result, run
from audiostride.prediction.labels import Row, chosen_labels, label_recordings, label_windows
from audiostride.prediction.options import Device, PredictOptions, SoundOptions
from audiostride.prediction.output import as_lines, write_lines, write_tracks
from audiostride.prediction.predict import (
    batch_options,
    hop_samples,
    logits_of,
    smoothed_windows,
    stream,
    window_samples,
)
from audiostride.prediction.reading import End, read_files

logger = logging.getLogger(__name__)

# Bytes to read from standard input at a time; fewer if there are fewer.
_READ_BYTES = 1 << 16


def predict_files(model: Any, files: Sequence[Path], options: PredictOptions) -> Iterator[str]:
    """Label files and write the result to a file or folder, or yield its lines for standard output.

    A bad file is logged in one line, and the others are labelled.

    Raises:
        UserError: at the end, if there were bad files; at once, if the options do not suit the model.
    """
    labels = chosen_labels(model.labels, options.tasks)
    if options.format == "audacity" and options.out is None and (len(files) > 1 or len(labels) > 1):
        raise UserError(
            f"a label track holds one task of one file, but there are {len(files)} files and tasks "
            f"{', '.join(labels)}: give --out FOLDER, or one file and --tasks"
        )
    rows = _rows(model, files, labels, options)
    if options.out is None:
        yield from as_lines(rows, options.format or "table", options.wide)
        return
    if options.format == "audacity":
        write_tracks(rows, Path(options.out), files, len(labels) > 1)
    else:
        write_lines(as_lines(rows, options.format or "table", options.wide), Path(options.out))


def _rows(
    model: Any, files: Sequence[Path], labels: dict[str, list[str]], options: PredictOptions
) -> Iterator[Row]:
    hop = checked_hop(model, options.hop)
    faults = Faults()
    show = options.out is not None or options.format in ("table", "json") or not sys.stdout.isatty()
    results = run_on_files(model, files, logits_of(model, labels), options, show)
    names = [str(file) for file in files]
    if options.windows:
        smoothed = smoothed_windows(options.smooth or 0, (hop or window_samples(model)) / model.sample_rate)
        rate = model.sample_rate
        yield from label_windows(results, names, labels, options.top, faults.add, rate, smoothed)
    else:
        yield from label_recordings(results, names, labels, options.top, faults.add)
    faults.report(len(files))


class Faults:
    """Logs each bad file in one line, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, fault: BadSoundError) -> None:
        """Log the fault of a file."""
        self.count += 1
        with tqdm.external_write_mode(file=sys.stderr):
            logger.error(str(fault))

    def report(self, files: int) -> None:
        """Raise an error if there were bad ones among so many files."""
        if self.count:
            raise UserError(f"{self.count} of {files} files cannot be read; the messages above say why")


def run_on_files(
    model: Any, files: Sequence[Path], function: Any, options: SoundOptions, show_progress: bool
) -> Iterator[tuple[int, Result]]:
    """Yield the outputs of a function for the windows of files, and show progress on a terminal."""
    use_device(model, options.device)
    hop = checked_hop(model, options.hop)
    items = read_files(files, model.sample_rate, window_samples(model), hop)
    seconds = 0.0
    with tqdm(total=len(files), unit=" files", disable=None if show_progress else True) as bar:
        for number, result in run(function, items, *batch_options(model, options.batch_size)):
            if isinstance(result, End):
                bar.update()
            else:
                seconds += len(result.begins) * (hop or window_samples(model)) / model.sample_rate
                bar.set_postfix_str(f"{seconds / 3600:.2f} h of sound", refresh=False)
            yield number, result


def checked_hop(model: Model, hop: float | None) -> int | None:
    """Return a hop in samples, see `hop_samples`.

    Raises:
        UserError: if it is longer than a window.
    """
    try:
        return hop_samples(model, hop)
    except ValueError as error:
        raise UserError(f"{error}: change --hop") from error


def use_device(model: Any, device: Device) -> None:
    """Move a model that nothing else uses to a device.

    Raises:
        UserError: if there is no GPU, but one is asked for.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no GPU that torch can use: leave out --device, or give --device cpu")
    if device != "cpu" and torch.cuda.is_available():
        model.to("cuda")
    freeze_(model)  # so that no layer waits for a GPU to read its strides


def predict_stream(model: Any, source: BinaryIO, options: PredictOptions) -> Iterator[str]:
    """Yield lines for raw 16-bit samples as they come in.

    A table has one line per hop: begin and end in seconds, and for each task its labels with their
    probabilities.

    Args:
        model: the model.
        source: little-endian 16-bit mono samples.
        options: rate, hop, smoothing, top, tasks, format and device.

    Raises:
        UserError: if the options do not suit the model.
    """
    labels = chosen_labels(model.labels, options.tasks)
    if options.format == "audacity" and len(labels) > 1:
        raise UserError(f"a label track holds one task of {', '.join(labels)}: choose one by --tasks")
    checked_hop(model, options.hop)
    use_device(model, options.device)
    rows = stream(
        model,
        _read_chunks(source),
        options.rate,
        hop=options.hop,
        smooth=options.smooth,
        top=options.top,
        tasks=list(labels),
    )
    if options.format == "table":
        yield from _lines_per_hop(rows, [min(options.top, len(names)) for names in labels.values()])
    else:
        yield from as_lines(rows, options.format or "table", options.wide)


def _read_chunks(source: BinaryIO) -> Iterator[NDArray[np.int16]]:
    """Yield samples as soon as they are there. Standard input has `read1`, which returns what there is."""
    rest = b""
    while content := source.read1(_READ_BYTES):  # type: ignore[attr-defined]
        content = rest + content
        whole = len(content) // 2 * 2
        rest = content[whole:]
        yield np.frombuffer(content[:whole], "<i2").astype(np.int16)
    if rest:
        logger.warning("standard input ends within a sample: its last byte is left out")


def _lines_per_hop(rows: Iterator[Row], counts: Sequence[int]) -> Iterator[str]:
    """Yield a line for all rows of a hop, as soon as they are there.

    Args:
        rows: rows of one hop after another.
        counts: (tasks,), number of rows of each task in a hop.
    """
    for first in rows:
        following = chain([first], islice(rows, sum(counts) - 1))
        tasks = [list(islice(following, count)) for count in counts]
        texts = [" ".join(f"{row['label']} {row['probability']:.2f}" for row in task) for task in tasks]
        if len(tasks) > 1:
            texts = [f"{task[0]['task']}: {text}" for task, text in zip(tasks, texts, strict=True)]
        yield f"{first['begin_s']:8.2f} {first['end_s']:8.2f}  {'  '.join(texts)}"
