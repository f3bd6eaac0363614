"""The contents of a prepared corpus, and where it may be written."""

import json
import os
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.noise_corpus import ALLOW_BAD, contents, noise, read_csv, write_noise_corpus

from audiostride.config.settings import PrepareSettings
from audiostride.corpora import speech_commands
from audiostride.corpora.base import Corpus, Problem, Recording
from audiostride.data.store import open_store
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare


def test_packed_recordings_equal_those_of_the_files(words: Path, out: Path) -> None:
    corpus = speech_commands.read(words)
    store = prepare(corpus, out)
    assert len(store.names) == len(corpus.recordings) == 30
    for number, recording in enumerate(corpus.recordings):
        expected, _ = soundfile.read(words / recording.path, dtype="int16")
        begin, end = store.starts[number : number + 2]
        assert np.array_equal(store.waveforms[begin:end], expected)
        assert store.names[number] == recording.path
        label = store.labels["speech_commands"][number]
        assert store.tasks["speech_commands"][label] == recording.labels["speech_commands"]
    assert isinstance(store.waveforms, np.memmap)


def test_any_format_rate_and_channel_count_becomes_16_khz_mono(tmp_path: Path, out: Path) -> None:
    rates = {"a.wav": 8000, "b.flac": 44100, "c.ogg": 48000, "d.mp3": 22050, "e.aiff": 96000}
    for number, (name, rate) in enumerate(rates.items()):
        sound = 0.4 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
        soundfile.write(tmp_path / name, np.stack([sound] * (number + 1), axis=1)[:, :2], rate)
    recordings = [Recording(name, "train", {"task": "a"}) for name in rates]
    store = prepare(Corpus("sounds", tmp_path, "given", {"task": ["a"]}, recordings), out)
    expected = 0.4 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    for begin, end in zip(store.starts[:-1], store.starts[1:], strict=True):
        assert end - begin == 16000
        sound = store.waveforms[begin:end] / 32768
        np.testing.assert_allclose(sound[1000:-1000], expected[1000:-1000], atol=0.02)


def test_card_counts_recordings_and_seconds(corpus: Corpus, out: Path) -> None:
    (corpus.folder / "001.wav").write_bytes(b"")
    corpus = replace(corpus, notes=("a note",), problems=(Problem("x.wav", "row without its file"),))
    card = prepare(corpus, out, ALLOW_BAD).card
    assert card["recordings"] == 11
    assert card["left_out"] == 1
    assert card["seconds"] == pytest.approx((sum(range(200, 212)) - 201) / 16000, abs=1e-3)
    assert card["counts"]["train"] == {"task": {"a": 3, "b": 3}}
    assert card["counts"]["valid"] == {"task": {"a": 0, "b": 2}}
    assert card["counts"]["test"] == {"task": {"a": 3, "b": 0}}
    assert card["split"] == "official"
    assert card["folder"] == str(corpus.folder)
    assert card["notes"][0] == "a note"
    assert [note.split(" share ")[0] for note in card["notes"][1:]] == [
        "2 of 2 valid recordings",
        "3 of 3 test recordings",
    ]
    assert card["problems"] == {"row without its file": 1, "cannot be read as sound": 1}


def test_recording_without_label_of_a_task_is_packed(corpus: Corpus, out: Path) -> None:
    tasks = corpus.tasks | {"pitch": ["60", "62"]}
    first = replace(corpus.recordings[0], labels={"pitch": "62"})
    store = prepare(replace(corpus, tasks=tasks, recordings=[first, *corpus.recordings[1:]]), out)
    assert store.labels["task"][:2].tolist() == [-1, 1]
    assert store.labels["pitch"].tolist() == [1] + [-1] * 11
    assert store.card["counts"]["train"]["pitch"] == {"60": 0, "62": 1}


def test_left_out_and_suspicious_files_are_listed(corpus: Corpus, out: Path) -> None:
    (corpus.folder / "001.wav").write_bytes(b"RIFF no sound")
    soundfile.write(corpus.folder / "002.wav", np.zeros(300), 16000)
    soundfile.write(corpus.folder / "003.wav", np.clip(99 * noise(300, 3), -1, 1), 16000)
    (corpus.folder / "007.wav").write_bytes((corpus.folder / "005.wav").read_bytes())
    store = prepare(
        replace(corpus, problems=(Problem("x.wav", "file without its row", "?"),)), out, ALLOW_BAD
    )
    assert read_csv(out / "problems.csv") == [
        ["file", "problem", "detail"],
        ["x.wav", "file without its row", "?"],
        ["001.wav", "cannot be read as sound", ""],
        ["002.wav", "is silent", ""],
        ["003.wav", "is clipped", ""],
        ["007.wav", "same sound as another file", "005.wav"],
    ]
    # Clipped files and copies are kept; no file is replaced by zeros.
    assert set(store.names) == {r.path for r in corpus.recordings} - {"001.wav", "002.wav"}
    assert len(store.waveforms) == sum(range(200, 212)) - 201 - 202 + (300 - 203) + (205 - 207)


def test_undecodable_file_names_are_kept(corpus: Corpus, out: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.wav"), os.fsdecode(b"\xff\n.wav")]
    for old, name in zip(corpus.recordings, names, strict=False):
        (corpus.folder / old.path).rename(corpus.folder / name)
    (corpus.folder / names[1]).write_bytes(b"")
    renamed = [replace(r, path=name) for r, name in zip(corpus.recordings, names, strict=False)]
    corpus = replace(corpus, recordings=[*renamed, *corpus.recordings[2:]])
    store = prepare(corpus, out, ALLOW_BAD)
    assert store.names[0] == names[0]
    assert read_csv(out / "problems.csv")[1] == [names[1], "cannot be read as sound", ""]
    with pytest.raises(UserError, match=r"1 of 12 files cannot be used"):
        prepare(corpus, out, PrepareSettings(longest=60))


def test_hash_depends_on_the_sound_and_not_on_its_folder(corpus: Corpus, tmp_path: Path) -> None:
    first = prepare(corpus, tmp_path / "first")
    corpus.folder.rename(tmp_path / "moved")
    moved = replace(corpus, folder=tmp_path / "moved")
    again = prepare(moved, tmp_path / "again")
    assert again.card["hash"] == first.card["hash"]
    assert again.identity == first.identity
    soundfile.write(tmp_path / "moved" / "004.wav", noise(204, 99), 16000)
    other = prepare(moved, tmp_path / "other")
    assert other.card["hash"] != first.card["hash"]
    assert other.identity != first.identity


def test_pickled_store_contains_its_path_instead_of_samples(corpus: Corpus, out: Path) -> None:
    store = prepare(corpus, out)
    message = pickle.dumps(store)
    assert len(message) < 1000
    assert np.array_equal(pickle.loads(message).waveforms, store.waveforms)


def test_samples_are_read_only(corpus: Corpus, out: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        prepare(corpus, out).waveforms[:] = 0


def test_out_folder_with_other_files_is_refused(words: Path) -> None:
    with pytest.raises(UserError, match="exists and is not a prepared corpus"):
        prepare(speech_commands.read(words), words)
    with pytest.raises(UserError, match="exists and is not a prepared corpus"):
        prepare(speech_commands.read(words), words / "testing_list.txt")
    assert (words / "testing_list.txt").is_file()


def test_linked_out_folder_is_filled_at_its_target(corpus: Corpus, out: Path, tmp_path: Path) -> None:
    (tmp_path / "large_disk").mkdir()
    out.parent.mkdir()
    out.symlink_to(tmp_path / "large_disk")
    prepare(corpus, out)
    soundfile.write(corpus.folder / "004.wav", noise(8000, 99), 16000)
    prepare(corpus, out)
    assert out.is_symlink()
    assert (tmp_path / "large_disk" / "card.json").is_file()
    assert not list(tmp_path.glob("*/.*"))


def test_damaged_corpus_reports_a_clear_error_and_is_prepared_again(corpus: Corpus, out: Path) -> None:
    with pytest.raises(UserError, match=r"no prepared corpus in .*: make it with audiostride prepare"):
        open_store(out)
    whole = contents(prepare(corpus, out).folder)
    card = json.loads(whole["card.json"])
    index = whole["index.npz"]
    for name, content, message in [
        (
            "waveforms.i16",
            whole["waveforms.i16"][:1000],
            r"is damaged \(waveforms\.i16 has the wrong length",
        ),
        ("waveforms.i16", whole["waveforms.i16"][:999], "is damaged"),
        ("waveforms.i16", b"", "is damaged"),
        ("index.npz", b"", "is damaged"),
        ("index.npz", index[:-1], "is damaged"),
        ("index.npz", index[: len(index) // 2], "is damaged"),
        ("index.npz", index[:200] + b"xxx" + index[203:], "is damaged"),
        ("card.json", json.dumps(card | {"format": 0}).encode(), "another version of audiostride"),
        ("card.json", json.dumps(card | {"tasks": 3}).encode(), "is damaged"),
        ("card.json", b"[]", "is damaged"),
        ("card.json", b"{", "is damaged"),
        ("card.json", b"\xff", "is damaged"),
    ]:
        (out / name).write_bytes(content)
        with pytest.raises(UserError, match=message + r".*: (delete it and )?prepare it again"):
            open_store(out)
        prepare(corpus, out)
        assert contents(out) == whole
    (out / "index.npz").unlink()
    with pytest.raises(UserError, match="is damaged"):
        open_store(out)


def test_memory_does_not_grow_with_number_and_size_of_files(tmp_path: Path, out: Path) -> None:
    corpus = write_noise_corpus(tmp_path / "source", 150)
    for recording in corpus.recordings:
        soundfile.write(corpus.folder / recording.path, noise(16000, 0), 16000)
    block = np.tile(noise(96000, 1).astype(np.float32)[:, None], (1, 8))
    with soundfile.SoundFile(corpus.folder / "000.wav", "w", 96000, 8, format="WAVEX") as file:
        for _ in range(30):
            file.write(block)
    tracemalloc.start()
    store = prepare(corpus, out, ALLOW_BAD)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert store.starts[1] == 30 * 16000
    # The large file alone is 92 MB in memory, the others 5 MB.
    assert peak < 25e6
