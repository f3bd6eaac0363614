"""Windows for training and evaluation."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.counting_store import counting_store

from audiostride.data.selection import select
from audiostride.data.store import Store
from audiostride.data.windows import EvaluationWindows, TrainingWindows

ALL = {"speech_commands": ["yes", "no", "stop"]}


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


def test_every_recording_is_drawn_once_before_any_is_repeated(tmp_path: Path) -> None:
    chosen = select(counting_store(tmp_path, [30] * 10), "train", {"task": ["a", "b"]})
    windows = TrainingWindows(chosen, 4, 20)
    order = np.concatenate([windows[k]["recording"].numpy() for k in range(15)])
    epochs = order.reshape(6, 10)
    assert (np.sort(epochs, axis=1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_batch_larger_than_the_corpus_is_filled(tmp_path: Path) -> None:
    chosen = select(counting_store(tmp_path, [30] * 3), "train", {"task": ["a", "b"]})
    assert Counter(TrainingWindows(chosen, 8, 20)[1]["recording"].tolist()).keys() == {0, 1, 2}


def test_batch_depends_only_on_seed_and_number(store: Store) -> None:
    chosen = select(store, "train", ALL)
    first, again = (TrainingWindows(chosen, 4, 8000, seed=3) for _ in range(2))
    other = TrainingWindows(chosen, 4, 8000, seed=4)
    first[0]
    assert first[5]["waveform"].equal(again[5]["waveform"])
    assert not first[5]["waveform"].equal(other[5]["waveform"])
    assert not first[5]["waveform"].equal(first[6]["waveform"])


@pytest.mark.parametrize(
    ("length", "expected"),
    [(20, [0]), (60, [0, 20, 40]), (8, [-6]), (29, [4]), (30, [-5, 15]), (50, [-5, 15, 35]), (2, [-9])],
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


def test_held_batch_keeps_its_content_while_others_are_cut(tmp_path: Path) -> None:
    chosen = select(counting_store(tmp_path, [100] * 6), "train", {"task": ["a", "b"]})
    windows = TrainingWindows(chosen, 4, 20, seed=1)
    held = [windows[k]["waveform"] for k in range(4)]
    views = [windows[k]["waveform"][1:, ::2] for k in range(4, 8)]
    arrays = [windows[k]["waveform"].numpy() for k in range(8, 12)]  # the tensors themselves are gone
    copies = [part.clone() for part in held + views] + [torch.from_numpy(part.copy()) for part in arrays]
    for number in range(12, 60):
        windows[number]
    kept = [*held, *views, *map(torch.from_numpy, arrays)]
    assert all(part.equal(copy) for part, copy in zip(kept, copies, strict=True))
    storages = {part.untyped_storage().data_ptr() for part in held + views}
    assert len(storages) == 8
