"""Windows of many sound files, decoded by several threads and returned in the order of the files.

Threads suffice, unlike in `audiostride prepare`: libsndfile, libsoxr and NumPy release Python's global lock,
and the device needs the windows in this process.
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from queue import Full, Queue
from threading import Event

import numpy as np
from numpy.typing import NDArray

from audiostride.audio_file import BadSoundError, SoundReader
from audiostride.machine import core_count
from audiostride.prediction.windows import WindowCutter, Windows

# Samples up to which a sound is read as a whole before its windows are cut.
_WHOLE = 1 << 20
# Groups of windows that each file has ready, and files that are read ahead per thread.
_GROUPS, _FILES_AHEAD = 4, 2
_POLL_S = 0.1  # interval in which a waiting thread checks whether it must stop


@dataclass(frozen=True)
class End:
    """The end of a recording.

    Attributes:
        fault: why the recording cannot be used from here on, or None.
    """

    fault: BadSoundError | None = None


Item = Windows | End


def read_files(
    paths: Sequence[Path], sample_rate: int, window: int, hop: int | None = None
) -> Generator[tuple[int, Item], None, None]:
    """Yield the windows of sound files, each file's in their order, followed by its end.

    A few windows per thread are in memory, whatever the number and the length of the files. A bad file ends
    with its fault, mostly before its first window; a file longer than a minute may have windows before it.

    Args:
        paths: the files.
        sample_rate: sample rate of the windows in Hz.
        window: samples per window.
        hop: see `WindowCutter`.

    Yields:
        The number of a file, and windows of it or its end.
    """
    threads = max(1, min(core_count(), len(paths)))
    stop = Event()

    def read(path: Path, queue: "Queue[Item | Exception]") -> None:
        try:
            for windows in _file_windows(path, sample_rate, window, hop):
                _put(queue, windows, stop)
                if stop.is_set():
                    return
            _put(queue, End(), stop)
        except BadSoundError as fault:
            _put(queue, End(fault), stop)
        except Exception as error:  # raised again by the thread that takes the windows
            _put(queue, error, stop)

    waiting = enumerate(paths)
    pending: deque[tuple[int, Queue[Item | Exception]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                for number, path in islice(waiting, threads * _FILES_AHEAD - len(pending)):
                    queue: Queue[Item | Exception] = Queue(_GROUPS)
                    pool.submit(read, path, queue)
                    pending.append((number, queue))
                if not pending:
                    return
                number, queue = pending.popleft()
                item: Item | Exception | None = None
                while not isinstance(item, End):
                    item = queue.get()
                    if isinstance(item, Exception):
                        raise item
                    yield number, item
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _put(queue: "Queue[Item | Exception]", item: Item | Exception, stop: Event) -> None:
    """Put an item into a queue as soon as there is room, or drop it once nobody takes items any more."""
    while not stop.is_set():
        with suppress(Full):
            queue.put(item, timeout=_POLL_S)
            return


def _file_windows(path: Path, sample_rate: int, window: int, hop: int | None) -> Iterator[Windows]:
    reader = SoundReader(path, sample_rate, accept_silence=True)
    blocks = iter(reader)
    if hop is not None:
        cutter = WindowCutter(window, hop)
    else:
        start, length = _read_start(blocks)
        if length is None:  # a long recording
            length = reader.length
        if length is None:  # its header does not say how long: read it twice
            length = sum(len(block) for block in SoundReader(path, sample_rate, accept_silence=True))
        cutter, blocks = WindowCutter(window, length=length), chain(start, blocks)
    for block in blocks:
        yield from cutter.push(block)
    if cutter.length == 0:
        raise BadSoundError(path, "contains no samples")
    if hop is None and cutter.length != length:
        raise BadSoundError(path, "has a wrong length in its header")
    yield from cutter.finish()


def _read_start(blocks: Iterator[NDArray[np.int16]]) -> tuple[list[NDArray[np.int16]], int | None]:
    """Return the first blocks of a sound; and its length in samples, if these are all of its blocks."""
    start, samples = [], 0
    for block in blocks:
        start.append(block)
        samples += len(block)
        if samples > _WHOLE:
            return start, None
    return start, samples
