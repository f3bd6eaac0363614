"""Words spoken by eSpeak NG in the layout of Speech Commands."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiostride.corpora import speech_commands
from audiostride.demo.spoken import SpokenSettings, speak_corpus
from audiostride.errors import UserError


def test_spoken_corpus_has_the_layout_of_speech_commands_with_each_speaker_in_one_split(
    tmp_path: Path,
) -> None:
    settings = SpokenSettings(words=("yes", "no"), speakers=10, takes=2)
    assert speak_corpus(tmp_path / "spoken", settings)
    corpus = speech_commands.read(tmp_path / "spoken")
    assert Counter(r.split for r in corpus.recordings) == {"train": 28, "valid": 4, "test": 8}
    splits_of: dict[str, set[str]] = {}
    for recording in corpus.recordings:
        speaker = recording.path.split("/")[1].split("_")[0]
        splits_of.setdefault(speaker, set()).add(recording.split)
        sound, rate = soundfile.read(tmp_path / "spoken" / recording.path)
        assert (rate, sound.shape) == (16000, (16000,))
        assert 0.05 < np.abs(sound).max() < 0.95
    assert len(splits_of) == 10
    assert all(len(splits) == 1 for splits in splits_of.values())


def test_spoken_corpus_is_written_once(tmp_path: Path) -> None:
    settings = SpokenSettings(words=("yes",), speakers=2, takes=1)
    assert speak_corpus(tmp_path / "spoken", settings)
    assert not speak_corpus(tmp_path / "spoken", settings)
    assert speak_corpus(tmp_path / "spoken", SpokenSettings(words=("no",), speakers=2, takes=1))
    assert not (tmp_path / "spoken" / "yes").exists()


def test_spoken_corpus_is_equal_in_every_process(tmp_path: Path) -> None:
    """In one process it would differ: eSpeak NG keeps the state of its oscillators."""
    for name in "ab":
        code = (
            "import sys; from pathlib import Path; from audiostride.demo.spoken import *; "
            "speak_corpus(Path(sys.argv[1]), SpokenSettings(words=('yes',), speakers=2, takes=1))"
        )
        subprocess.run([sys.executable, "-c", code, tmp_path / name], check=True)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.wav"))
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_folder_that_is_not_a_spoken_corpus_is_left_unchanged(words: Path) -> None:
    with pytest.raises(UserError, match="in the way"):
        speak_corpus(words, SpokenSettings(words=("yes",), speakers=1, takes=1))
    assert len(list(words.rglob("*.wav"))) == 31
