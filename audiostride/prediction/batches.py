"""Windows of many recordings through a network, in full batches, while the next windows are read."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from audiostride.errors import UserError
from audiostride.prediction.reading import End, Item

# Seconds of sound in a batch by default: enough to keep all cores or a GPU busy, in little memory.
_BATCH_S = {"cuda": 256.0, "cpu": 32.0}


class Model(Protocol):
    """What labels sound: `Classifier`, or any other module with these attributes.

    Attributes:
        labels: dict from task to its labels.
        window_s: length in seconds of the windows that it was trained on.
    """

    labels: dict[str, list[str]]
    window_s: float

    @property
    def sample_rate(self) -> int:
        """Sample rate of its waveforms in Hz."""

    def __call__(self, waveform: Tensor) -> dict[str, Tensor]:
        """Return logits (batch, classes) of each task for waveforms (batch, samples)."""


Function = Callable[[Tensor], dict[str, Tensor]]


class Outputs(NamedTuple):
    """What a network returns for consecutive windows of one recording.

    Attributes:
        values: from name to (windows, values), float32.
        begins: (windows,), first sample of each window that is inside the recording.
        ends: (windows,), sample after the last one that is inside the recording.
    """

    values: dict[str, NDArray[Any]]
    begins: NDArray[Any]
    ends: NDArray[Any]


Result = Outputs | End


class _Span(NamedTuple):
    begins: NDArray[Any]
    ends: NDArray[Any]


class _Batch(NamedTuple):
    """Windows of one or several recordings: one row per window, and what the rows are, in their order."""

    waveform: Tensor | None
    parts: list[tuple[int, _Span | End]]


def default_batch_size(window_s: float, device: torch.device) -> int:
    """Return the number of windows per batch that suits a device."""
    return max(1, round(_BATCH_S["cuda" if device.type == "cuda" else "cpu"] / window_s))


def device_of(module: Any) -> torch.device:
    """Return the device of a module's parameters."""
    return next(module.parameters()).device


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Put a module into evaluation mode, and its parts back into theirs afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def run(
    function: Function, items: Iterable[tuple[int, Item]], batch_size: int, device: torch.device
) -> Generator[tuple[int, Result], None, None]:
    """Apply a function to the windows of recordings, in batches that may hold windows of several.

    While a GPU works on one batch, the next one is copied to it and the results of the one before are read.

    Args:
        function: from waveforms (batch, samples) to tensors (batch, values) by name.
        items: windows by the number of their recording, as `read_files` yields them.
        batch_size: windows per batch, ≥ 1; the last batch may be smaller.
        device: the device of the function.

    Yields:
        The number of a recording, and the outputs of some of its windows or its end.

    Raises:
        UserError: if there is not enough memory for a batch.
    """
    before: Iterator[tuple[int, Result]] = iter(())
    for batch in _batches(items, batch_size, device.type == "cuda"):
        results = _results(batch, *_launch(function, batch.waveform, device))
        yield from before
        before = results
    yield from before


def _batches(items: Iterable[tuple[int, Item]], batch_size: int, pinned: bool) -> Iterator[_Batch]:
    waveform: Tensor | None = None
    filled = 0
    parts: list[tuple[int, _Span | End]] = []
    for number, item in items:
        if isinstance(item, End):
            parts.append((number, item))
            continue
        samples = torch.from_numpy(item.samples)
        for begin in _starts(len(samples), batch_size, filled):
            if waveform is None:
                shape = (batch_size, samples.shape[1])
                waveform = torch.empty(shape, dtype=samples.dtype, pin_memory=pinned)
            rows = slice(begin, min(len(samples), begin + batch_size - filled))
            count = rows.stop - rows.start
            waveform[filled : filled + count] = samples[rows]
            parts.append((number, _Span(item.begins[rows], item.ends[rows])))
            filled += count
            if filled == batch_size:
                yield _Batch(waveform, parts)
                waveform, filled, parts = None, 0, []
    if parts:
        yield _Batch(None if waveform is None else waveform[:filled], parts)


def _starts(count: int, batch_size: int, filled: int) -> list[int]:
    """Return where rows are split that first complete a batch with `filled` rows and then fill others."""
    return [0, *range(batch_size - filled, count, batch_size)]


def _launch(
    function: Function, waveform: Tensor | None, device: torch.device
) -> tuple[dict[str, Tensor], torch.cuda.Event | None]:
    """Start the work on a batch. The outputs are on the host once the event, if any, has happened."""
    if waveform is None:
        return {}, None
    try:
        with torch.no_grad():
            outputs = function(waveform.to(device, non_blocking=True))
            host = {name: value.float().to("cpu", non_blocking=True) for name, value in outputs.items()}
    except (RuntimeError, MemoryError) as error:
        out_of_memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if out_of_memory or "allocate memory" in str(error):  # torch's message on a CPU
            raise UserError(
                f"there is not enough memory for a batch of {len(waveform)} windows: lower the batch size"
            ) from error
        raise
    if device.type != "cuda":
        return host, None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return host, event


def _results(
    batch: _Batch, host: dict[str, Tensor], event: torch.cuda.Event | None
) -> Iterator[tuple[int, Result]]:
    if event is not None:
        event.synchronize()
    first = 0
    for number, part in batch.parts:
        if isinstance(part, End):
            yield number, part
            continue
        rows = slice(first, first + len(part.begins))
        first = rows.stop
        yield number, Outputs({name: value[rows].numpy() for name, value in host.items()}, *part)
