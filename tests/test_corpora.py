"""The Speech Commands reader, and words spoken in its layout."""

import shutil
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


def test_words_are_folders_and_splits_are_the_official_lists(words: Path) -> None:
    corpus = speech_commands.read(words)
    assert corpus.tasks == {"speech_commands": ["no", "stop", "yes"]}
    assert Counter(r.split for r in corpus.recordings) == {"train": 18, "valid": 6, "test": 6}
    tested = {r.path for r in corpus.recordings if r.split == "test"}
    assert tested == set((words / "testing_list.txt").read_text().split())
    assert all(r.path.split("/")[0] == r.labels["speech_commands"] for r in corpus.recordings)


def test_background_noise_and_hidden_files_are_no_words(words: Path) -> None:
    (words / ".cache").mkdir()
    (words / "empty").mkdir()
    (words / "yes" / "._0000_nohash_0.wav").write_bytes(b"")
    (words / "LICENSE").write_text("CC BY 4.0")
    corpus = speech_commands.read(words)
    assert corpus.tasks["speech_commands"] == ["no", "stop", "yes"]
    assert len(corpus.recordings) == 30


def test_lists_and_names_are_read_as_people_write_them(words: Path) -> None:
    """Words of two words, a byte order mark, Windows' line ends, ./ and .WAV."""
    (words / "yes").rename(words / "yes please")
    for name in ("validation_list.txt", "testing_list.txt"):
        lines = (words / name).read_text().replace("yes/", "yes please/").splitlines()
        text = "".join(f"./{line}\r\n" for line in lines)
        (words / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    for file in (words / "no").iterdir():
        file.rename(file.with_suffix(".WAV"))
        for name in ("validation_list.txt", "testing_list.txt"):
            text = (words / name).read_text(encoding="utf-8-sig")
            (words / name).write_text(text.replace(f"no/{file.name}", f"no/{file.stem}.WAV"))
    corpus = speech_commands.read(words)
    assert Counter(r.split for r in corpus.recordings) == {"train": 18, "valid": 6, "test": 6}
    assert corpus.tasks["speech_commands"] == ["no", "stop", "yes please"]
    assert not corpus.notes


def test_listed_recordings_that_are_missing_are_noted(words: Path) -> None:
    shutil.rmtree(words / "yes")
    corpus = speech_commands.read(words)
    assert corpus.notes == (
        f"4 of the recordings in validation_list.txt and testing_list.txt are not in {words}",
    )
    assert len(corpus.recordings) == 20


def test_recorded_corpus_has_the_counts_of_its_lists(recorded_words: Path) -> None:
    corpus = speech_commands.read(recorded_words)
    assert len(corpus.tasks["speech_commands"]) == 35
    assert Counter(r.split for r in corpus.recordings) == {"train": 1723, "valid": 396, "test": 975}
    assert not corpus.notes


def test_wrong_folders_are_told_in_a_sentence(words: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*nowhere: unpack speech_commands"):
        speech_commands.read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty is empty: unpack"):
        speech_commands.read(tmp_path / "empty")
    with pytest.raises(
        UserError, match=r"not Speech Commands, validation_list\.txt is missing: give the folder"
    ):
        speech_commands.read(words / "yes")
    for word in ("yes", "no", "stop"):
        shutil.rmtree(words / word)
    with pytest.raises(UserError, match="its folders hold no"):
        speech_commands.read(words)
    (words / "testing_list.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match=r"testing_list\.txt is no text"):
        speech_commands.read(words)


def test_spoken_corpus_reads_as_speech_commands_with_speakers_on_one_side(tmp_path: Path) -> None:
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


def test_spoken_corpus_is_made_once(tmp_path: Path) -> None:
    settings = SpokenSettings(words=("yes",), speakers=2, takes=1)
    assert speak_corpus(tmp_path / "spoken", settings)
    assert not speak_corpus(tmp_path / "spoken", settings)
    assert speak_corpus(tmp_path / "spoken", SpokenSettings(words=("no",), speakers=2, takes=1))
    assert not (tmp_path / "spoken" / "yes").exists()


def test_spoken_corpus_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Not twice in one: eSpeak NG keeps the state of its oscillators."""
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


def test_spoken_corpus_does_not_touch_what_it_did_not_make(words: Path) -> None:
    with pytest.raises(UserError, match="in the way"):
        speak_corpus(words, SpokenSettings(words=("yes",), speakers=1, takes=1))
    assert len(list(words.rglob("*.wav"))) == 31
