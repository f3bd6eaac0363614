"""Where windows lie in a recording, and windows cut from samples that come in pieces."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

# Windows are cut in groups of at most this many bytes, so that memory does not grow with their overlap.
_GROUP_BYTES = 1 << 20


def consecutive_windows(
    lengths: NDArray[np.int64], window: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers and the begins of the consecutive windows of recordings: the paper's evaluation.

    The number of windows is the recording's length in windows, rounded, and at least one. The windows are
    centred on the recording; if they are longer than it, silence fills the rest.

    Args:
        lengths: (recordings,), samples of each recording.
        window: samples per window, ≥ 1.

    Returns:
        (recordings,), number of windows of each recording; and (recordings,), first sample of its first
        window, which is negative if the windows are longer than the recording.
    """
    counts = np.maximum(1, (lengths + window // 2) // window)
    return counts, (lengths - counts * window) // 2


class Windows(NamedTuple):
    """Windows of one recording.

    Attributes:
        samples: (windows, samples), zero where a window reaches over an end of the recording.
        begins: (windows,), first sample of each window that is inside the recording.
        ends: (windows,), sample after the last one that is inside the recording.
    """

    samples: NDArray[Any]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]


class WindowCutter:
    """Cuts windows from a recording that comes in pieces. It holds little more than one piece and one window.

    Without `hop`, the windows are those of `consecutive_windows`. With it, they begin at 0, hop, 2 · hop and
    so on, and the last one ends with the recording, so that every sample is in a window. A recording that is
    shorter than a window lies in the middle of one.

    Args:
        window: samples per window, ≥ 1.
        hop: samples from one window's begin to the next one's, from 1 to `window`; or None.
        length: samples of the recording, which windows without `hop` need in advance.
    """

    def __init__(self, window: int, hop: int | None = None, length: int | None = None) -> None:
        self.window, self.hop = window, hop or window
        self.count: int | None = None
        self.next = 0  # first sample of the next window
        if hop is None:
            assert length is not None
            counts, firsts = consecutive_windows(np.array([length]), window)
            self.count, self.next = int(counts[0]), int(firsts[0])
        self.cut = 0  # number of windows so far
        self.length = 0  # number of samples so far
        self.offset = min(self.next, 0)  # position of the buffer's first sample
        self.buffer: NDArray[Any] | None = None

    def push(self, samples: NDArray[Any]) -> Iterator[Windows]:
        """Yield the windows that these samples complete.

        Args:
            samples: (samples,), the next piece of the recording.
        """
        if self.buffer is None:
            self.buffer = np.zeros(-self.offset, samples.dtype)
        self.buffer = np.concatenate([self.buffer, samples])
        self.length += len(samples)
        group = max(1, _GROUP_BYTES // (self.window * self.buffer.itemsize))
        while (count := min(self._complete(), group)) > 0:
            begins = self.next + self.hop * np.arange(count)
            rows = sliding_window_view(self.buffer, self.window)[begins - self.offset]
            self.next += self.hop * count
            self.cut += count
            yield Windows(rows, begins.clip(min=0), begins + self.window)
        # The last window with a hop ends with the recording.
        kept = min(self.next, self.length - self.window) if self.count is None else self.next
        dropped = min(max(0, kept - self.offset), len(self.buffer))
        self.buffer = self.buffer[dropped:]
        self.offset += dropped

    def finish(self) -> Iterator[Windows]:
        """Yield the windows that are left at the end of the recording; none if it has no samples."""
        if not self.length:
            return
        if self.count is None:
            last_end = self.next - self.hop + self.window
            if not self.cut:
                yield self._padded((self.length - self.window) // 2)
            elif last_end < self.length:
                yield self._padded(self.length - self.window)
            return
        while self.cut < self.count:
            yield self._padded(self.next)
            self.next += self.hop
            self.cut += 1

    def _complete(self) -> int:
        """Return how many further windows the samples so far complete, ≤ 0 if none."""
        complete = (self.length - self.next - self.window) // self.hop + 1
        return complete if self.count is None else min(complete, self.count - self.cut)

    def _padded(self, begin: int) -> Windows:
        """Return the window that begins at `begin`, with zeros outside of the recording."""
        assert self.buffer is not None
        first, end = max(begin, 0), min(begin + self.window, self.length)
        samples = np.zeros((1, self.window), self.buffer.dtype)
        samples[0, first - begin : end - begin] = self.buffer[first - self.offset : end - self.offset]
        return Windows(samples, np.array([first]), np.array([end]))
