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

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.ends - self.begins

    def cut(self, chosen: NDArray[np.int64], begins: NDArray[np.int64], length: int) -> Tensor:
        """(windows, length), int16: one window from each chosen recording.

        `begins` counts from the recording's first sample; what lies outside the recording is silence.
        """
        windows = self._gather(self.map_of[chosen], self.begins[chosen] + begins, length)
        before = np.clip(-begins, 0, length)
        after = np.clip(begins + length - self.lengths[chosen], 0, length)
        return _silence(windows, torch.from_numpy(before), torch.from_numpy(after))

    def _gather(self, maps: NDArray[np.int64], firsts: NDArray[np.int64], length: int) -> Tensor:
        """(windows, length), from sample `firsts` of its map on; what a map does not have is silence."""
        fits = (firsts >= 0) & (firsts + length <= np.array([len(flat) for flat in self.flats])[maps])
        if len(self.flats) == 1 and fits.all():
            return _rows(self.flats[0], firsts, length)
        windows = torch.empty(len(firsts), length, dtype=torch.int16)
        for number, flat in enumerate(self.flats):
            rows = np.flatnonzero(fits & (maps == number))
            if len(rows):
                windows[torch.from_numpy(rows)] = _rows(flat, firsts[rows], length)
        for row in np.flatnonzero(~fits):  # the few at either end of a map
            flat, first = self.flats[maps[row]], int(firsts[row])
            low, high = np.clip([first, first + length], 0, len(flat))
            windows[row] = 0
            windows[row, low - first : high - first] = flat[low:high]
        return windows


def _rows(flat: Tensor, firsts: NDArray[np.int64], length: int) -> Tensor:
    """One gather, whose rows are copied as blocks of memory."""
    return flat.unfold(0, length, 1).index_select(0, torch.from_numpy(firsts))


def _silence(windows: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Silence the first `before` and the last `after` samples of each window, in place."""
    length = windows.shape[1]
    if widest := int(before.max()):
        windows[:, :widest].masked_fill_(torch.arange(widest) < before[:, None], 0)
    if widest := int(after.max()):
        from_end = torch.arange(widest, 0, -1)
        windows[:, length - widest :].masked_fill_(from_end <= after[:, None], 0)
    return windows
