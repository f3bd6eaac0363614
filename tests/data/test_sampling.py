"""How training windows are distributed over recordings, tasks and corpora."""

from collections import Counter

import numpy as np
import pytest
import torch
from helpers.two_tasks import every

from audiostride.data.selection import Selection
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


def labelled_fraction(selection: Selection, batches: int = 60, **weights: float) -> dict[str, float]:
    """Return the fraction of the windows that have a label of each task."""
    windows = TrainingWindows(selection, 50, 400, weights=weights or None)
    labels = [windows[number]["labels"] for number in range(batches)]
    return {
        task: torch.cat([batch[task] >= 0 for batch in labels]).double().mean().item() for task in labels[0]
    }


def selection_with(sounds: Store, **labelled: range) -> Selection:
    """Return forty recordings of silence; each task has labels for those in its range."""
    silent = np.zeros(40, dtype=np.int64)
    labels = {task: np.where(np.isin(np.arange(40), numbers), 0, -1) for task, numbers in labelled.items()}
    return Selection((sounds,), silent, silent, labels)


def test_tasks_alternate_evenly(store: Store, sounds: Store) -> None:
    selection = selection_with(sounds, a=range(12), b=range(12, 34), c=range(34, 40))
    windows = TrainingWindows(selection, 10, 4000)
    assert drawn_tasks(windows, 3) == {0: 10, 1: 10, 2: 10}
    seen: list[set[int]] = [set(), set(), set()]
    for number in range(9):
        for task, recording in zip(tasks_of_batch(windows, number), windows._chosen(number), strict=True):
            assert list(selection.labels.values())[task][recording] >= 0
            seen[task].add(int(recording))
    assert [len(recordings) for recordings in seen] == [12, 22, 6]  # each was drawn for 30 windows


def test_tasks_of_the_same_recordings_share_their_windows(sounds: Store) -> None:
    """As the instrument and the pitch of a note: each task has a quarter of the windows, not 0.4 and 0.2."""
    selection = selection_with(
        sounds,
        instrument=range(20),
        pitch=range(20),
        words=range(20, 30),
        birds=range(30, 36),
        scenes=range(36, 40),
    )
    expected = dict.fromkeys(selection.labels, 0.25)
    assert labelled_fraction(selection) == pytest.approx(expected, abs=1e-3)


def test_task_with_fewer_recordings_among_those_of_another_has_all_windows_that_it_can(sounds: Store) -> None:
    """The 10 recordings of b are drawn at its rate of 1/10, the other 20 of a at 1/30."""
    fractions = labelled_fraction(selection_with(sounds, a=range(30), b=range(10)))
    assert fractions == pytest.approx({"a": 1.0, "b": 1 / (1 + 20 / 30)}, abs=1e-3)


def test_proportional_sampling_draws_every_recording_equally_often(sounds: Store) -> None:
    selection = selection_with(sounds, a=range(30), b=range(20), c=range(30, 40))
    windows = TrainingWindows(selection, 50, 400, weights={"a": 30, "b": 20, "c": 10})
    drawn = Counter(recording for number in range(80) for recording in windows._chosen(number).tolist())
    assert len(drawn) == 40
    assert max(drawn.values()) - min(drawn.values()) <= 2


def test_batch_is_sorted_by_corpus(store: Store, sounds: Store) -> None:
    windows = TrainingWindows(every([store, sounds]), 10, 4000)
    for number in range(5):
        recordings = windows[number]["recording"].numpy()
        assert (np.diff(windows.selection.store_of[recordings]) >= 0).all()
        assert sorted(recordings) == sorted(windows._chosen(number))


def test_every_recording_of_a_task_is_drawn_once_before_any_is_repeated(sounds: Store) -> None:
    selection = selection_with(sounds, a=range(20), b=range(20, 36))
    windows = TrainingWindows(selection, 8, 4000, weights={"a": 1, "b": 3})
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


@pytest.mark.parametrize("weights", [(1, 1), (0.3, 0.7), (5, 1), (1, 1000), (0.123, 0.456)])
def test_every_stretch_keeps_the_shares_of_tasks(weights: tuple[float, float], sounds: Store) -> None:
    selection = selection_with(sounds, a=range(20), b=range(20, 36))
    windows = TrainingWindows(selection, 64, 400, weights=dict(zip("ab", weights, strict=True)))
    expected = weights[0] / sum(weights)
    for begin, length in ((0, 64), (640, 64), (77, 1000), (0, 50_000)):
        drawn = windows.task_pattern[np.arange(begin, begin + length) % len(windows.task_pattern)]
        assert (drawn == 0).sum() == pytest.approx(expected * length, abs=2 + length / 4096)


def test_task_with_weight_zero_is_not_drawn(sounds: Store) -> None:
    windows = TrainingWindows(every([sounds]), 16, 400, weights={"shape": 0.0, "level": 1.0})
    for number in range(10):
        assert (windows[number]["labels"]["level"] >= 0).all()
