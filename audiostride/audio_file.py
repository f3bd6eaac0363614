"""Read sound files of any format, rate and channel count as mono 16-bit samples.

The checks of `SoundReader`, in this order; the first one that fails is the reason for the `BadSoundError`:

1. The path is a regular file, libsndfile recognises its header, and its sample rate is plausible.
2. libsndfile has not noticed that the file is shorter than its header says, and the pages of OGG are all
   there, with the right checksums.
3. In each block: the file is not too long, and the mix has no NaN, infinite or huge values.
4. After the last block: there are samples, as many as the header says, and they are not constant. The
   samples of 16-bit FLAC have the right checksum, and those of MP3 are as many as its frames hold.
5. After resampling to 16 bits: not all samples are 0.
"""

import hashlib
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
from audiostride.sound_containers import (
    flac_md5,
    has_stray_riff_data,
    min_mp3_samples,
    mp3_says_length,
    ogg_fault,
)

# Samples per block over all channels, and after resampling, so that memory does not grow with the length,
# the rates and the channels.
_BLOCK = 1 << 18
# Sample rates in Hz. Outside of them the header is damaged: telephones have 8,000, bat detectors 500,000.
_RATES = range(1000, 1_000_001)
# A file counts as clipped if more than this fraction of its samples is at full scale.
_CLIPPED = 0.01
# Full scale as float, for sample formats coarser than 16 bits.
_FULL_SCALE = {"PCM_U8": 127 / 128, "PCM_S8": 127 / 128, "ULAW": 32124 / 32768, "ALAW": 32256 / 32768}
# Resampling could overflow for values from here on.
_HUGE = 1e30
# FLAC that was written to a pipe announces about 2 ** 63 frames.
_UNKNOWN_FRAMES = 2**62


class BadSoundError(UserError):
    """A sound file cannot be used.

    Attributes:
        reason: the fault, in the same words for all files that share it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}: repair or remove it")
        self.reason = reason


@dataclass(frozen=True)
class Sound:
    """A sound in memory.

    Attributes:
        samples: (samples,), int16.
        sample_rate: their sample rate in Hz.
        file_rate: sample rate of the file in Hz.
        clipped: whether more than 1 % of the samples in the file are at full scale.
    """

    samples: NDArray[np.int16]
    sample_rate: int
    file_rate: int
    clipped: bool


def read_sound(path: Path, sample_rate: int, longest_s: float = math.inf) -> Sound:
    """Read a whole sound file; see `SoundReader` for the arguments and the result.

    Raises:
        BadSoundError: also if the file is silent.
    """
    reader = SoundReader(path, sample_rate, longest_s)
    samples = np.concatenate(list(reader))
    return Sound(samples, sample_rate, reader.file_rate, reader.is_clipped)


class SoundReader:
    """Reads a sound file in blocks, averages its channels, and resamples it with libsoxr at high quality.

    The resampling filter has linear phase, and attenuates by 120 dB from the new Nyquist frequency on. A mono
    16-bit file at `sample_rate` is returned bit for bit.

    Args:
        path: a file in any format of libsndfile (WAV, FLAC, OGG, MP3, AIFF and others).
        sample_rate: sample rate of the result in Hz.
        longest_s: maximum length in seconds; longer files are refused.
        accept_silence: whether a file without sound is read like any other.

    Attributes:
        length: number of samples of the result as the header says, once the first block is read; None if the
            format does not store the length, or not reliably.
        file_rate: sample rate of the file in Hz, once the first block is read.
        is_clipped: whether more than 1 % of the samples in the file are at full scale, after the last block.

    Yields:
        (samples,), int16, the blocks of the file in their order.

    Raises:
        BadSoundError: if the file cannot be read, ends too early, is damaged, too long or silent, or has no
            samples or values that are NaN, infinite or huge. Some faults are found after the last block. A
            truncated file goes unnoticed if its format does not store the length: MP3 of constant bitrate
            without a Xing header, and WAV and AU that were written to a pipe. Changed samples go unnoticed if
            the format has no checksum: all but OGG and FLAC. So does a changed sample rate, except in OGG,
            and in FLAC of 24 bits a changed length.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        longest_s: float = math.inf,
        accept_silence: bool = False,
    ) -> None:
        self.path, self.sample_rate, self.longest_s = path, sample_rate, longest_s
        self.accept_silence = accept_silence
        self.length: int | None = None
        self.file_rate, self.is_clipped = 0, False

    def __iter__(self) -> Iterator[NDArray[np.int16]]:
        try:
            yield from self._read()
        except _FaultError as fault:
            raise BadSoundError(self.path, str(fault)) from None
        except (soundfile.SoundFileError, OSError, RuntimeError, TypeError) as error:
            raise BadSoundError(self.path, "cannot be read as sound") from error

    def _read(self) -> Iterator[NDArray[np.int16]]:
        if not self.path.is_file():  # opening a pipe would wait for its writer
            raise _FaultError("is missing or not a file")
        with _ForwardSoundFile(os.fsencode(self.path)) as file, self.path.open("rb") as content:
            if file.format == "RAW":  # libsndfile found no header and trusted the suffix
                raise _FaultError("cannot be read as sound")
            if file.samplerate not in _RATES:
                raise _FaultError("has a sample rate below 1 kHz or above 1 MHz")
            self.file_rate = file.samplerate
            if _is_truncated(file):
                raise _FaultError("ends too early")
            if file.format == "OGG" and (fault := ogg_fault(content)):
                raise _FaultError(fault)
            is_mp3 = file.subtype == "MPEG_LAYER_III"
            if file.frames < _UNKNOWN_FRAMES and (not is_mp3 or mp3_says_length(content)):
                self.length = resampled_length(file.frames, file.samplerate, self.sample_rate)
            mixer = _Mixer(file, file.frames if self.length is not None else 0, self.longest_s)
            # For 24 bits, computing the checksum would take half as long as decoding.
            checksum = flac_md5(content) if (file.format, file.subtype) == ("FLAC", "PCM_16") else b""
            is_silent = True
            for block in self._converted(file, mixer, checksum):
                is_silent = is_silent and not block.any()
                yield block
            mixer.check_end()
            if is_mp3 and mixer.frames < min_mp3_samples(content):
                raise _FaultError("has a wrong length in its MP3 header")
        if not self.accept_silence and (mixer.is_constant or is_silent):
            raise _FaultError("is silent")
        self.is_clipped = mixer.clipped > _CLIPPED * mixer.samples

    def _converted(
        self, file: soundfile.SoundFile, mixer: "_Mixer", checksum: bytes
    ) -> Iterator[NDArray[np.int16]]:
        frames = max(1, _BLOCK // max(file.channels, -(-self.sample_rate // file.samplerate)))
        if (file.channels, file.samplerate, file.subtype) == (1, self.sample_rate, "PCM_16"):
            return (mixer.mix(block) for block in _blocks(file, frames, "int16", checksum))
        mixed = (mixer.mix(block) for block in _blocks(file, frames, "float32", checksum))
        return (to_int16(block) for block in resample(mixed, file.samplerate, self.sample_rate))


def resampled_length(samples: int, rate: int, new_rate: int) -> int:
    """Return how many samples `resample` makes of so many."""
    return int(samples / (rate / new_rate) + 0.5)  # as libsoxr rounds


class _FaultError(Exception):
    """The reason why a file cannot be used."""


class _ForwardSoundFile(soundfile.SoundFile):
    """A sound file that is read from start to end.

    soundfile seeks after each block of a file that it takes for seekable. Seeking disturbs the decoder of
    MP3, fails in FLAC of unknown length, and takes time.
    """

    def seekable(self) -> bool:
        return False


def _blocks(
    file: soundfile.SoundFile, frames: int, dtype: str, flac_checksum: bytes
) -> Iterator[NDArray[Any]]:
    """Yield blocks of (frames, channels) until the file ends, whatever length the header says.

    Raises:
        _FaultError: at the end, if there is a checksum and the samples do not have it.
    """
    if not flac_checksum:
        yield from _stored_blocks(file, frames, dtype)
        return
    digest = hashlib.md5(usedforsecurity=False)
    for block in _stored_blocks(file, frames, "int16"):
        digest.update(block.astype("<i2", copy=False).data)
        yield block if dtype == "int16" else block.astype(np.float32) / np.float32(32768)
    if digest.digest() != flac_checksum:
        raise _FaultError("is damaged")


def _stored_blocks(file: soundfile.SoundFile, frames: int, dtype: str) -> Iterator[NDArray[Any]]:
    while len(block := file.read(frames, dtype=dtype, always_2d=True)):
        yield block


class _Mixer:
    """Averages the channels block by block, and checks and counts the samples on the way.

    Attributes:
        frames: number of frames so far.
        samples: number of samples so far, over all channels.
        clipped: number of samples at full scale so far.
    """

    def __init__(self, file: soundfile.SoundFile, announced_frames: int, longest_s: float) -> None:
        self.announced_frames = announced_frames
        self.max_frames = longest_s * file.samplerate
        self.full_scale = _FULL_SCALE.get(file.subtype, 32767 / 32768)
        self.frames = self.samples = self.clipped = 0
        self.low, self.high = math.inf, -math.inf

    def mix(self, block: NDArray[Any]) -> NDArray[Any]:
        """Return the mean over the channels of a block (frames, channels), as (frames,)."""
        self.frames += len(block)
        if max(self.frames, self.announced_frames) > self.max_frames:
            raise _FaultError("is too long")
        full_scale = 32767 if block.dtype == np.int16 else self.full_scale
        self.samples += block.size
        self.clipped += int(np.count_nonzero((block >= full_scale) | (block <= -full_scale)))
        with np.errstate(over="ignore", invalid="ignore"):
            # Adding columns is several times as fast as numpy's mean over so short an axis.
            mixed = sum(block.T) / block.shape[1] if block.shape[1] > 1 else block[:, 0]
        low, high = float(mixed.min()), float(mixed.max())
        if not max(-low, high) < _HUGE:  # also true for NaN
            raise _FaultError("contains NaN, infinite or huge values")
        self.low, self.high = min(self.low, low), max(self.high, high)
        return mixed

    def check_end(self) -> None:
        """Check the file as a whole, after the last block."""
        if self.frames == 0:
            raise _FaultError("contains no samples")
        if self.frames < self.announced_frames:
            raise _FaultError("ends too early")

    @property
    def is_constant(self) -> bool:
        """Whether all samples so far are the same."""
        return self.low == self.high


def resample(
    blocks: Iterable[NDArray[np.float32]], rate: int, new_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Yield the blocks of a sound at another sample rate. The filter delays them by up to 0.12 s.

    Args:
        blocks: (samples,) each.
        rate: their sample rate in Hz.
        new_rate: sample rate of the result in Hz.
    """
    stream = soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return samples in [−1, 1] as 16-bit numbers; values outside are clipped."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


# libsndfile raises no error for a truncated file, but writes a line into its log (`extra_info`).
# Announced and found sizes: WAV, AU and W64 in bytes, RF64 in frames.
_LOGGED_SIZES = (
    re.compile(
        r"^(?:data|riff|  Data Size  ) : (?P<announced>\d+) \(should be (?P<found>\d+)\)", re.MULTILINE
    ),
    re.compile(r"frame count (?P<found>\d+) does not match value from 'ds64' chunk of (?P<announced>\d+)"),
)
# Files that were written to a pipe announce a size near 2 ** 31 or 2 ** 32.
_PIPE_SIZES = range(2**31 - 2**16, 2**32)
# AIFF and MP3.
_LOGGED_TRUNCATION = "not equal to frame count"


def _is_truncated(file: soundfile.SoundFile) -> bool:
    """Whether the log of libsndfile says that file and header do not have the same length."""
    log = file.extra_info
    for pattern in _LOGGED_SIZES:
        if size := pattern.search(log):
            announced, found = int(size["announced"]), int(size["found"])
            if found < announced and announced not in _PIPE_SIZES:
                return True
    return _LOGGED_TRUNCATION in log or has_stray_riff_data(log)
