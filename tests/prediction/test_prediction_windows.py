"""Windows cut from sound that comes in pieces, against a plain definition."""

import numpy as np
import pytest
from helpers.predictions import noise, plain_windows

from audiostride.prediction.windows import WindowCutter


@pytest.mark.parametrize("hop", [None, 1, 30, 50, 100])
@pytest.mark.parametrize("length", [1, 49, 50, 51, 99, 100, 101, 130, 149, 150, 151, 250, 1003])
@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_windows_do_not_depend_on_the_pieces(hop: int | None, length: int, pieces: int) -> None:
    samples = noise(length)
    cutter = WindowCutter(100, hop, length)
    groups = [group for part in np.array_split(samples, pieces) for group in cutter.push(part)]
    groups += cutter.finish()
    expected = plain_windows(samples, 100, hop)
    assert np.concatenate([group.begins for group in groups]).tolist() == [begin for begin, _, _ in expected]
    assert np.concatenate([group.ends for group in groups]).tolist() == [end for _, end, _ in expected]
    np.testing.assert_array_equal(
        np.concatenate([group.samples for group in groups]), [w for *_, w in expected]
    )


@pytest.mark.parametrize("length", [1, 99, 100, 101, 130, 199, 355])
def test_windows_with_a_hop_cover_every_sample_and_stay_inside(length: int) -> None:
    cutter = WindowCutter(100, 70)
    groups = [*cutter.push(noise(length)), *cutter.finish()]
    covered = np.zeros(length, dtype=bool)
    for group in groups:
        for begin, end in zip(group.begins, group.ends, strict=True):
            assert 0 <= begin < end <= length
            covered[begin:end] = True
    assert covered.all()


def test_each_window_comes_with_its_last_sample() -> None:
    cutter = WindowCutter(100, 40)
    for number in range(1, 500):
        count = sum(len(group.begins) for group in cutter.push(np.ones(1, np.int16)))
        assert count == (number >= 100 and (number - 100) % 40 == 0)


def test_memory_of_many_overlapping_windows_is_bounded() -> None:
    groups = list(WindowCutter(16000, 16).push(noise(160000)))
    assert sum(len(group.begins) for group in groups) == 9001
    assert max(group.samples.nbytes for group in groups) <= 1 << 20


def test_sound_without_samples_has_no_windows() -> None:
    cutter = WindowCutter(100, 40)
    assert not [*cutter.push(np.zeros(0, np.int16)), *cutter.finish()]
