"""How training windows are distributed over recordings, tasks and corpora."""

from collections import Counter

import numpy as np
import pytest
from helpers.two_tasks import every

from audiostride.data.store import Store
from audiostride.data.windows import TrainingWindows


def tasks_of_batch(windows: TrainingWindows, number: int) -> list[int]:
    """Return the task that each window of a batch is drawn for."""
    places = np.arange(windows.batch_size) + windows.batch_size * number
    return windows.task_pattern[places % len(windows.task_pattern)].tolist()


def drawn_tasks(windows: TrainingWindows, batches: int) -> Counter[int]:
    """Return how many windows of the first batches are drawn for each task."""
    count = batches * windows.batch_size
    return Counter(windows.task_pattern[np.arange(count) % len(windows.task_pattern)].tolist())


def test_tasks_alternate_evenly(store: Store, sounds: Store) -> None:
    windows = TrainingWindows(every([store, sounds]), 10, 4000)
    assert drawn_tasks(windows, 3) == {0: 10, 1: 10, 2: 10}
    seen: list[set[int]] = [set(), set(), set()]
    for number in range(9):
        for task, recording in zip(tasks_of_batch(windows, number), windows._chosen(number), strict=True):
            assert list(windows.selection.labels.values())[task][recording] >= 0
            seen[task].add(int(recording))
    assert [len(recordings) for recordings in seen] == [18, 20, 16]  # each was drawn for 30 windows


def test_batch_is_sorted_by_corpus(store: Store, sounds: Store) -> None:
    windows = TrainingWindows(every([store, sounds]), 10, 4000)
    for number in range(5):
        recordings = windows[number]["recording"].numpy()
        assert (np.diff(windows.selection.store_of[recordings]) >= 0).all()
        assert sorted(recordings) == sorted(windows._chosen(number))


def test_every_recording_of_a_task_is_drawn_once_before_any_is_repeated(sounds: Store) -> None:
    windows = TrainingWindows(every([sounds]), 8, 4000, shares={"shape": 1, "level": 3})
    seen: dict[int, list[int]] = {0: [], 1: []}
    for number in range(40):
        for task, recording in zip(
            tasks_of_batch(windows, number), windows._chosen(number).tolist(), strict=True
        ):
            seen[task].append(recording)
    assert len(seen[1]) == pytest.approx(3 * len(seen[0]), abs=2)
    for task, pool in ((0, 20), (1, 16)):
        rounds = [seen[task][i : i + pool] for i in range(0, len(seen[task]) - pool + 1, pool)]
        assert len(rounds) >= 4
        assert all(len(set(order)) == pool for order in rounds)
        assert rounds[0] != rounds[1]


@pytest.mark.parametrize("shares", [(1, 1), (0.3, 0.7), (5, 1), (1, 1000), (0.123, 0.456)])
def test_every_stretch_keeps_the_shares_of_tasks(shares: tuple[float, float], sounds: Store) -> None:
    windows = TrainingWindows(
        every([sounds]), 64, 400, shares=dict(zip(("shape", "level"), shares, strict=True))
    )
    expected = shares[0] / sum(shares)
    for begin, length in ((0, 64), (640, 64), (77, 1000), (0, 50_000)):
        drawn = windows.task_pattern[np.arange(begin, begin + length) % len(windows.task_pattern)]
        assert (drawn == 0).sum() == pytest.approx(expected * length, abs=2 + length / 4096)


def test_task_with_share_zero_is_not_drawn(sounds: Store) -> None:
    windows = TrainingWindows(every([sounds]), 16, 400, shares={"shape": 0.0, "level": 1.0})
    for number in range(10):
        assert (windows[number]["labels"]["level"] >= 0).all()
