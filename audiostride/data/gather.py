"""Many recordings in flat memory, and windows cut from them by one gather."""

import sys
import threading
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class _Recycled:
    """Memory of earlier batches. The system takes longer to hand out fresh megabytes than a gather takes to
    fill them.
    """

    def __init__(self) -> None:
        self.arrays: list[NDArray[np.int16]] = []
        self.lock = threading.Lock()

    def empty(self, rows: int, length: int) -> Tensor:
        """(rows, length), int16, of memory that no tensor uses any more, or else of new memory."""
        with self.lock:
            for array in self.arrays:
                # Held by the list, the loop and the count itself; a tensor of it would be one more.
                if array.shape == (rows, length) and sys.getrefcount(array) == 3:
                    return torch.from_numpy(array)
            array = np.empty((rows, length), dtype=np.int16)
            self.arrays = [*self.arrays[-3:], array]
            return torch.from_numpy(array)


_recycled = _Recycled()


@dataclass(frozen=True)
class Sounds:
    """Recordings that lie one after another in memory, or in the maps of several files.

    Attributes:
        maps: (samples,) each, int16.
        map_of: (recordings,), which map holds a recording.
        begins: (recordings,), its first sample there.
        ends: (recordings,), the sample after its last.
    """

    maps: tuple[NDArray[np.int16], ...]
    map_of: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    @cached_property
    def flats(self) -> tuple[Tensor, ...]:
        """The maps as tensors, which nothing writes to."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return tuple(map(torch.from_numpy, self.maps))

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        return self.ends - self.begins

    def cut(self, chosen: NDArray[np.int64], begins: NDArray[np.int64], length: int) -> Tensor:
        """(windows, length), int16: one window from each chosen recording, quickest in the order of the maps.

        `begins` counts from the recording's first sample; what lies outside the recording is silence.
        """
        windows = self._gather(self.map_of[chosen], self.begins[chosen] + begins, length)
        before = np.clip(-begins, 0, length)
        after = np.clip(begins + length - self.lengths[chosen], 0, length)
        return _silence(windows, before, after)

    def _gather(self, maps: NDArray[np.int64], firsts: NDArray[np.int64], length: int) -> Tensor:
        """(windows, length), from sample `firsts` of its map on; what a map does not have is silence."""
        windows = _recycled.empty(len(firsts), length)
        for number in np.unique(maps).tolist():
            rows, flat = np.flatnonzero(maps == number), self.flats[number]
            if len(flat) >= length:
                _copy_rows(flat, np.clip(firsts[rows], 0, len(flat) - length), windows, rows)
            over = (firsts[rows] < 0) | (firsts[rows] + length > len(flat))
            for row in rows[over]:  # the few at either end of a map
                first = int(firsts[row])
                low, high = np.clip([first, first + length], 0, len(flat))
                windows[row] = 0
                windows[row, low - first : high - first] = flat[low:high]
        return windows


def _copy_rows(flat: Tensor, firsts: NDArray[np.int64], windows: Tensor, rows: NDArray[np.int64]) -> None:
    """Fill some rows by one gather, which copies each as a block of memory."""
    every, wanted = flat.unfold(0, windows.shape[1], 1), torch.from_numpy(firsts)
    if rows[-1] - rows[0] + 1 == len(rows):
        torch.index_select(every, 0, wanted, out=windows[rows[0] : rows[-1] + 1])
    else:
        windows[torch.from_numpy(rows)] = every.index_select(0, wanted)


def _silence(windows: Tensor, before: NDArray[np.int64], after: NDArray[np.int64]) -> Tensor:
    """Silence the first `before` and the last `after` samples of each window, in place."""
    rows, length = windows.numpy(), windows.shape[1]
    if widest := int(before.max()):
        rows[:, :widest] *= np.arange(widest, dtype=np.int32) >= before.astype(np.int32)[:, None]
    if widest := int(after.max()):
        from_end = np.arange(widest, 0, -1, dtype=np.int32)
        rows[:, length - widest :] *= from_end > after.astype(np.int32)[:, None]
    return windows
