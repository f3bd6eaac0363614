"""Many recordings in flat memory, and windows cut from them by one gather."""

from dataclasses import dataclass

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

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.ends - self.begins

    def cut(self, chosen: NDArray[np.int64], begins: NDArray[np.int64], length: int) -> Tensor:
        """(windows, length), int16: one window from each chosen recording.

        `begins` counts from the recording's first sample; what lies outside the recording is silence.
        """
        first = self.begins[chosen] + begins
        sizes = np.array([len(flat) for flat in self.maps])[self.map_of[chosen]]
        whole = (first >= 0) & (first + length <= sizes)
        windows = torch.zeros(len(chosen), length, dtype=torch.int16)
        for number, flat in enumerate(self.maps):
            rows = np.flatnonzero(whole & (self.map_of[chosen] == number))
            if len(rows) == 0:
                continue
            # One gather, whose rows are copied as blocks of memory.
            every = torch.from_numpy(flat).unfold(0, length, 1)
            gathered = every.index_select(0, torch.from_numpy(first[rows]))
            if len(rows) == len(chosen):
                windows = gathered
            else:
                windows[torch.from_numpy(rows)] = gathered
        for row in np.flatnonzero(~whole):  # the few that reach over either end of a map
            flat = self.maps[self.map_of[chosen[row]]]
            low, high = np.clip([first[row], first[row] + length], 0, len(flat))
            windows[row, low - first[row] : high - first[row]] = torch.from_numpy(flat[low:high])
        before = np.clip(-begins, 0, length)
        after = np.clip(begins + length - self.lengths[chosen], 0, length)
        return _silence(windows, torch.from_numpy(before), torch.from_numpy(after))


def _silence(windows: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Silence the first `before` and the last `after` samples of each window, in place."""
    length = windows.shape[1]
    if widest := int(before.max()):
        windows[:, :widest].masked_fill_(torch.arange(widest) < before[:, None], 0)
    if widest := int(after.max()):
        from_end = torch.arange(widest, 0, -1)
        windows[:, length - widest :].masked_fill_(from_end <= after[:, None], 0)
    return windows
