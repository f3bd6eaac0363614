"""The prepared corpus and the windows cut from it."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiostride.corpora import speech_commands
from audiostride.corpora.base import Corpus, Recording
from audiostride.data.prepare import prepare
from audiostride.data.store import Store, open_store
from audiostride.data.windows import EvaluationWindows, TrainingWindows, select
from audiostride.errors import UserError

TASK = "speech_commands"
ALL = {TASK: ["yes", "no", "stop"]}


def counting_store(folder: Path, lengths: list[int], split: str = "train") -> Store:
    """Recordings whose samples count 1, 2, 3, … so that every window tells where it was cut."""
    (folder / "source").mkdir(parents=True)
    recordings = []
    for number, length in enumerate(lengths):
        samples = (np.arange(length) + 1).astype(np.int16)
        soundfile.write(folder / "source" / f"{number}.wav", samples, 16000, subtype="PCM_16")
        recordings.append(Recording(f"{number}.wav", split, {"task": "ab"[number % 2]}))
    return prepare(
        Corpus("counting", folder / "source", "official", {"task": ["a", "b"]}, recordings), folder / "out"
    )


# The prepared corpus


def test_packed_recordings_are_those_of_the_files(words: Path, tmp_path: Path) -> None:
    corpus = speech_commands.read(words)
    store = prepare(corpus, tmp_path / "out")
    assert len(store.names) == len(corpus.recordings) == 30
    for number, recording in enumerate(corpus.recordings):
        expected, _ = soundfile.read(words / recording.path, dtype="int16")
        begin, end = store.starts[number : number + 2]
        assert np.array_equal(store.waveforms[begin:end], expected)
        assert store.names[number] == recording.path
        assert store.tasks[TASK][store.labels[TASK][number]] == recording.labels[TASK]
    assert isinstance(store.waveforms, np.memmap)


def test_card_counts_recordings_and_seconds(store: Store) -> None:
    assert store.card["recordings"] == 30
    assert store.card["seconds"] == pytest.approx(store.starts[-1] / 16000, abs=1e-3)
    assert store.card["counts"]["train"][TASK] == {"no": 6, "stop": 6, "yes": 6}
    assert store.card["split"] == "official"


def test_preparing_again_does_nothing_until_a_file_changes(words: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(speech_commands.read(words), out)
    written = (out / "card.json").stat().st_mtime_ns
    prepare(speech_commands.read(words), out)
    assert (out / "card.json").stat().st_mtime_ns == written
    file = words / "yes" / "00000000_nohash_0.wav"
    soundfile.write(file, np.full(8000, 0.5), 16000, subtype="PCM_16")
    store = prepare(speech_commands.read(words), out)
    assert (store.waveforms[store.starts[20] : store.starts[21]] == 16384).all()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda file: file.write_bytes(b"RIFF no sound"), "cannot be read as sound: repair or remove it"),
        (lambda file: file.write_bytes(b""), "cannot be read as sound: repair or remove it"),
        (lambda file: soundfile.write(file, np.zeros(0), 16000), "holds no samples: repair or remove it"),
        (
            lambda file: soundfile.write(file, np.zeros((99, 2)), 16000),
            "has 2 channels where one is expected",
        ),
        (
            lambda file: soundfile.write(file, np.zeros(99), 8000),
            "sampled at 8000 Hz where 16000 Hz is expected",
        ),
        (lambda file: file.unlink() or file.mkdir(), "cannot be read as sound"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_left_behind(
    damage: Callable[[Path], None], sentence: str, words: Path, tmp_path: Path
) -> None:
    file = words / "no" / "00000003_nohash_0.wav"
    damage(file)
    (tmp_path / "home").mkdir()
    with pytest.raises(UserError, match=sentence) as caught:
        prepare(speech_commands.read(words), tmp_path / "home" / "deep" / "deeper" / "out")
    assert str(file) in str(caught.value)
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_format_has_the_same_level(subtype: str, words: Path, tmp_path: Path) -> None:
    file = words / "no" / "00000000_nohash_0.wav"
    sound = 0.5 * np.sin(np.arange(8000) / 10)
    soundfile.write(file, sound, 16000, subtype=subtype)
    store = prepare(speech_commands.read(words), tmp_path / "out")
    packed = store.waveforms[: store.starts[1]] / 32768
    np.testing.assert_allclose(packed, sound, atol=1 / 120 if subtype == "PCM_U8" else 1e-4)


def test_loud_float_files_are_clipped_and_broken_ones_refused(words: Path, tmp_path: Path) -> None:
    file = words / "no" / "00000000_nohash_0.wav"
    soundfile.write(file, np.array([2.0, -2.0, 0.25]), 16000, subtype="FLOAT")
    store = prepare(speech_commands.read(words), tmp_path / "out")
    assert store.waveforms[:3].tolist() == [32767, -32768, 8192]
    soundfile.write(file, np.array([np.nan, 0.25]), 16000, subtype="FLOAT")
    with pytest.raises(UserError, match="values that are no numbers"):
        prepare(speech_commands.read(words), tmp_path / "out")


def test_several_bad_files_are_counted(words: Path, tmp_path: Path) -> None:
    for number in range(4):
        (words / "no" / f"0000000{number}_nohash_0.wav").write_bytes(b"")
    with pytest.raises(UserError, match="and 3 more recordings cannot be used"):
        prepare(speech_commands.read(words), tmp_path / "out")


def test_a_failed_preparation_leaves_the_old_corpus_whole(words: Path, tmp_path: Path) -> None:
    out = tmp_path / "home" / "out"
    before = np.array(prepare(speech_commands.read(words), out).waveforms)
    (words / "no" / "00000003_nohash_0.wav").write_bytes(b"")
    with pytest.raises(UserError):
        prepare(speech_commands.read(words), out)
    assert np.array_equal(open_store(out).waveforms, before)
    assert [p.name for p in (tmp_path / "home").iterdir()] == ["out"]


def test_preparing_over_other_files_is_refused(words: Path) -> None:
    with pytest.raises(UserError, match="in the way and is no prepared corpus"):
        prepare(speech_commands.read(words), words)
    assert (words / "testing_list.txt").is_file()


def test_damaged_corpora_are_told_in_a_sentence(words: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"no prepared corpus in .*: make it with audiostride prepare"):
        open_store(out)
    prepare(speech_commands.read(words), out)
    os.truncate(out / "waveforms.i16", 1000)
    with pytest.raises(UserError, match=r"waveforms\.i16 is cut\): prepare it again"):
        open_store(out)
    (out / "index.npz").unlink()
    with pytest.raises(UserError, match="is damaged"):
        open_store(out)
    card = json.loads((out / "card.json").read_text())
    (out / "card.json").write_text(json.dumps(card | {"format": 0}))
    with pytest.raises(UserError, match="another version of audiostride"):
        open_store(out)
    (out / "card.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        open_store(out)
    # And preparing mends all of it.
    assert len(prepare(speech_commands.read(words), out).names) == 30


# Which recordings


def test_selection_renumbers_the_labels_that_are_asked_for(store: Store) -> None:
    chosen = select(store, "train", {TASK: ["yes", "no"]})
    assert Counter(chosen.labels[TASK].tolist()) == {0: 6, 1: 6}
    names = store.names[chosen.recordings]
    assert all(
        name.startswith(("yes", "no")[label]) for name, label in zip(names, chosen.labels[TASK], strict=True)
    )


def test_unknown_labels_and_tasks_are_told_in_a_sentence(store: Store) -> None:
    with pytest.raises(UserError, match="has no label go for speech_commands: it has no, stop, yes"):
        select(store, "train", {TASK: ["go"]})
    with pytest.raises(UserError, match="has no task bird: it has speech_commands"):
        select(store, "train", {"bird": ["a"]})


def test_an_empty_split_is_told_in_a_sentence(tmp_path: Path) -> None:
    store = counting_store(tmp_path, [100, 100])
    with pytest.raises(UserError, match="has no test recordings"):
        select(store, "test", {"task": ["a", "b"]})


# Windows in training


def test_training_windows_lie_inside_recordings_and_recordings_inside_windows(tmp_path: Path) -> None:
    chosen = select(counting_store(tmp_path, [50, 50, 8, 8]), "train", {"task": ["a", "b"]})
    begins: dict[int, set[int]] = {50: set(), 8: set()}
    for batch in (TrainingWindows(chosen, 4, 20, seed=1)[k] for k in range(100)):
        for row, recording in zip(batch["waveform"].numpy(), batch["recording"].tolist(), strict=True):
            sound = row[row > 0]
            length = 50 if recording < 2 else 8
            assert len(sound) == min(20, length)
            assert (np.diff(sound) == 1).all()
            begins[length].add(int(sound[0]) - 1 - int(np.flatnonzero(row)[0]))
    assert begins == {50: set(range(31)), 8: set(range(-12, 1))}


def test_shift_lets_windows_reach_over_either_end(tmp_path: Path) -> None:
    chosen = select(counting_store(tmp_path, [50, 50]), "train", {"task": ["a", "b"]})
    windows = TrainingWindows(chosen, 2, 50, shift=10)
    rows = np.concatenate([windows[k]["waveform"].numpy() for k in range(200)])
    assert {len(row[row > 0]) for row in rows} == set(range(40, 51))
    assert {row[0] for row in rows} >= {0, 11}
    assert {row[-1] for row in rows} >= {0, 40}


def test_every_recording_comes_once_before_any_comes_again(tmp_path: Path) -> None:
    chosen = select(counting_store(tmp_path, [30] * 10), "train", {"task": ["a", "b"]})
    windows = TrainingWindows(chosen, 4, 20)
    order = np.concatenate([windows[k]["recording"].numpy() for k in range(15)])
    epochs = order.reshape(6, 10)
    assert (np.sort(epochs, axis=1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_batch_larger_than_the_corpus_is_filled(tmp_path: Path) -> None:
    chosen = select(counting_store(tmp_path, [30] * 3), "train", {"task": ["a", "b"]})
    assert Counter(TrainingWindows(chosen, 8, 20)[1]["recording"].tolist()).keys() == {0, 1, 2}


def test_batches_follow_from_seed_and_number_alone(store: Store) -> None:
    chosen = select(store, "train", ALL)
    first, again = (TrainingWindows(chosen, 4, 8000, seed=3) for _ in range(2))
    other = TrainingWindows(chosen, 4, 8000, seed=4)
    first[0]
    assert first[5]["waveform"].equal(again[5]["waveform"])
    assert not first[5]["waveform"].equal(other[5]["waveform"])
    assert not first[5]["waveform"].equal(first[6]["waveform"])


# Windows in evaluation


@pytest.mark.parametrize(
    ("length", "expected"),
    [(20, [0]), (60, [0, 20, 40]), (8, [-6]), (29, [4]), (30, [-5, 15]), (50, [-5, 15, 35]), (1, [-10])],
)
def test_evaluation_windows_are_consecutive_and_centred(
    length: int, expected: list[int], tmp_path: Path
) -> None:
    chosen = select(counting_store(tmp_path, [length]), "train", {"task": ["a", "b"]})
    windows = EvaluationWindows(chosen, 2, 20)
    assert windows.begins.tolist() == expected
    rows = np.concatenate([windows[k]["waveform"].numpy() for k in range(len(windows))])
    line = np.concatenate([np.zeros(20), np.arange(length) + 1, np.zeros(20)])
    for row, begin in zip(rows, expected, strict=True):
        assert np.array_equal(row, line[20 + begin : 40 + begin])


def test_evaluation_visits_every_recording_once_per_window(store: Store) -> None:
    chosen = select(store, "test", ALL)
    windows = EvaluationWindows(chosen, 4, 4000)
    seen = Counter(int(r) for k in range(len(windows)) for r in windows[k]["recording"])
    assert seen == {r: max(1, round(length / 4000)) for r, length in enumerate(chosen.lengths)}
