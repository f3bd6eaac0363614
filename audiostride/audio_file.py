"""Sound files of any format, rate and channel count as mono 16-bit samples."""

import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiostride.errors import UserError

# Frames that are read at a time, so that memory does not grow with a file's rate and channels.
_BLOCK = 1 << 18
# Share of samples at full scale from which a recording counts as clipped.
_CLIPPED = 0.01
# Full scale of sample formats coarser than 16 bits.
_FULL = {"PCM_U8": 127 / 128, "PCM_S8": 127 / 128, "ULAW": 32124 / 32768, "ALAW": 32256 / 32768}
# From here on resampling would overflow. NaN is not below it either.
_ABSURD = 1e30
# What libsndfile notes of a file that is shorter than its header says: WAV, AU and W64, then RF64.
_SIZES = (
    re.compile(r"^(?:data|riff|  Data Size  ) : (?P<said>\d+) \(should be (?P<found>\d+)\)", re.MULTILINE),
    re.compile(r"frame count (?P<found>\d+) does not match value from 'ds64' chunk of (?P<said>\d+)"),
)
# What is written to a pipe says a length near 2 ** 31 or 2 ** 32.
_PIPED = 2**31 - 2**16
# The same of OGG, and of AIFF and MP3.
_CUT_SHORT = re.compile(r"lacks an end-of-stream bit|not equal to frame count")


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
            are no numbers, or nothing but silence. A cut goes unseen where a format tells no length: in MP3
            without a Xing header, and in WAV and AU that were written to a pipe.
    """
    try:
        return _read(path, sample_rate, longest_s)
    except _FaultError as fault:
        raise BadSoundError(path, str(fault)) from None
    except (soundfile.SoundFileError, OSError, RuntimeError, TypeError) as error:
        raise BadSoundError(path, "cannot be read as sound") from error


class _FaultError(Exception):
    """Why a file cannot be used."""


class _Stream(soundfile.SoundFile):
    """A file read from front to back. Otherwise soundfile seeks after each block, which upsets the decoder of
    MP3, fails in FLAC of unknown length, and takes time."""

    def seekable(self) -> bool:
        return False


def _read(path: Path, sample_rate: int, longest_s: float) -> Sound:
    if not path.is_file():  # opening a pipe would wait for its writer
        raise _FaultError("is missing or no file")
    with _Stream(os.fsencode(path)) as file:
        if file.format == "RAW":  # no header was found, and the suffix was believed
            raise _FaultError("cannot be read as sound")
        if _ends_early(path, file):
            raise _FaultError("ends too early")
        mix = _Mix(file, longest_s)
        if (file.channels, file.samplerate, file.subtype) == (1, sample_rate, "PCM_16"):
            pieces = list(map(mix, _blocks(file, "int16")))
        else:
            mixed = map(mix, _blocks(file, "float32"))
            pieces = list(_resampled(mixed, file.samplerate, sample_rate))
    mix.check_whole()
    samples = np.concatenate(pieces)
    if not samples.any():
        raise _FaultError("is silent")
    return Sound(samples, mix.clipped > _CLIPPED * mix.samples)


def _blocks(file: soundfile.SoundFile, kind: str) -> Iterator[NDArray[Any]]:
    """(frames, channels) each, until none is left: the header's count is not to be trusted."""
    while len(block := file.read(_BLOCK, dtype=kind, always_2d=True)):
        yield block


class _Mix:
    """Averages the channels of blocks as they pass, and looks for what is wrong with them."""

    def __init__(self, file: soundfile.SoundFile, longest_s: float) -> None:
        self.announced = file.frames if file.frames < 2**62 else 0  # FLAC that was written to a pipe
        self.longest = longest_s * file.samplerate
        self.full = _FULL.get(file.subtype, 32767 / 32768)
        self.frames = self.samples = self.clipped = 0
        self.low, self.high = math.inf, -math.inf

    def __call__(self, block: NDArray[Any]) -> NDArray[Any]:
        self.frames += len(block)
        if max(self.frames, self.announced) > self.longest:
            raise _FaultError("is too long")
        full = 32767 if block.dtype == np.int16 else self.full
        self.samples += block.size
        self.clipped += int(np.count_nonzero((block >= full) | (block <= -full)))
        with np.errstate(over="ignore", invalid="ignore"):
            # Column by column: several times as fast as numpy's mean over so short an axis.
            mixed = sum(block.T) / block.shape[1] if block.shape[1] > 1 else block[:, 0]
        low, high = float(mixed.min()), float(mixed.max())
        if not max(-low, high) < _ABSURD:
            raise _FaultError("holds values that are no numbers")
        self.low, self.high = min(self.low, low), max(self.high, high)
        return mixed

    def check_whole(self) -> None:
        if self.frames == 0:
            raise _FaultError("holds no samples")
        if self.frames < self.announced:
            raise _FaultError("ends too early")
        if self.low == self.high:
            raise _FaultError("is silent")


def _resampled(
    blocks: Iterable[NDArray[np.float32]], rate: int, sample_rate: int
) -> Iterator[NDArray[np.int16]]:
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield _int16(stream.resample_chunk(block))
    yield _int16(stream.resample_chunk(np.zeros(0, np.float32), last=True))


def _int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def _ends_early(path: Path, file: soundfile.SoundFile) -> bool:
    """Whether libsndfile has seen that a file is shorter than it says, which it passes over in silence."""
    log = file.extra_info
    for size in _SIZES:
        noted = size.search(log)
        if noted and int(noted["found"]) < int(noted["said"]) and not _PIPED <= int(noted["said"]) < 2**32:
            return True
    if "Junk after the last page" in log:
        return _last_page_is_cut(path)
    return _CUT_SHORT.search(log) is not None


def _last_page_is_cut(path: Path) -> bool:
    """Whether an OGG file ends inside a page; to libsndfile that is the same as a tag behind the last one."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 1 << 17), os.SEEK_END)
        page = file.read()
    page = page[page.rfind(b"OggS") :]
    return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
