"""Sound files of any format, rate and channel count as mono 16-bit samples."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiostride.errors import UserError

# Samples per channel that are read at a time, so that memory does not grow with a file's rate and channels.
_BLOCK = 1 << 18
# Share of samples at full scale from which a recording counts as clipped.
_CLIPPED = 0.01
# What libsndfile notes of a file that ends too early; what is written to a pipe says a length near 2 ** 32.
_CUT_SHORT = re.compile(r"lacks an end-of-stream bit|not equal to frame count")
_DECLARED = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)


class BadSoundError(UserError):
    """A sound file that cannot be used.

    Attributes:
        reason: in the same words for all files with the same fault.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}: repair or remove it")
        self.reason = reason


@dataclass(frozen=True)
class Sound:
    """A sound in memory.

    Attributes:
        samples: (samples,), int16.
        clipped: whether over 1 % of the file's samples are at full scale.
    """

    samples: NDArray[np.int16]
    clipped: bool


def read_sound(path: Path, sample_rate: int = 16000, longest_s: float = math.inf) -> Sound:
    """Read a sound file whole, its channels averaged, resampled by libsoxr at high quality (a linear-phase
    low-pass with a stop band of 120 dB from the new Nyquist frequency on).

    Args:
        path: of a file in any format of libsndfile (WAV, FLAC, OGG, MP3, AIFF and others).
        sample_rate: of the result in Hz. 16-bit mono at this rate comes through bit for bit.
        longest_s: length in seconds above which a file is refused.

    Raises:
        BadSoundError: where it cannot be read, ends too early, is too long, or holds no samples, values that
            are no numbers, or nothing but silence.
    """
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if _ends_early(file):
                raise BadSoundError(path, "ends too early")
            exact = (file.channels, file.samplerate, file.subtype) == (1, sample_rate, "PCM_16")
            blocks = _limited(
                path, _blocks(file, "int16" if exact else "float32"), longest_s * file.samplerate
            )
            count = _Clipping()
            if exact:
                pieces = [count(block)[:, 0] for block in blocks]
            else:
                pieces = list(_resampled(path, map(count, blocks), file.samplerate, sample_rate))
            announced, read = file.frames, count.samples // file.channels
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        raise BadSoundError(path, "cannot be read as sound") from error
    if read == 0:
        raise BadSoundError(path, "holds no samples")
    if read < announced:
        raise BadSoundError(path, "ends too early")
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    if len(samples) == 0 or samples.min() == samples.max():
        raise BadSoundError(path, "is silent")
    return Sound(samples, count.clipped > _CLIPPED * count.samples)


class _Clipping:
    """Counts samples and those at full scale while blocks pass."""

    def __init__(self) -> None:
        self.samples = self.clipped = 0

    def __call__(self, block: NDArray) -> NDArray:
        full = 32767 if block.dtype == np.int16 else 32767 / 32768
        self.samples += block.size
        self.clipped += int(np.count_nonzero((block >= full) | (block <= -full)))
        return block


def _blocks(file: soundfile.SoundFile, kind: str) -> Iterator[NDArray]:
    """(frames, channels) each, until none is left: the header's count is not to be trusted."""
    while len(block := file.read(_BLOCK, dtype=kind, always_2d=True)):
        yield block


def _limited(path: Path, blocks: Iterator[NDArray], longest: float) -> Iterator[NDArray]:
    read = 0
    for block in blocks:
        read += len(block)
        if read > longest:
            raise BadSoundError(path, "is too long")
        yield block


def _resampled(path: Path, blocks: Iterator[NDArray], rate: int, sample_rate: int) -> Iterator[NDArray]:
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        if not np.isfinite(block).all():
            raise BadSoundError(path, "holds values that are no numbers")
        yield _int16(stream.resample_chunk(block.mean(axis=1)))
    yield _int16(stream.resample_chunk(np.zeros(0, np.float32), last=True))


def _int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def _ends_early(file: soundfile.SoundFile) -> bool:
    """Whether libsndfile has seen that a file is shorter than it says, which it passes over in silence."""
    log = file.extra_info
    declared = _DECLARED.search(log)
    if declared and int(declared[2]) < int(declared[1]) < 2**31 - 2**16:
        return True
    return _CUT_SHORT.search(log) is not None
