"""Confidence intervals against published values, their definition, and how often they hold the truth."""

from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from audiostride.analysis.intervals import accuracy_interval, difference_interval, effective_recordings
from audiostride.tables import Interval


def width(interval: Interval) -> float:
    return interval.high - interval.low


def outcomes(correct: int, n: int) -> NDArray[np.bool_]:
    return np.arange(n) < correct


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_interval_without_groups_has_published_values(correct: int, n: int, low: float, high: float) -> None:
    """The rows "Clopper–Pearson" in Newcombe 1998, table I."""
    assert accuracy_interval(outcomes(correct, n)) == pytest.approx((correct / n, low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 6, 500])
def test_interval_is_one_sided_if_all_or_no_predictions_are_correct(n: int) -> None:
    assert accuracy_interval(outcomes(0, n)) == pytest.approx((0, 0, 1 - 0.025 ** (1 / n)))
    assert accuracy_interval(outcomes(n, n)) == pytest.approx((1, 0.025 ** (1 / n), 1))


@pytest.mark.parametrize(("correct", "n"), [(812, 871), (70, 129), (3, 6)])
def test_tails_beyond_the_interval_have_a_probability_of_one_fortieth_each(correct: int, n: int) -> None:
    """This is the definition of Clopper and Pearson."""
    _, low, high = accuracy_interval(outcomes(correct, n))
    assert scipy.stats.binom.sf(correct - 1, n, low) == pytest.approx(0.025)
    assert scipy.stats.binom.cdf(correct, n, high) == pytest.approx(0.025)


@pytest.mark.parametrize(("correct", "n"), [(812, 871), (70, 129)])
def test_interval_agrees_with_the_bootstrap_over_recordings(correct: int, n: int) -> None:
    bootstrap = scipy.stats.bootstrap(
        (outcomes(correct, n),),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    _, low, high = accuracy_interval(outcomes(correct, n))
    assert (low, high) == pytest.approx((bootstrap.low, bootstrap.high), abs=1.5 / n)


@pytest.mark.parametrize("groups", [None, np.arange(40), [f"speaker {n}" for n in range(40)]])
def test_a_group_for_each_recording_is_the_same_as_no_groups(groups: Any) -> None:
    assert accuracy_interval(outcomes(31, 40), groups) == accuracy_interval(outcomes(31, 40))


def test_copies_of_recordings_add_no_information() -> None:
    correct = np.random.default_rng(0).random(50) < 0.8
    copies = accuracy_interval(np.repeat(correct, 20), np.repeat(np.arange(50), 20))
    assert effective_recordings(np.repeat(correct, 20), np.repeat(np.arange(50), 20)) < 50
    assert width(copies) >= width(accuracy_interval(correct))


@pytest.mark.parametrize("value", [False, True])
def test_groups_that_all_agree_count_as_one_recording_each(value: bool) -> None:
    interval = accuracy_interval([value] * 143, np.arange(143) % 11)
    assert interval == pytest.approx(accuracy_interval([value] * 11))


def test_one_group_counts_as_one_recording() -> None:
    assert effective_recordings(outcomes(90, 100), np.zeros(100)) == 1


def grouped_outcomes(
    rng: np.random.Generator, groups: int, accuracy: float, concentration: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return outcomes and groups: each group has an accuracy of a beta distribution with the given mean."""
    group = np.repeat(np.arange(groups), rng.integers(5, 25, groups))
    accuracies = rng.beta(accuracy * concentration, (1 - accuracy) * concentration, groups)
    return rng.random(len(group)) < accuracies[group], group


@pytest.mark.parametrize("groups", [5, 11, 40])
@pytest.mark.parametrize("accuracy", [0.5, 0.85])
def test_interval_holds_the_truth_as_often_as_it_says(groups: int, accuracy: float) -> None:
    """An interval that takes recordings as independent holds it in about 65 % of these cases."""
    rng = np.random.default_rng(groups)
    made = [grouped_outcomes(rng, groups, accuracy, concentration=3) for _ in range(400)]
    intervals = [accuracy_interval(correct, group) for correct, group in made]
    assert np.mean([low <= accuracy <= high for _, low, high in intervals]) > 0.9
    naive = [accuracy_interval(correct) for correct, _ in made]
    assert np.mean([low <= accuracy <= high for _, low, high in naive]) < 0.8


def test_difference_of_equal_outcomes_is_zero() -> None:
    correct = np.random.default_rng(0).random((1, 60)) < 0.7
    assert difference_interval([(correct, correct)]) == (0, 0, 0)


def test_difference_over_recordings_is_the_paired_t_interval() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 200)) < [[0.9], [0.8]]
    expected = scipy.stats.ttest_rel(a.astype(float), b.astype(float)).confidence_interval(0.95)
    difference = difference_interval([([a], [b])])
    assert difference == pytest.approx((a.mean() - b.mean(), expected.low, expected.high))


def test_difference_over_seeds_is_the_t_interval_of_two_samples() -> None:
    """If all recordings have the same difference, only the seeds are uncertain."""
    a, b = np.array([[0.90], [0.94], [0.92]]), np.array([[0.80], [0.88]])
    recordings = np.ones((1, 50))
    expected = scipy.stats.ttest_ind(a[:, 0], b[:, 0]).confidence_interval(0.95)
    difference = difference_interval([(a * recordings, b * recordings)])
    assert difference == pytest.approx((0.08, expected.low, expected.high))


def test_mean_over_conditions_compares_the_runs_of_each() -> None:
    """Conditions differ by far more than methods; the reference is a linear model with a term for each cell.

    All recordings have the same difference, so only the seeds are uncertain.
    """
    a = [np.array([[0.90], [0.92], [0.94]]), np.array([[0.40], [0.43]])]
    b = [np.array([[0.87], [0.90]]), np.array([[0.36], [0.41], [0.37]])]
    cells = [a[0], b[0], a[1], b[1]]
    design = np.zeros((10, 4))
    for column, rows in enumerate(np.split(np.arange(10), np.cumsum([len(cell) for cell in cells])[:-1])):
        design[rows, column] = 1
    y = np.concatenate(cells)[:, 0]
    cell_means, (squares,), *_ = np.linalg.lstsq(design, y)
    contrast = np.array([0.5, -0.5, 0.5, -0.5])
    error = np.sqrt(squares / 6 * contrast @ np.linalg.inv(design.T @ design) @ contrast)
    half = scipy.stats.t.ppf(0.975, 6) * error
    recordings = np.ones((1, 50))
    conditions = [(one * recordings, other * recordings) for one, other in zip(a, b, strict=True)]
    expected = contrast @ cell_means
    assert difference_interval(conditions) == pytest.approx((expected, expected - half, expected + half))


def test_conditions_without_repetitions_are_paired() -> None:
    a, b = np.array([0.90, 0.42, 0.71]), np.array([0.86, 0.40, 0.65])
    recordings = np.ones((1, 50))
    expected = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
    difference = difference_interval(
        [(one * recordings, other * recordings) for one, other in zip(a, b, strict=True)]
    )
    assert difference == pytest.approx(((a - b).mean(), expected.low, expected.high))


def test_two_seeds_do_not_separate_93_2_from_93_8_percent() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.random((2, 500)) < 0.932, rng.random((2, 500)) < 0.938
    difference = difference_interval([(one, other)])
    assert difference.low < 0 < difference.high


def test_difference_pairs_the_recordings() -> None:
    """Both methods fail on the same hard recordings, so their difference is known better than either."""
    rng = np.random.default_rng(3)
    hard = rng.random(400) < 0.4
    a, b = ~hard, ~hard & (rng.random(400) < 0.95)
    difference = difference_interval([([a], [b])])
    assert width(difference) < 0.5 * width(accuracy_interval(a))


def test_difference_holds_the_truth_as_often_as_it_says() -> None:
    """Groups of recordings and seeds both differ; the true difference is 0."""
    rng = np.random.default_rng(4)
    held = []
    for _ in range(300):
        group = np.repeat(np.arange(12), 10)
        ease, preference = rng.normal(0, 0.1, (2, 12))
        chances = [
            0.75 + ease[group] + sign * preference[group] + rng.normal(0, 0.03, (3, 1)) for sign in (1, -1)
        ]
        a, b = (rng.random((3, 120)) < chance for chance in chances)
        interval = difference_interval([(a, b)], group)
        held.append(interval.low <= 0 <= interval.high)
    assert 0.9 < np.mean(held) <= 1


def test_one_group_of_recordings_shows_nothing_about_a_difference() -> None:
    assert difference_interval([([outcomes(9, 10)], [outcomes(5, 10)])], np.zeros(10)) == (0.4, -1, 1)
