"""Many recordings in flat memory, and windows cut from them by one gather."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Sounds:
    """Recordings that lie one after another in one or several arrays, for example memory-mapped files.

    Attributes:
        arrays: (samples,) each, int16.
        array_of: (recordings,), index of the array that holds each recording.
        begins: (recordings,), position of each recording's first sample in its array.
        ends: (recordings,), position after each recording's last sample.
    """

    arrays: tuple[NDArray[np.int16], ...]
    array_of: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The arrays as tensors that share their memory; nothing writes to them."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return tuple(map(torch.from_numpy, self.arrays))

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(recordings,), length of each recording in samples."""
        return self.ends - self.begins

    def cut(self, chosen: NDArray[np.int64], begins: NDArray[np.int64], length: int) -> Tensor:
        """Cut one window from each chosen recording. This is fastest if `chosen` is sorted by array.

        Args:
            chosen: (windows,), indices of recordings.
            begins: (windows,), first sample of each window, counted from the recording's first sample.
            length: samples per window.

        Returns:
            (windows, length), int16, zero where a window reaches over an end of its recording.
        """
        windows = self._gather(self.array_of[chosen], self.begins[chosen] + begins, length)
        missing_before = np.clip(-begins, 0, length)
        missing_after = np.clip(begins + length - self.lengths[chosen], 0, length)
        _silence_ends(windows, missing_before, missing_after)
        return windows

    def _gather(self, array_of: NDArray[np.int64], begins: NDArray[np.int64], length: int) -> Tensor:
        """Return (windows, length) samples from `begins` on, zero where a window leaves its array."""
        # NumPy asks for huge pages, so fresh memory costs less than from torch.empty.
        windows = torch.from_numpy(np.empty((len(begins), length), dtype=np.int16))
        for number in np.unique(array_of).tolist():
            rows, samples = np.flatnonzero(array_of == number), self.tensors[number]
            if len(samples) >= length:
                _copy_rows(samples, np.clip(begins[rows], 0, len(samples) - length), windows, rows)
            outside = (begins[rows] < 0) | (begins[rows] + length > len(samples))
            for row in rows[outside]:  # a few windows at either end of an array
                begin = int(begins[row])
                low, high = np.clip([begin, begin + length], 0, len(samples))
                windows[row] = 0
                windows[row, low - begin : high - begin] = samples[low:high]
        return windows


def _copy_rows(samples: Tensor, begins: NDArray[np.int64], windows: Tensor, rows: NDArray[np.int64]) -> None:
    """Fill `rows` of `windows` by one gather, which copies each row as a block of memory."""
    all_windows, indices = samples.unfold(0, windows.shape[1], 1), torch.from_numpy(begins)
    if rows[-1] - rows[0] + 1 == len(rows):
        torch.index_select(all_windows, 0, indices, out=windows[rows[0] : rows[-1] + 1])
    else:
        windows[torch.from_numpy(rows)] = all_windows.index_select(0, indices)


def _silence_ends(windows: Tensor, before: NDArray[np.int64], after: NDArray[np.int64]) -> None:
    """Set the first `before` and the last `after` samples of each window to zero, in place."""
    rows, length = windows.numpy(), windows.shape[1]
    if widest := int(before.max()):
        rows[:, :widest] *= np.arange(widest, dtype=np.int32) >= before.astype(np.int32)[:, None]
    if widest := int(after.max()):
        from_end = np.arange(widest, 0, -1, dtype=np.int32)
        rows[:, length - widest :] *= from_end > after.astype(np.int32)[:, None]
