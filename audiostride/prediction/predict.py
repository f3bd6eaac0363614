"""What `Classifier.predict` and `Classifier.stream` do: label files, arrays, and sound as it comes in."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from audiostride.audio_file import BadSoundError, resample, to_int16
from audiostride.prediction.batches import (
    Function,
    Model,
    default_batch_size,
    device_of,
    evaluating,
    run,
)
from audiostride.prediction.labels import (
    RecentLogits,
    Row,
    chosen_labels,
    label_recordings,
    label_windows,
    most_probable,
)
from audiostride.prediction.reading import End, Item, read_files
from audiostride.prediction.sources import expand
from audiostride.prediction.windows import WindowCutter, consecutive_windows

logger = logging.getLogger(__name__)

AnyPath = str | os.PathLike[str]
Waveform = NDArray[Any] | Tensor


def predict(
    model: Model,
    sounds: AnyPath | Waveform | Sequence[AnyPath] | Sequence[Waveform],
    sample_rate: int | None = None,
    *,
    top: int = 1,
    hop: float | None = None,
    windows: bool = False,
    tasks: Sequence[str] | None = None,
    batch_size: int | None = None,
    skip_bad: bool = False,
) -> list[Row]:
    """Label sounds; see `Classifier.predict`."""
    if top < 1:
        raise ValueError(f"top must be at least 1, but is {top}")

    def on_fault(fault: BadSoundError) -> None:
        if not skip_bad:
            raise fault
        logger.warning(f"{fault}; left out")

    labels = chosen_labels(model.labels, tasks)
    files, items = _open(model, sounds, sample_rate, hop_samples(model, hop))
    results = run(logits_of(model, labels), items, *batch_options(model, batch_size))
    if windows:
        return list(label_windows(results, files, labels, top, on_fault, model.sample_rate))
    return list(label_recordings(results, files, labels, top, on_fault))


def window_samples(model: Model) -> int:
    """Return the number of samples of a model's windows."""
    return round(model.window_s * model.sample_rate)


def hop_samples(model: Model, hop: float | None) -> int | None:
    """Return a hop in samples; None for the consecutive windows of the evaluation.

    Raises:
        ValueError: if the hop is not longer than 0, or longer than a window: sound would be left out.
    """
    if hop is None:
        return None
    if not 1 / model.sample_rate <= hop <= model.window_s:
        raise ValueError(
            f"the hop must be longer than 0 and at most one window ({model.window_s:g} s), but is {hop:g} s"
        )
    return round(hop * model.sample_rate)


def logits_of(model: Any, tasks: Iterable[str]) -> Function:
    """Return a function from waveforms to the logits of some tasks, in evaluation mode."""

    def function(waveform: Tensor) -> dict[str, Tensor]:
        with evaluating(model):
            logits = model(waveform)
        return {task: logits[task] for task in tasks}

    return function


@torch.no_grad()
def mean_over_windows(model: Any, waveform: Tensor) -> dict[str, Tensor]:
    """Return the logits (batch, classes) of each task, averaged over the windows of long waveforms.

    The windows are those of the evaluation, see `consecutive_windows`. Memory does not grow with the length,
    because the logits carry no gradient.

    Args:
        model: the classifier, in evaluation mode.
        waveform: (batch, samples).
    """
    window = window_samples(model)
    (count,), (first,) = consecutive_windows(np.array([waveform.shape[1]]), window)
    padded = pad(waveform, (-int(first), int(first + count * window) - waveform.shape[1]))
    windows = padded.unfold(1, window, window)
    at_once = max(1, default_batch_size(model.window_s, waveform.device) // len(waveform))
    sums: dict[str, Tensor] = {}
    for group in windows.split(at_once, 1):
        for task, logits in model(group.flatten(0, 1)).items():
            sums[task] = sums.get(task, 0) + logits.unflatten(0, group.shape[:2]).sum(1)
    return {task: total / int(count) for task, total in sums.items()}


def batch_options(model: Model, batch_size: int | None) -> tuple[int, torch.device]:
    """Return the number of windows per batch, by default one that suits the model's device, and the device.

    Raises:
        ValueError: if the number is below 1.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, but is {batch_size}")
    device = device_of(model)
    return batch_size or default_batch_size(model.window_s, device), device


def _open(
    model: Model, sounds: Any, sample_rate: int | None, hop: int | None
) -> tuple[Sequence[Any], Iterator[tuple[int, Item]]]:
    """Return the names of the recordings, which are numbers for waveforms, and their windows."""
    if isinstance(sounds, str | os.PathLike):
        sounds = [sounds]
    window = window_samples(model)
    if isinstance(sounds, Sequence) and all(isinstance(sound, str | os.PathLike) for sound in sounds):
        if sample_rate is not None:
            raise ValueError("files have their own sample rate: give sample_rate for waveforms only")
        paths = [path for sound in sounds for path in expand(os.fspath(sound))]
        return [str(path) for path in paths], read_files(paths, model.sample_rate, window, hop)
    waveforms = _as_rows(sounds)
    rate = model.sample_rate if sample_rate is None else sample_rate
    return range(len(waveforms)), _cut(waveforms, rate, model.sample_rate, window, hop)


def _as_rows(sounds: Any) -> list[NDArray[Any]]:
    """Return waveforms, each (samples,), from one array or several."""
    if isinstance(sounds, np.ndarray | Tensor):
        array = _as_array(sounds)
        if array.ndim == 2 and array.shape[1] <= 8 < array.shape[0]:
            raise ValueError(
                f"expected waveforms (samples,) or (batch, samples), but got shape {array.shape}, which "
                "looks like (samples, channels): average the channels first"
            )
        rows = [array] if array.ndim == 1 else list(array) if array.ndim == 2 else []
    else:
        rows = [_as_array(sound) for sound in sounds]
    for row in rows or [np.zeros((0, 0, 0))]:
        if row.ndim != 1 or not len(row):
            raise ValueError("expected waveforms (samples,) or (batch, samples) with at least one sample")
    return rows


def _as_array(samples: Any) -> NDArray[Any]:
    """Return samples as int16 or float32.

    Raises:
        ValueError: if they are of another type, or not finite.
    """
    array = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else np.asarray(samples)
    if array.dtype == np.int16:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"waveforms must be floating point or int16, but got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError("a waveform contains NaN or infinite values")
    return array.astype(np.float32, copy=False)


def _cut(
    waveforms: Sequence[NDArray[Any]], rate: int, new_rate: int, window: int, hop: int | None
) -> Iterator[tuple[int, Item]]:
    for number, waveform in enumerate(waveforms):
        samples = np.concatenate(list(_resampled([waveform], rate, new_rate)))
        cutter = WindowCutter(window, hop, len(samples))
        for windows in chain(cutter.push(samples), cutter.finish()):
            yield number, windows
        yield number, End()


def _resampled(chunks: Iterable[NDArray[Any]], rate: int, new_rate: int) -> Iterator[NDArray[Any]]:
    """Yield samples at another rate in their type, int16 or float32, which is that of the first chunk."""
    chunks = iter(chunks)
    first = next(chunks, None)
    if first is None:
        return
    if rate < 1:
        raise ValueError(f"the sample rate must be at least 1 Hz, but is {rate}")
    chunks = _of_type(chain([first], chunks), first.dtype)
    if rate == new_rate:
        yield from chunks
    elif first.dtype == np.int16:
        floats = (chunk.astype(np.float32) / np.float32(32768) for chunk in chunks)
        yield from map(to_int16, resample(floats, rate, new_rate))
    else:
        yield from resample(chunks, rate, new_rate)


def _of_type(chunks: Iterable[NDArray[Any]], dtype: Any) -> Iterator[NDArray[Any]]:
    for chunk in chunks:
        if chunk.ndim != 1 or chunk.dtype != dtype:
            raise ValueError(
                f"expected chunks (samples,) of {dtype}, as the first is, but got {chunk.dtype} of shape "
                f"{chunk.shape}"
            )
        yield chunk


def stream(
    model: Model,
    chunks: Iterable[Waveform],
    sample_rate: int | None = None,
    *,
    hop: float | None = None,
    smooth: float | None = None,
    top: int = 1,
    tasks: Sequence[str] | None = None,
) -> Iterator[Row]:
    """Label sound as it comes in; see `Classifier.stream`."""
    labels = chosen_labels(model.labels, tasks)
    hop = model.window_s / 2 if hop is None else hop
    cutter = WindowCutter(window_samples(model), hop_samples(model, hop))
    recent = RecentLogits(smoothed_windows(model.window_s if smooth is None else smooth, hop))
    batch_size, device = batch_options(model, None)
    function = logits_of(model, labels)
    rate = model.sample_rate if sample_rate is None else sample_rate
    pieces = _resampled(map(_as_array, chunks), rate, model.sample_rate)
    for windows in chain(chain.from_iterable(map(cutter.push, pieces)), cutter.finish()):
        for first in range(0, len(windows.begins), batch_size):
            rows = slice(first, first + batch_size)
            with torch.no_grad():
                logits = function(torch.from_numpy(windows.samples[rows]).to(device))
            values = {task: value.float().cpu().numpy() for task, value in logits.items()}
            for window, begin in enumerate(windows.begins[rows]):
                span = {"begin_s": float(begin / model.sample_rate)}
                span["end_s"] = float(windows.ends[rows][window] / model.sample_rate)
                for task, mean in recent.add({task: value[window] for task, value in values.items()}):
                    yield from most_probable(span, task, labels[task], mean, top)


def smoothed_windows(seconds: float, hop: float) -> int:
    """Return how many windows a hop apart begin within so many seconds, at least one."""
    return max(1, round(seconds / hop))
