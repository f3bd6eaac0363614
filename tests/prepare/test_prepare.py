"""The prepared corpus: what it holds, and that it comes about whole or not at all."""

import csv
import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from numpy.typing import NDArray

from audiostride.audio_file import Sound, read_sound
from audiostride.config.settings import PrepareSettings
from audiostride.corpora import speech_commands
from audiostride.corpora.base import Corpus, Problem, Recording
from audiostride.data.store import open_store
from audiostride.errors import UserError
from audiostride.prepare import packing, reader_pool, staging
from audiostride.prepare import prepare as prepare_module
from audiostride.prepare.prepare import prepare

ALLOW = PrepareSettings(bad=50, workers=1)


def noise(samples: int, seed: int) -> NDArray[np.float64]:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def write_corpus(folder: Path, files: int = 12, **how: Any) -> Corpus:
    """Sounds of different content and length, of two classes and three splits."""
    folder.mkdir(parents=True)
    recordings = []
    for number in range(files):
        name = f"{number:03}.wav"
        soundfile.write(folder / name, noise(200 + number, number), 16000, **how)
        split = ("train", "valid", "test", "train")[number % 4]
        recordings.append(Recording(name, split, {"task": "ab"[number % 2]}, f"speaker {number // 2}"))
    return Corpus("sounds", folder, "official", {"task": ["a", "b"]}, recordings)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def listed(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as lines:
        return list(csv.reader(lines))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return write_corpus(tmp_path / "source")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "home" / "out"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, as they are read, four at a time."""
    names: list[str] = []

    def counted(path: Path, *rest: Any) -> Sound:
        names.append(path.name)
        return read_sound(path, *rest)

    monkeypatch.setattr(reader_pool, "read_sound", counted)
    monkeypatch.setattr(reader_pool, "_CHUNK_FILES", 4)
    return names


def interrupt(corpus: Corpus, out: Path, after: int) -> None:
    """Prepare, and press Ctrl-C when so many files have been read."""
    read, count = reader_pool.read_sound, 0

    def interrupted(*args: Any) -> Sound:
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt
        return read(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_pool, "read_sound", interrupted)
        with pytest.raises(UserError, match=r"^interrupted: run the same command again to continue$"):
            prepare(corpus, out, ALLOW)


# What it holds


def test_packed_recordings_are_those_of_the_files(words: Path, out: Path) -> None:
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


def test_the_card_counts_recordings_and_seconds(corpus: Corpus, out: Path) -> None:
    (corpus.folder / "001.wav").write_bytes(b"")
    corpus = replace(corpus, notes=("a note",), problems=(Problem("x.wav", "row without its file"),))
    card = prepare(corpus, out, ALLOW).card
    assert card["recordings"] == 11
    assert card["left_out"] == 1
    assert card["seconds"] == pytest.approx((sum(range(200, 212)) - 201) / 16000, abs=1e-3)
    assert card["counts"]["train"] == {"task": {"a": 3, "b": 3}}
    assert card["counts"]["valid"] == {"task": {"a": 0, "b": 2}}
    assert card["counts"]["test"] == {"task": {"a": 3, "b": 0}}
    assert card["split"] == "official"
    assert card["folder"] == str(corpus.folder)
    assert card["notes"] == ["a note"]
    assert card["problems"] == {"row without its file": 1, "cannot be read as sound": 1}


def test_a_recording_may_lack_a_task(corpus: Corpus, out: Path) -> None:
    tasks = corpus.tasks | {"pitch": ["60", "62"]}
    first = replace(corpus.recordings[0], labels={"pitch": "62"})
    store = prepare(replace(corpus, tasks=tasks, recordings=[first, *corpus.recordings[1:]]), out)
    assert store.labels["task"][:2].tolist() == [-1, 1]
    assert store.labels["pitch"].tolist() == [1] + [-1] * 11
    assert store.card["counts"]["train"]["pitch"] == {"60": 0, "62": 1}


def test_files_that_were_left_out_or_need_a_look_are_listed(corpus: Corpus, out: Path) -> None:
    (corpus.folder / "001.wav").write_bytes(b"RIFF no sound")
    soundfile.write(corpus.folder / "002.wav", np.zeros(300), 16000)
    soundfile.write(corpus.folder / "003.wav", np.clip(99 * noise(300, 3), -1, 1), 16000)
    (corpus.folder / "007.wav").write_bytes((corpus.folder / "005.wav").read_bytes())
    store = prepare(replace(corpus, problems=(Problem("x.wav", "file without its row", "?"),)), out, ALLOW)
    assert listed(out / "problems.csv") == [
        ["file", "problem", "detail"],
        ["x.wav", "file without its row", "?"],
        ["001.wav", "cannot be read as sound", ""],
        ["002.wav", "is silent", ""],
        ["003.wav", "is clipped", ""],
        ["007.wav", "same sound as another file", "005.wav"],
    ]
    # Clipped files and copies stay; no file is replaced by zeros.
    assert set(store.names) == {r.path for r in corpus.recordings} - {"001.wav", "002.wav"}
    assert len(store.waveforms) == sum(range(200, 212)) - 201 - 202 + (300 - 203) + (205 - 207)


def test_names_that_are_no_text_are_kept(corpus: Corpus, out: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.wav"), os.fsdecode(b"\xff\n.wav")]
    for old, name in zip(corpus.recordings, names, strict=False):
        (corpus.folder / old.path).rename(corpus.folder / name)
    (corpus.folder / names[1]).write_bytes(b"")
    renamed = [replace(r, path=name) for r, name in zip(corpus.recordings, names, strict=False)]
    corpus = replace(corpus, recordings=[*renamed, *corpus.recordings[2:]])
    store = prepare(corpus, out, ALLOW)
    assert store.names[0] == names[0]
    assert listed(out / "problems.csv")[1] == [names[1], "cannot be read as sound", ""]
    with pytest.raises(UserError, match=r"1 of 12 files cannot be used"):
        prepare(corpus, out, PrepareSettings(longest=60))


def test_the_hash_follows_from_the_sound_and_not_from_its_place(corpus: Corpus, tmp_path: Path) -> None:
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


def test_a_store_is_opened_again_by_other_processes_instead_of_copied(corpus: Corpus, out: Path) -> None:
    store = prepare(corpus, out)
    message = pickle.dumps(store)
    assert len(message) < 1000
    assert np.array_equal(pickle.loads(message).waveforms, store.waveforms)


def test_the_samples_cannot_be_written_to_by_mistake(corpus: Corpus, out: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        prepare(corpus, out).waveforms[:] = 0


# What is done again


def test_preparing_again_does_nothing_until_something_changes(
    corpus: Corpus, out: Path, reads: list[str]
) -> None:
    prepare(corpus, out)
    assert len(reads) == 12
    written = (out / "card.json").stat().st_mtime_ns
    prepare(corpus, out)
    assert len(reads) == 12
    assert (out / "card.json").stat().st_mtime_ns == written
    soundfile.write(corpus.folder / "004.wav", noise(8000, 99), 16000)
    store = prepare(corpus, out)
    assert store.starts[5] - store.starts[4] == 8000
    swapped = replace(corpus, recordings=[replace(r, split="test") for r in corpus.recordings])
    assert (prepare(swapped, out).splits == 2).all()


def test_a_file_that_can_be_opened_now_is_a_change(
    corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which shows neither in its size nor in its time."""
    allowed = os.access
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: path.name != "003.wav" and allowed(path, mode))
        patch.setattr(reader_pool, "read_sound", refusing("003.wav"))
        assert prepare(corpus, out, ALLOW).card["left_out"] == 1
    assert prepare(corpus, out, ALLOW).card["left_out"] == 0


def refusing(*names: str) -> Callable[..., Sound]:
    def read(path: Path, *rest: Any) -> Sound:
        # As of a file that may not be opened.
        return read_sound(path if path.name not in names else path / "x", *rest)

    return read


@pytest.mark.parametrize("after", [0, 3, 4, 9, 11])
def test_an_interrupted_preparation_goes_on_where_it_was(
    after: int, corpus: Corpus, out: Path, tmp_path: Path, reads: list[str]
) -> None:
    expected = contents(prepare(corpus, tmp_path / "expected").folder)
    interrupt(corpus, out, after)
    assert not out.exists()
    reads.clear()
    prepare(corpus, out)
    assert reads == [r.path for r in corpus.recordings[4 * (after // 4) :]]
    assert contents(out) == expected
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_interruption_soon_after_another_loses_nothing(
    corpus: Corpus, out: Path, reads: list[str]
) -> None:
    interrupt(corpus, out, 8)
    interrupt(corpus, out, 0)
    reads.clear()
    prepare(corpus, out)
    assert reads == ["008.wav", "009.wav", "010.wav", "011.wav"]


def test_files_that_changed_in_between_are_read_anew_and_no_others(
    corpus: Corpus, out: Path, tmp_path: Path, reads: list[str]
) -> None:
    interrupt(corpus, out, 8)
    soundfile.write(corpus.folder / "002.wav", noise(500, 99), 16000)
    (corpus.folder / "005.wav").unlink()
    corpus = replace(corpus, recordings=[r for r in corpus.recordings if r.path != "005.wav"])
    reads.clear()
    prepare(corpus, out)
    assert reads == ["002.wav", "008.wav", "009.wav", "010.wav", "011.wav"]
    assert contents(out) == contents(prepare(corpus, tmp_path / "expected").folder)


def test_other_settings_begin_anew(corpus: Corpus, out: Path, reads: list[str]) -> None:
    interrupt(corpus, out, 8)
    reads.clear()
    assert prepare(corpus, out, PrepareSettings(bad=50, longest=205.5 / 16000)).card["left_out"] == 6
    assert len(reads) == 12


@pytest.mark.parametrize("damage", [b"\0" * 20, b"null\n", b'[["004.wav", 1, 2], 3\n', b"[[", b"\xff\n"])
def test_what_a_kill_left_unfinished_is_cut_off(
    damage: bytes, corpus: Corpus, out: Path, tmp_path: Path, reads: list[str]
) -> None:
    expected = contents(prepare(corpus, tmp_path / "expected").folder)
    interrupt(corpus, out, 4)
    for name, rest in (("journal.jsonl", damage), ("waveforms.i16", b"odd")):
        with (staging.staging_folder(out) / name).open("ab") as file:
            file.write(rest)
    interrupt(corpus, out, 4)
    reads.clear()
    prepare(corpus, out)
    assert reads == ["008.wav", "009.wav", "010.wav", "011.wav"]
    assert contents(out) == expected


def test_samples_that_a_power_failure_took_are_read_again(
    corpus: Corpus, out: Path, tmp_path: Path, reads: list[str]
) -> None:
    expected = contents(prepare(corpus, tmp_path / "expected").folder)
    interrupt(corpus, out, 8)
    os.truncate(staging.staging_folder(out) / "waveforms.i16", 2 * 700)
    reads.clear()
    prepare(corpus, out)
    assert reads == [r.path for r in corpus.recordings[3:]]
    assert contents(out) == expected


# Bad files


def test_more_bad_files_than_allowed_are_an_error(tmp_path: Path, out: Path) -> None:
    corpus = write_corpus(tmp_path / "source", 100)
    (corpus.folder / "010.wav").write_bytes(b"")
    assert prepare(corpus, out).card["left_out"] == 1
    soundfile.write(corpus.folder / "020.wav", np.zeros(99), 16000)
    problems = out.parent / "out.problems.csv"
    with pytest.raises(UserError) as caught:
        prepare(corpus, out)
    assert str(caught.value) == (
        "2 of 100 files cannot be used (2 %, allowed: 1 %); the first is 010.wav, which cannot be read as "
        f"sound: repair them or allow more with --bad ({problems} lists all; the files packed so far are "
        "kept)"
    )
    assert listed(problems)[1:] == [["010.wav", "cannot be read as sound", ""], ["020.wav", "is silent", ""]]
    # The old corpus stays, and the list goes when it is not needed any more.
    assert len(open_store(out).names) == 99
    assert len(prepare(corpus, out, PrepareSettings(bad=2)).names) == 98
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_repaired_files_are_read_again_and_no_others(
    corpus: Corpus, out: Path, tmp_path: Path, reads: list[str]
) -> None:
    whole = (corpus.folder / "001.wav").read_bytes()
    for name in ("001.wav", "008.wav"):
        (corpus.folder / name).write_bytes(b"")
    with pytest.raises(UserError, match="2 of 12 files"):
        prepare(corpus, out)
    (corpus.folder / "001.wav").write_bytes(whole)
    reads.clear()
    assert prepare(corpus, out, ALLOW).card["left_out"] == 1
    assert reads == ["001.wav", "008.wav"]
    assert contents(out) == contents(prepare(corpus, tmp_path / "expected", ALLOW).folder)


def test_a_file_that_failed_once_is_tried_again(
    corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that could not be reached leaves no trace in a file's size and time."""
    with monkeypatch.context() as patch:
        patch.setattr(reader_pool, "read_sound", refusing("003.wav", "004.wav"))
        with pytest.raises(UserError, match="2 of 12 files"):
            prepare(corpus, out)
    assert prepare(corpus, out).card["left_out"] == 0


def test_vanished_files_are_bad_files(corpus: Corpus, out: Path) -> None:
    (corpus.folder / "003.wav").unlink()
    (corpus.folder / "004.wav").unlink()
    (corpus.folder / "004.wav").mkdir()
    assert prepare(corpus, out, ALLOW).card["problems"] == {"is missing or not a file": 2}


def test_without_a_single_good_file_there_is_no_corpus(corpus: Corpus, out: Path) -> None:
    with pytest.raises(UserError, match="has no recordings: there is nothing to prepare"):
        prepare(replace(corpus, recordings=[]), out)
    for recording in corpus.recordings:
        (corpus.folder / recording.path).write_bytes(b"")
    with pytest.raises(UserError, match=r"12 of 12 files cannot be used \(100 %.*: repair them \("):
        prepare(corpus, out, PrepareSettings(bad=100))
    assert not out.exists()


# Places


def test_preparing_over_other_files_is_refused(words: Path) -> None:
    with pytest.raises(UserError, match="exists and is not a prepared corpus"):
        prepare(speech_commands.read(words), words)
    with pytest.raises(UserError, match="exists and is not a prepared corpus"):
        prepare(speech_commands.read(words), words / "testing_list.txt")
    assert (words / "testing_list.txt").is_file()


def test_a_linked_folder_is_filled_where_it_lies(corpus: Corpus, out: Path, tmp_path: Path) -> None:
    (tmp_path / "large_disk").mkdir()
    out.parent.mkdir()
    out.symlink_to(tmp_path / "large_disk")
    prepare(corpus, out)
    soundfile.write(corpus.folder / "004.wav", noise(8000, 99), 16000)
    prepare(corpus, out)
    assert out.is_symlink()
    assert (tmp_path / "large_disk" / "card.json").is_file()
    assert not list(tmp_path.glob("*/.*"))


def test_damaged_corpora_are_told_in_a_sentence_and_mended(corpus: Corpus, out: Path) -> None:
    with pytest.raises(UserError, match=r"no prepared corpus in .*: make it with audiostride prepare"):
        open_store(out)
    whole = contents(prepare(corpus, out).folder)
    card = json.loads(whole["card.json"])
    index = whole["index.npz"]
    for name, content, sentence in [
        ("waveforms.i16", whole["waveforms.i16"][:1000], r"is damaged \(waveforms\.i16 is cut\)"),
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
        with pytest.raises(UserError, match=sentence + ".*: prepare it again"):
            open_store(out)
        prepare(corpus, out)
        assert contents(out) == whole
    (out / "index.npz").unlink()
    with pytest.raises(UserError, match="is damaged"):
        open_store(out)


# Kills, full disks, several processes


def test_killed_before_any_step_it_leaves_a_whole_corpus_or_none_and_then_finishes(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "crash" / "prepare_crash_sweep.py"
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = map(int, done.stdout.split())
    assert second > first > 25


def full_disk(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (staging, "FileLock"),
        (packing, "_resume_journal"),
        (packing.json, "dumps"),
        (packing, "place_waveforms"),
        (prepare_module, "write_index"),
        (prepare_module, "_write_problems"),
        (staging.os, "fsync"),
        (staging, "rename"),
    ],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_a_full_disk_leaves_nothing_but_the_old_corpus(
    module: Any, name: str, old: bool, corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old:
        prepare(corpus, out)
        soundfile.write(corpus.folder / "004.wav", noise(8000, 99), 16000)
    before = contents(out) if old else {}
    rename = Path.rename

    def last_rename_fails(self: Path, target: Path) -> Path:
        return full_disk() if self.name == "corpus" else rename(self, target)

    with monkeypatch.context() as patch:
        if name == "rename":
            patch.setattr(Path, "rename", last_rename_fails)
        else:
            patch.setattr(prepare_module if name == "place_waveforms" else module, name, full_disk)
        with pytest.raises(UserError, match=r"the disk of .* is full: free some space .*no files were left"):
            prepare(corpus, out)
    assert [path.name for path in out.parent.iterdir()] == (["out"] if old else [])
    assert not old or contents(out) == before
    assert len(prepare(corpus, out).names) == 12


def test_an_interruption_between_the_renamings_brings_the_old_corpus_back(
    corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    before = contents(prepare(corpus, out).folder)
    soundfile.write(corpus.folder / "004.wav", noise(8000, 99), 16000)
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "corpus":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(UserError, match="interrupted"):
            prepare(corpus, out)
    assert contents(out) == before
    reads.clear()
    assert len(prepare(corpus, out).waveforms) > 8000
    assert not reads


def test_one_process_at_a_time_prepares(corpus: Corpus, out: Path) -> None:
    part = staging.staging_folder(out)
    part.mkdir(parents=True)
    with (
        FileLock(part / "lock"),
        pytest.raises(UserError, match=r"another process is preparing .*out: wait"),
    ):
        prepare(corpus, out)
    assert not out.exists()
    assert len(prepare(corpus, out).names) == 12


def test_two_processes_write_the_same_bytes_as_one(
    corpus: Corpus, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_pool, "_CHUNK_FILES", 1)
    (corpus.folder / "007.wav").write_bytes(b"")
    expected = contents(prepare(corpus, tmp_path / "expected", ALLOW).folder)
    assert contents(prepare(corpus, out, replace(ALLOW, workers=2)).folder) == expected


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that read, one file at a time."""
    start, started = reader_pool._Reader._start, []

    def noted(reader: reader_pool._Reader) -> subprocess.Popen[bytes]:
        started.append(start(reader))
        return started[-1]

    monkeypatch.setattr(reader_pool._Reader, "_start", noted)
    monkeypatch.setattr(reader_pool, "_CHUNK_FILES", 1)
    return started


def bar(happens: Callable[[], None]) -> type[packing.tqdm]:
    """A progress bar at whose every step something happens."""

    class Bar(packing.tqdm):
        def update(self, n: float | None = 1) -> None:
            happens()

    return Bar


def test_after_an_interruption_no_process_is_left_and_no_work_is_lost(
    corpus: Corpus,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    reads: list[str],
    started: list[subprocess.Popen[bytes]],
) -> None:
    def press_ctrl_c() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(packing, "tqdm", bar(press_ctrl_c))
        with pytest.raises(UserError, match="interrupted: "):
            prepare(corpus, out, PrepareSettings(workers=2))
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)
    prepare(corpus, out, PrepareSettings(workers=1))
    assert 0 < len(reads) < 12


def test_processes_that_are_killed_are_replaced(
    corpus: Corpus,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    started: list[subprocess.Popen[bytes]],
) -> None:
    expected = contents(prepare(corpus, tmp_path / "expected").folder)

    def kill_the_first_two() -> None:
        if len(started) == 2:  # a file whose reader is killed a second time is left out
            for process in started:
                process.kill()

    monkeypatch.setattr(packing, "tqdm", bar(kill_the_first_two))
    assert contents(prepare(corpus, out, PrepareSettings(workers=2)).folder) == expected
    assert len(started) > 2
    assert all(process.poll() is not None for process in started)


def test_a_file_that_brings_its_reader_down_is_left_out_and_the_others_are_read(
    corpus: Corpus, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file may that the sound library stumbles over."""
    code = (
        "import os; from audiostride.prepare import reader_pool as p; read = p.read_sound\n"
        "p.read_sound = lambda path, *a: os._exit(3) if path.name == '004.wav' else read(path, *a)\n"
        "p.serve()"
    )
    monkeypatch.setattr(
        reader_pool._Reader,
        "_start",
        lambda self: subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ),
    )
    store = prepare(corpus, out, PrepareSettings(workers=2, bad=10))
    assert store.names.tolist() == [r.path for r in corpus.recordings if r.path != "004.wav"]
    assert store.card["problems"] == {"crashes the process that reads it": 1}


def test_a_script_without_a_main_guard_prepares_with_several_processes(
    corpus: Corpus, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(
        "import sys; from pathlib import Path\n"
        "from audiostride.corpora.folder import read\n"
        "from audiostride.prepare.prepare import prepare, PrepareSettings\n"
        "print('begun')\n"
        "store = prepare(read(Path(sys.argv[1])), Path(sys.argv[2]), PrepareSettings(workers=2))\n"
        "print(len(store.splits))\n"
    )
    for number in range(12):
        place = tmp_path / "mine" / "ab"[number % 2] / f"{number}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpus.folder / f"{number:03}.wav", place)
    command = [sys.executable, "script.py", "mine", "out"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "begun\n12\n"


ORPHANS = """
import os, signal, sys
from pathlib import Path
from audiostride.prepare import reader_pool
from audiostride.config.settings import PrepareSettings

if __name__ == "__main__":
    reader_pool._CHUNK_FILES = 1
    files = [reader_pool.File(f"{number:03}.wav", 444, 0) for number in range(12)]
    chunks = reader_pool.read_files(Path(sys.argv[1]), files, PrepareSettings(workers=2))
    samples, entries = next(chunks)
    print(len(samples), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_reading_processes_do_not_outlive_a_killed_parent(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "orphans.py").write_text(ORPHANS)
    # They hold its standard error: that this returns says that they are gone.
    command = [sys.executable, str(tmp_path / "orphans.py"), str(corpus.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == -9
    assert done.stdout == "400\n"


# Size


def test_memory_stays_flat_however_many_and_large_the_files(tmp_path: Path, out: Path) -> None:
    corpus = write_corpus(tmp_path / "source", 150)
    for recording in corpus.recordings:
        soundfile.write(corpus.folder / recording.path, noise(16000, 0), 16000)
    block = np.tile(noise(96000, 1).astype(np.float32)[:, None], (1, 8))
    with soundfile.SoundFile(corpus.folder / "000.wav", "w", 96000, 8, format="WAVEX") as file:
        for _ in range(30):
            file.write(block)
    tracemalloc.start()
    store = prepare(corpus, out, ALLOW)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert store.starts[1] == 30 * 16000
    # The large file alone is 92 MB in memory, the others 5 MB.
    assert peak < 25e6


def test_a_chunk_is_bounded_in_files_and_in_bytes() -> None:
    files = [reader_pool.File("x", size, 0) for size in [100] * 200 + [10**9, 10**9] + [10**6] * 10]
    chunks = list(reader_pool._chunks(files))
    assert [file for chunk in chunks for file in chunk] == files
    assert max(map(len, chunks)) == reader_pool._CHUNK_FILES
    assert all(len(chunk) == 1 or sum(f.bytes for f in chunk) <= reader_pool._CHUNK_BYTES for chunk in chunks)
    assert Counter(map(len, chunks)) == {64: 3, 8: 1, 1: 2, 4: 2, 2: 1}
