"""Damage that libsndfile does not notice: checksums, lengths and sample rates of sound files."""

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from audiostride.audio_file import BadSoundError, read_sound


def noise(samples: int, channels: int = 1) -> NDArray[np.float64]:
    return 0.1 * np.random.default_rng(0).standard_normal((samples, channels))


def write(file: Path, rate: int = 16000, seconds: float = 1, channels: int = 1, **options: Any) -> Path:
    soundfile.write(file, noise(int(rate * seconds), channels), rate, **options)
    return file


def refusal(file: Path) -> str:
    with pytest.raises(BadSoundError) as caught:
        read_sound(file, 16000)
    return caught.value.reason


def pages(ogg: bytes) -> list[bytes]:
    return [b"OggS" + page for page in ogg.split(b"OggS")[1:]]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_every_flipped_bit_in_ogg_is_noticed(subtype: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.ogg", format="OGG", subtype=subtype)
    content, rng = file.read_bytes(), np.random.default_rng(0)
    # The last page first: without it the file is still readable, and much too short.
    last_page = content.rfind(b"OggS")
    for begin in [last_page] * 100 + [0] * 100:
        damaged = bytearray(content)
        damaged[int(rng.integers(begin, len(content)))] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        assert refusal(file) in ("is damaged", "ends too early", "cannot be read as sound")


def test_missing_ogg_page_is_noticed(tmp_path: Path) -> None:
    file = write(tmp_path / "a.ogg", seconds=20)
    whole = pages(file.read_bytes())
    assert len(whole) > 6
    file.write_bytes(b"".join(whole[:4] + whole[5:]))
    assert refusal(file) == "is damaged"
    file.write_bytes(b"".join(whole[:-1]))
    assert refusal(file) == "ends too early"


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (16000, 3), (44100, 2)])
def test_16_bit_flac_with_another_checksum_is_refused(rate: int, channels: int, tmp_path: Path) -> None:
    flac, wav = write(tmp_path / "a.flac", rate, 3, channels), tmp_path / "a.wav"
    soundfile.write(wav, *soundfile.read(flac), subtype="FLOAT")
    samples = read_sound(flac, 16000).samples
    assert np.array_equal(samples, read_sound(wav, 16000).samples)
    content = bytearray(flac.read_bytes())
    flac.write_bytes(content[:26] + bytes(16) + content[42:])  # a file without a checksum
    assert np.array_equal(read_sound(flac, 16000).samples, samples)
    content[30] ^= 1
    flac.write_bytes(content)
    assert refusal(flac) == "is damaged"


def test_flac_that_announces_fewer_samples_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.flac")
    content = bytearray(file.read_bytes())
    content[24:26] = struct.pack(">H", 7808)
    file.write_bytes(content)
    assert refusal(file) == "is damaged"


def without_xing(mp3: bytes) -> bytes:
    """Return an MP3 file without its first frame, which holds the length."""
    return mp3[mp3.find(mp3[:2], 4) :]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_whole_mp3_files_are_read_with_and_without_tags(
    rate: int, mode: str, channels: int, tmp_path: Path
) -> None:
    for seconds in (0.2, 3):
        file = write(tmp_path / "a.mp3", rate, seconds, channels, bitrate_mode=mode, compression_level=0.5)
        expected = seconds * 16000
        assert abs(len(read_sound(file, 16000).samples) - expected) <= 1
        # A picture in a tag may look like the begin of a frame.
        tag = b"ID3\x03\x00\x00\x00\x00\x07\x68" + 100 * (file.read_bytes()[:4] + b"picture!!")[:10]
        file.write_bytes(tag + file.read_bytes() + b"TAG" + bytes(125))
        assert abs(len(read_sound(file, 16000).samples) - expected) <= 1


@pytest.mark.parametrize("rate", [11025, 16000, 44100])
@pytest.mark.parametrize("seconds", [0.2, 1, 30])
def test_mp3_of_constant_bitrate_without_a_length_is_read_whole(
    rate: int, seconds: float, tmp_path: Path
) -> None:
    for quality in (0.0, 0.5, 0.9):
        file = write(tmp_path / "a.mp3", rate, seconds, bitrate_mode="CONSTANT", compression_level=quality)
        file.write_bytes(without_xing(file.read_bytes()))
        # Without the length, the delay and the padding of the encoder remain, and the last frame may not.
        assert -1152 / rate <= len(read_sound(file, 16000).samples) / 16000 - seconds <= 3 * 1152 / rate


@pytest.mark.parametrize("rate", [16000, 44100])
def test_mp3_of_variable_bitrate_without_a_length_is_refused(rate: int, tmp_path: Path) -> None:
    """libsndfile guesses the length from the first frame, and stops there."""
    file = tmp_path / "a.mp3"
    soundfile.write(file, noise(4 * rate), rate, bitrate_mode="VARIABLE", compression_level=0.5)
    file.write_bytes(without_xing(file.read_bytes()))
    assert soundfile.info(file).duration < 2
    assert refusal(file) == "has a wrong length in its MP3 header"


def test_wav_that_announces_fewer_samples_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav")
    content = bytearray(file.read_bytes())
    for announced in (27904, 30000, 31900):
        content[40:44] = struct.pack("<I", announced)
        file.write_bytes(content)
        assert refusal(file) == "ends too early"


def test_chunks_behind_the_samples_of_wav_are_accepted(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav")
    content = bytearray(file.read_bytes())
    chunk = b"LIST\x0c\x00\x00\x00INFOIART\x00\x00\x00\x00"
    for behind, inside in ((chunk, chunk), (b"\x07junk behind the RIFF \xff\xff", b""), (bytes(200), b"")):
        content[4:8] = struct.pack("<I", 32036 + len(inside))
        file.write_bytes(bytes(content) + behind)
        assert len(read_sound(file, 16000).samples) == 16000


@pytest.mark.parametrize("rate", [7, 999, 1_000_001, 2**31 - 1])
def test_absurd_sample_rates_are_refused(rate: int, tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav", rate, 100 / rate)
    assert refusal(file) == "has a sample rate below 1 kHz or above 1 MHz"


def test_lowest_and_highest_sample_rates_are_read(tmp_path: Path) -> None:
    for rate in (1000, 1_000_000):
        assert len(read_sound(write(tmp_path / "a.wav", rate, 0.5), 16000).samples) == 8000


def test_memory_does_not_grow_with_the_number_of_channels(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav", seconds=20 / 16000, channels=1024)
    assert file.stat().st_size < 50_000
    tracemalloc.start()
    try:
        read_sound(file, 16000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000
