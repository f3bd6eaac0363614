"""Reading sound files: levels, channels and rates of all formats, and the files that are refused."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from audiostride import audio_file
from audiostride.audio_file import BadSoundError, SoundReader, read_sound

Samples = NDArray[np.float64]
# Suffix, format, subtype, largest deviation from a sound at half of full scale.
FORMATS = [
    ("wav", "WAV", "PCM_U8", 1 / 120),
    ("wav", "WAV", "PCM_16", 1e-4),
    ("wav", "WAV", "PCM_24", 1e-4),
    ("wav", "WAV", "PCM_32", 1e-4),
    ("wav", "WAV", "FLOAT", 1e-4),
    ("wav", "WAV", "DOUBLE", 1e-4),
    ("wav", "WAV", "ULAW", 0.02),
    ("wav", "WAVEX", "PCM_24", 1e-4),
    ("w64", "W64", "PCM_16", 1e-4),
    ("rf64", "RF64", "PCM_16", 1e-4),
    ("caf", "CAF", "ALAC_16", 1e-4),
    ("au", "AU", "PCM_16", 1e-4),
    ("aiff", "AIFF", "PCM_S8", 1 / 120),
    ("aiff", "AIFF", "PCM_16", 1e-4),
    ("aiff", "AIFF", "FLOAT", 1e-4),
    ("flac", "FLAC", "PCM_S8", 1 / 120),
    ("flac", "FLAC", "PCM_16", 1e-4),
    ("flac", "FLAC", "PCM_24", 1e-4),
    ("ogg", "OGG", "VORBIS", 0.02),
    ("ogg", "OGG", "OPUS", 0.04),
    ("mp3", "MP3", "MPEG_LAYER_III", 0.02),
]


def tone(frequency: float, rate: int, seconds: float = 0.5) -> Samples:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def noise(samples: int, seed: int = 0) -> Samples:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def write(file: Path, sound: Samples, rate: int = 16000, **options: Any) -> Path:
    soundfile.write(file, sound, rate, **options)
    return file


def read_float(file: Path) -> Samples:
    return read_sound(file, 16000).samples / 32768


def decibels(sound: Samples, relative_to: Samples) -> float:
    return 10 * np.log10(np.maximum(np.mean(sound**2), 1e-20) / np.mean(relative_to**2))


def reason_of_refusal(file: Path, **limits: float) -> str:
    with pytest.raises(BadSoundError) as caught:
        read_sound(file, 16000, **limits)
    assert str(caught.value) == f"{file} {caught.value.reason}: repair or remove it"
    return caught.value.reason


@pytest.mark.parametrize(("suffix", "format", "subtype", "error"), FORMATS)
@pytest.mark.parametrize("rate", [16000, 48000])
def test_every_format_has_the_same_level_and_no_delay(
    suffix: str, format: str, subtype: str, error: float, rate: int, tmp_path: Path
) -> None:
    file = write(tmp_path / f"a.{suffix}", tone(440, rate), rate, format=format, subtype=subtype)
    sound = read_float(file)
    assert len(sound) == 8000
    np.testing.assert_allclose(sound[1000:-1000], tone(440, 16000)[1000:-1000], atol=error)


def test_16_bit_mono_at_16_khz_is_read_bit_for_bit(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 5000).astype(np.int16)
    for suffix in ("wav", "flac", "aiff"):
        soundfile.write(tmp_path / f"a.{suffix}", samples, 16000, subtype="PCM_16")
        assert np.array_equal(read_sound(tmp_path / f"a.{suffix}", 16000).samples, samples)


@pytest.mark.parametrize("rate", [8000, 11025, 12345, 22050, 32000, 44100, 48000, 96000, 192000])
def test_tone_below_both_nyquist_frequencies_keeps_level_and_time(rate: int, tmp_path: Path) -> None:
    frequency = 0.88 * min(rate, 16000) / 2
    file = write(tmp_path / "a.wav", tone(frequency, rate), rate, subtype="FLOAT")
    sound = read_float(file)
    expected = tone(frequency, 16000)
    assert abs(len(sound) - len(expected)) <= 1
    middle = slice(1000, 7000)
    assert abs(decibels(sound[middle], relative_to=expected[middle])) < 0.1
    assert decibels(sound[middle] - expected[middle], relative_to=expected[middle]) < -60


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("frequency", [8100, 9500, 11000])
def test_tone_above_the_new_nyquist_frequency_is_removed(rate: int, frequency: int, tmp_path: Path) -> None:
    # A second, lower tone keeps the file from being silent.
    low = tone(1000, rate)
    sound = read_float(write(tmp_path / "a.wav", low + tone(frequency, rate), rate, subtype="FLOAT"))
    rest = sound - read_float(write(tmp_path / "b.wav", low, rate, subtype="FLOAT"))
    assert decibels(rest[1000:-1000], relative_to=tone(1000, 16000)) < -80


def test_resampling_agrees_with_scipy(tmp_path: Path) -> None:
    # The band ends far below the slope of the filter, where any two good filters agree.
    sound = resample_poly(noise(4000), 12, 1)
    file = write(tmp_path / "a.wav", sound, 48000, subtype="FLOAT")
    expected = resample_poly(sound, 1, 3)
    assert decibels(read_float(file)[500:-500] - expected[500:-500], relative_to=expected) < -60


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("channels", [2, 3, 6, 8])
def test_channels_are_averaged(channels: int, rate: int, tmp_path: Path) -> None:
    sounds = np.stack([noise(rate // 4, seed) for seed in range(channels)], axis=1)
    mixed = write(tmp_path / "mixed.wav", sounds.mean(axis=1), rate, subtype="FLOAT")
    # Files with several channels usually are WAVE_EXTENSIBLE.
    single = write(tmp_path / "single.wav", sounds, rate, format="WAVEX", subtype="FLOAT")
    np.testing.assert_allclose(read_float(single), read_float(mixed), atol=1.1 / 32768)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_block_size_does_not_change_the_result(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / f"a.{suffix}", np.stack([noise(40000), noise(40000, 1)], axis=1), 44100)
    whole = read_sound(file, 16000).samples
    monkeypatch.setattr(audio_file, "_BLOCK", 777)
    np.testing.assert_allclose(read_sound(file, 16000).samples, whole, atol=1)


@pytest.mark.parametrize(
    ("rate", "new_rate", "seconds"),
    [(1000, 384000, 3), (8000, 250000, 5), (192000, 8000, 5), (44100, 384000, 3)],
)
def test_blocks_are_small_and_their_length_is_known_whatever_the_rates(
    rate: int, new_rate: int, seconds: int, tmp_path: Path
) -> None:
    reader = SoundReader(write(tmp_path / "a.wav", noise(seconds * rate + 7), rate), new_rate)
    lengths = [len(block) for block in reader]
    assert max(lengths) < 1.5 * audio_file._BLOCK
    assert sum(lengths) == reader.length
    assert reader.file_rate == rate


def test_loud_float_files_are_clipped_and_do_not_wrap(tmp_path: Path) -> None:
    file = write(tmp_path / "a.wav", np.array([2.0, -2.0, 0.25]), subtype="FLOAT")
    assert read_sound(file, 16000).samples.tolist() == [32767, -32768, 8192]


@pytest.mark.parametrize(
    "name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.au", "a.snd", "a.raw", "a.vox", "a.gsm", "a"]
)
def test_files_without_sound_are_refused_whatever_their_name(name: str, tmp_path: Path) -> None:
    for content in (b"", b"RIFF no sound", np.random.default_rng(0).bytes(5000)):
        (tmp_path / name).write_bytes(content)
        assert reason_of_refusal(tmp_path / name) == "cannot be read as sound"


def test_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to("nowhere.wav")
    for name in ("folder.wav", "pipe.wav", "link.wav", "none.wav"):
        assert reason_of_refusal(tmp_path / name) == "is missing or not a file"


def test_file_without_samples_is_refused(tmp_path: Path) -> None:
    assert reason_of_refusal(write(tmp_path / "a.wav", np.zeros(0))) == "contains no samples"


@pytest.mark.parametrize("rate", [16000, 44100])
def test_silence_and_constant_offset_are_refused(rate: int, tmp_path: Path) -> None:
    stereo = np.stack([tone(440, rate), -tone(440, rate)], axis=1)
    for sound in (np.zeros(5000), np.full(5000, 0.25), stereo, 1e-6 * tone(440, rate)):
        assert reason_of_refusal(write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")) == "is silent"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("channels", [1, 4])
def test_nan_infinite_and_huge_values_are_refused(
    value: float, channels: int, rate: int, tmp_path: Path
) -> None:
    sound = np.tile(noise(5000)[:, None], (1, channels))
    sound[4000:4010] = value
    file = write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
    assert reason_of_refusal(file) == "contains NaN, infinite or huge values"


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW"])
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_with_over_one_percent_at_full_scale_is_clipped(
    subtype: str, channels: int, tmp_path: Path
) -> None:
    for share, clipped in ((0.005, False), (0.02, True)):
        sound = tone(440, 16000)
        sound[: int(share * len(sound))] = 1  # positive values only
        file = write(tmp_path / "a.wav", np.stack([sound] * channels, axis=1), subtype=subtype)
        assert read_sound(file, 16000).clipped is clipped


def test_file_that_is_too_long_is_refused_after_one_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "a.flac", noise(40000), 8000)
    assert len(read_sound(file, 16000, longest_s=5).samples) == 80000
    blocks = []
    read = soundfile.SoundFile.read

    def read_and_count(self: soundfile.SoundFile, *args: Any, **options: Any) -> Samples:
        blocks.append(1)
        return read(self, *args, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", read_and_count)
    monkeypatch.setattr(audio_file, "_BLOCK", 1000)
    assert reason_of_refusal(file, longest_s=4.9) == "is too long"
    assert len(blocks) == 1


def test_files_with_undecodable_names_are_read(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9 \xff\n.wav")
    soundfile.write(os.fsencode(file), noise(100), 16000)
    assert len(read_sound(file, 16000).samples) == 100


@pytest.mark.parametrize(
    ("suffix", "format", "subtype"),
    [
        ("wav", "WAV", "PCM_16"),
        ("wav", "WAVEX", "PCM_24"),
        ("aiff", "AIFF", "PCM_16"),
        ("au", "AU", "PCM_16"),
        ("w64", "W64", "PCM_16"),
        ("rf64", "RF64", "PCM_16"),
        ("caf", "CAF", "PCM_16"),
        ("flac", "FLAC", "PCM_16"),
        ("ogg", "OGG", "VORBIS"),
        ("ogg", "OGG", "OPUS"),
        ("mp3", "MP3", "MPEG_LAYER_III"),
    ],
)
@pytest.mark.parametrize("seconds", [0.5, 4])
def test_truncated_file_is_refused(
    suffix: str, format: str, subtype: str, seconds: float, tmp_path: Path
) -> None:
    file = tmp_path / f"a.{suffix}"
    sound = noise(int(16000 * seconds))
    write(file, sound, format=format, subtype=subtype)
    assert abs(len(read_sound(file, 16000).samples) - len(sound)) <= 1
    content = file.read_bytes()
    for share in np.linspace(0.01, 0.98, 12):
        file.write_bytes(content[: int(share * len(content))])
        assert reason_of_refusal(file) in ("ends too early", "cannot be read as sound")


def test_tag_at_the_end_of_ogg_and_mp3_is_accepted(tmp_path: Path) -> None:
    for name in ("a.ogg", "a.mp3"):
        file = write(tmp_path / name, noise(8000))
        file.write_bytes(file.read_bytes() + b"TAG" + bytes(125))
        assert len(read_sound(file, 16000).samples) == 8000


def test_wav_au_and_flac_that_were_written_to_a_pipe_are_read_completely(tmp_path: Path) -> None:
    """Their headers could not be completed: WAV and AU announce a huge length, FLAC none."""
    sound = noise(40000)
    for length in (2**32 - 1, 2**31 - 1, 2**31 - 4096):
        wav = write(tmp_path / "a.wav", sound)
        content = bytearray(wav.read_bytes())
        content[4:8] = content[40:44] = struct.pack("<I", length)
        wav.write_bytes(content)
        np.testing.assert_allclose(read_float(wav), sound, atol=1e-4)
    au = write(tmp_path / "a.au", sound)
    au.write_bytes(au.read_bytes()[:8] + b"\xff" * 4 + au.read_bytes()[12:])
    np.testing.assert_allclose(read_float(au), sound, atol=1e-4)
    flac = write(tmp_path / "a.flac", sound)
    content = bytearray(flac.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    flac.write_bytes(content)
    np.testing.assert_allclose(read_float(flac), sound, atol=1e-4)


def test_truncation_goes_unnoticed_if_the_format_does_not_store_the_length(tmp_path: Path) -> None:
    """The documented limits: WAV from a pipe, MP3 of constant bitrate without a Xing frame."""
    wav = write(tmp_path / "a.wav", noise(8000))
    content = bytearray(wav.read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    wav.write_bytes(content[:8000])
    assert 0 < len(read_sound(wav, 16000).samples) < 8000
    mp3 = write(tmp_path / "a.mp3", noise(32000), bitrate_mode="CONSTANT", compression_level=0.5)
    content = bytearray(mp3.read_bytes())
    mp3.write_bytes(content[content.find(content[:2], 4) : len(content) // 2])
    assert 0 < len(read_sound(mp3, 16000).samples) < 32000
