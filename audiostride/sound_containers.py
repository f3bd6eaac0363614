"""Checks of OGG, FLAC, MP3 and WAV files that libsndfile leaves out.

libsndfile skips damaged OGG pages, does not compare the MD5 checksum of FLAC, and stops early in MP3 files
whose length it guesses wrongly. It leaves a damaged size of WAV data unmentioned, except in its log.
"""

import re
import struct
import zlib
from typing import BinaryIO

# Each byte with its bits in reverse order: zlib's CRC-32 is that of OGG on reversed bits.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FIRST_PAGE, _LAST_PAGE = 2, 4

# Bitrates in kbit/s by the index in the header of an MPEG audio frame of layer III, for MPEG 1 and MPEG 2.
_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG1_RATES = (44100, 48000, 32000)  # MPEG 2 halves them, MPEG 2.5 quarters them

_UNKNOWN_CHUNK = re.compile(r"Unknown chunk marker \(\w+\) at position (\d+)")
_RIFF_SIZE = re.compile(r"^RIFF : (\d+)", re.MULTILINE)


def ogg_fault(file: BinaryIO) -> str:
    """Return what is wrong with the pages of an OGG file (RFC 3533), or an empty string.

    Each page needs its checksum, each stream all of its pages up to the one that is marked as the last. Bytes
    behind the last page, such as a tag, do not count.
    """
    next_number: dict[int, int] = {}
    unfinished = set()
    _skip_id3(file)
    while (header := file.read(27))[:4] == b"OggS":
        if len(header) < 27:
            return "ends too early"
        flags, serial, number, checksum, segments = struct.unpack("<5xB8xIIIB", header)
        sizes = file.read(segments)
        body = file.read(sum(sizes))
        if len(sizes) < segments or len(body) < sum(sizes):
            return "ends too early"
        if _ogg_checksum(header[:22] + bytes(4) + header[26:] + sizes + body) != checksum:
            return "is damaged"
        if flags & _FIRST_PAGE:
            next_number[serial] = number
            unfinished.add(serial)
        if number != next_number.get(serial):
            return "is damaged"
        if flags & _LAST_PAGE:
            unfinished.discard(serial)
        next_number[serial] = number + 1
    return "ends too early" if unfinished or not next_number else ""


def _ogg_checksum(page: bytes) -> int:
    """Return the checksum of a page: CRC-32 with the usual polynomial, from 0, highest bit first."""
    reversed_crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reversed_crc.to_bytes(4, "little").translate(_REVERSED), "big")


def flac_md5(file: BinaryIO) -> bytes:
    """Return the MD5 checksum of the samples as the header of a FLAC file says, b"" if it does not say."""
    _skip_id3(file)
    header = file.read(42)
    return header[26:] if header[:4] == b"fLaC" and any(header[26:]) else b""


def mp3_says_length(file: BinaryIO) -> bool:
    """Return whether the first frame of an MP3 file gives the length. If not, libsndfile guesses it."""
    _skip_id3(file)
    first_frame = file.read(200)
    return b"Xing" in first_frame or b"Info" in first_frame


def min_mp3_samples(file: BinaryIO) -> int:
    """Return the least number of samples per channel that an MP3 file of layer III can have.

    It is that of its frames, less the first, which may hold no sound, and less three for the delay and the
    padding of the encoder. 0 if there are no frames of layer III.
    """
    frames, per_frame, kind = 0, 0, None
    begin = _skip_id3(file)
    while len(header := file.read(4)) == 4:
        frame = _mp3_frame(header)
        # After damage, all frames still have the version and the sample rate of the first.
        if frame and kind in (None, frame[0]):
            kind, size, per_frame = frame
            frames += 1
            begin += size
        else:
            begin += 1
        file.seek(begin)
    return max(0, frames - 4) * per_frame


def _skip_id3(file: BinaryIO) -> int:
    """Go to the position behind an ID3v2 tag at the start, 0 if there is none. Return it."""
    file.seek(0)
    header = file.read(10)
    begin = 0
    if len(header) == 10 and header[:3] == b"ID3":
        begin = 10 + sum((header[6 + i] & 127) << (7 * (3 - i)) for i in range(4)) + 10 * bool(header[5] & 16)
    return file.seek(begin)


def _mp3_frame(header: bytes) -> tuple[bytes, int, int] | None:
    """Return version and sample rate as they are coded, size in bytes and samples of a frame of layer III."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version, bitrate, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return None
    is_mpeg1 = version == 3
    hertz = _MPEG1_RATES[rate] // (1 if is_mpeg1 else 2 if version == 2 else 4)
    samples = 1152 if is_mpeg1 else 576
    size = samples // 8 * 1000 * _KBPS[is_mpeg1][bitrate] // hertz + (header[2] >> 1 & 1)
    return bytes((version, rate)), size, samples


def has_stray_riff_data(log: str) -> bool:
    """Return whether libsndfile's log of a WAV file names an unknown chunk inside the RIFF.

    The size of the data is then wrong. Stray bytes behind the RIFF do not count.
    """
    stray, size = _UNKNOWN_CHUNK.search(log), _RIFF_SIZE.search(log)
    return bool(stray and size and int(stray[1]) < int(size[1]) + 8)
