"""A tiny corpus with two tasks on the same recordings, and the recipe of a run on it."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audiostride.config.settings import Recipe
from audiostride.corpora.base import Corpus, Recording
from audiostride.data.selection import Selection, select
from audiostride.data.store import Store
from helpers.tiny_run import tiny

LABELS = {"shape": ["click", "hiss"], "level": ["high", "low", "middle"]}


def write_sounds(folder: Path, recordings: int = 40, valid: bool = True) -> Corpus:
    """Write clicks or noise at one of three levels. Every fifth recording has no label for the level."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    made = []
    for number in range(recordings):
        shape, level = LABELS["shape"][number % 2], ("low", "middle", "high")[number % 3]
        sound = rng.standard_normal(8000) / 4
        if shape == "click":
            sound = np.where(np.arange(8000) % 1600 == 100, 1.0, 0.0)
        gain = {"low": 0.01, "middle": 0.1, "high": 1.0}[level]
        soundfile.write(folder / f"{number}.wav", 0.9 * gain * sound, 16000)
        labels = {"shape": shape} | ({"level": level} if number % 5 else {})
        split = ("train", "train", "valid" if valid else "train", "test")[number // 2 % 4]
        made.append(Recording(f"{number}.wav", split, labels, group=str(number // 2)))
    return Corpus("sounds", folder, "given", LABELS, made)


def recipe(*stores: Store, **training: Any) -> Recipe:
    made = tiny(stores[0], **training)
    made.data.corpus = [str(store.folder) for store in stores]
    return made


def every(stores: list[Store], split: str = "train") -> Selection:
    return select(stores, split, {task: names for store in stores for task, names in store.tasks.items()})
