"""A prepared corpus whose samples count."""

from pathlib import Path

import numpy as np
import soundfile

from audiostride.config.settings import PrepareSettings
from audiostride.corpora.base import Corpus, Recording
from audiostride.data.store import Store
from audiostride.prepare.prepare import prepare


def counting_store(folder: Path, lengths: list[int], split: str = "train", sample_rate: int = 16000) -> Store:
    """Prepare recordings whose samples are 1, 2, 3, …, so that a window shows where it was cut.

    Args:
        folder: for the corpus and the prepared corpus.
        lengths: of the recordings, in samples.
        split: of all recordings.
        sample_rate: of the recordings and of the prepared corpus in Hz.
    """
    (folder / "source").mkdir(parents=True)
    recordings = []
    for number, length in enumerate(lengths):
        samples = (np.arange(length) + 1).astype(np.int16)
        soundfile.write(folder / "source" / f"{number}.wav", samples, sample_rate, subtype="PCM_16")
        recordings.append(Recording(f"{number}.wav", split, {"task": "ab"[number % 2]}))
    corpus = Corpus("counting", folder / "source", "official", {"task": ["a", "b"]}, recordings)
    return prepare(corpus, folder / "out", PrepareSettings(sample_rate=sample_rate))
