"""Damaged sound files: no crash, no hang, the same corpus by one process and by two, no sound cut short."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.noise_corpus import contents
from helpers.soak import Attack

from audiostride.audio_file import BadSoundError, read_sound
from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import Corpus, Recording
from audiostride.prepare import reader_pool
from audiostride.prepare.prepare import prepare

# Suffix, format and subtype.
KINDS = (
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "FLOAT"),
    ("wav", "WAV", "MS_ADPCM"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "PCM_16"),
    ("snd", "SDS", "PCM_16"),
    ("caf", "CAF", "ALAC_16"),
    ("w64", "W64", "PCM_16"),
    ("rf64", "RF64", "PCM_16"),
)
SAMPLES, RATE = 16000, 16000
MUTATIONS = ("bit", "last bits", "header bit", "cut", "swap", "huge size", "empty", "zeroed", "joined")


def mutate(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    damaged, size = bytearray(content), len(content)
    if kind in ("bit", "last bits", "header bit"):
        begin, end = {"bit": (0, size), "last bits": (size * 9 // 10, size), "header bit": (0, 64)}[kind]
        damaged[int(rng.integers(begin, end))] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del damaged[int(rng.integers(size)) :]
    elif kind == "swap":
        first, second = sorted(rng.integers(0, size - 512, 2).tolist())
        one, other = content[first : first + 512], content[second : second + 512]
        damaged[first : first + 512], damaged[second : second + 512] = other, one
    elif kind == "huge size":
        begin = int(rng.integers(4, 60))
        damaged[begin : begin + 4] = b"\xff" * 4
    elif kind == "empty":
        del damaged[int(rng.integers(2)) * 44 :]
    elif kind == "zeroed":
        begin = int(rng.integers(size))
        damaged[begin : begin + 1024] = bytes(len(damaged[begin : begin + 1024]))
    else:
        damaged += content
    return bytes(damaged)


def outcome(damaged: Path, original: Path) -> str:
    """Read a damaged file. Raise an error if it has fewer samples than its header says."""
    whole = read_sound(original, 16000).samples
    try:
        samples = read_sound(damaged, 16000, longest_s=60).samples
    except BadSoundError:
        return "refused"
    if np.array_equal(samples, whole):
        return "unharmed"
    # Some headers have no checksum: the sound then has the length and sample rate that its header says.
    info = soundfile.info(str(damaged))
    if abs(len(samples) - info.frames * RATE / info.samplerate) > 2 and info.format != "MP3":
        raise AssertionError(f"{len(samples)} samples, {info.frames} announced at {info.samplerate} Hz")
    if info.samplerate != RATE:
        return "accepted with the sample rate of a damaged header"
    if len(samples) == len(whole):
        return "accepted with changed samples"
    assert info.format not in ("OGG", "FLAC", "WAV"), f"{len(samples)} of {len(whole)} samples"
    lost = "fewer" if len(samples) < len(whole) else "more"
    return f"accepted with {lost} samples, as many as a damaged header says"


def test_damaged_sound_files_never_make_a_wrong_corpus(
    attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    sound = 0.1 * np.random.default_rng(0).standard_normal(SAMPLES)
    recordings = []
    for suffix, container, subtype in KINDS:
        soundfile.write(tmp_path / f"{subtype}.{suffix}", sound, RATE, format=container, subtype=subtype)
    for seed in attack.seeds(short=40, full=520):
        suffix, _, subtype = KINDS[seed % len(KINDS)]
        rng = np.random.default_rng(seed)
        mutation = str(rng.choice(MUTATIONS))
        original, file = tmp_path / f"{subtype}.{suffix}", source / f"{seed:04}.{suffix}"
        file.write_bytes(mutate(original.read_bytes(), mutation, rng))
        recordings.append(Recording(file.name, "train", {"task": "ab"[seed % 2]}))
        with attack.trial(seed, f"{subtype}, {mutation}"):
            attack.count(outcome(file, original))
    soundfile.write(source / "whole.wav", sound, RATE)
    recordings.append(Recording("whole.wav", "train", {"task": "a"}))
    monkeypatch.setattr(reader_pool, "_CHUNK_FILES", 8)
    corpus = Corpus("sounds", source, "official", {"task": ["a", "b"]}, recordings)
    settings = [PrepareSettings(bad=100, longest=60, workers=workers) for workers in (1, 2)]
    one, two = (contents(prepare(corpus, tmp_path / f"out{s.workers}", s).folder) for s in settings)
    assert one == two
    assert b"crashes" not in one["problems.csv"]


PREPARE = """
import resource, sys
from pathlib import Path
from audiostride.audio_file import BadSoundError, read_sound
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        read_sound(path, 16000, longest_s=60)
    except BadSoundError:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_absurd_headers_take_little_memory(tmp_path: Path) -> None:
    for channels in (1, 1024):
        for rate in (7, 1000, 1_000_000, 2**31 - 1):
            sound = np.random.default_rng(0).standard_normal((20, channels)) / 10
            soundfile.write(tmp_path / f"{channels}_{rate}.wav", sound, rate)
    soundfile.write(tmp_path / "long.flac", np.zeros((400_000, 1)), 1000)
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, tmp_path], stdout=subprocess.PIPE, text=True, timeout=120, check=True
    )
    assert int(done.stdout.split()[-1]) < 100_000  # kilobytes
