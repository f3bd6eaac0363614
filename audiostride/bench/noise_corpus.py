"""Corpora of noise for the benchmarks."""

from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from audiostride.corpora.base import Corpus, Recording


def noise_corpus(
    folder: Path,
    files: int,
    seconds: float,
    damaged_every: int = 0,
    sample_rate: int = 16000,
    channels: int = 1,
) -> Corpus:
    """Write 16-bit WAV files of noise with ten labels.

    Args:
        folder: folder to write to.
        files: number of files.
        seconds: length of each file.
        damaged_every: cut one file in half of every so many; 0 damages none.
        sample_rate: sample rate of the files in Hz.
        channels: channels of each file.
    """
    rng = np.random.default_rng(0)
    frames = round(seconds * sample_rate)
    noise = rng.integers(-8000, 8000, (frames + files, channels), dtype=np.int16)
    recordings = []
    for number in tqdm(range(files), desc="writing noise", unit=" files"):
        label = str(number % 10)
        path = folder / label / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise[number : number + frames], sample_rate, subtype="PCM_16")
        if damaged_every and number % damaged_every == damaged_every - 1:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        split = ("train", "valid", "test")[max(0, number % 10 - 7)]
        recordings.append(Recording(f"{label}/{number}.wav", split, {"noise": label}))
    labels = {"noise": [str(label) for label in range(10)]}
    return Corpus("noise", folder, "official", labels, recordings)
