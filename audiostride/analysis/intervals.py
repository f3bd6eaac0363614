"""Confidence intervals of accuracies and of their differences.

Recordings of one group (a speaker, an instrument, a place) resemble each other, so a test set contains less
information than its number of recordings suggests. The functions here estimate from the recordings
themselves how much less.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from audiostride.tables import Interval

_TAIL = 0.025  # probability beyond each end of a 95 % interval


class Outcomes(NamedTuple):
    """What a run predicted on the recordings of a task.

    Attributes:
        labels: (recordings,), index of each label.
        predictions: (recordings,), index of each predicted label.
        groups: (recordings,), group of each recording, any values.
    """

    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    groups: NDArray[np.uint64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(recordings,), whether each prediction is correct."""
        return self.labels == self.predictions

    @property
    def accuracy(self) -> Interval:
        """Accuracy with its interval, from 0 to 1, see `accuracy_interval`."""
        return accuracy_interval(self.correct, self.groups)

    def same_recordings(self, other: "Outcomes") -> bool:
        """Return whether labels and groups equal those of another run."""
        return np.array_equal(self.labels, other.labels) and np.array_equal(self.groups, other.groups)


def compare(*conditions: tuple[Sequence[Outcomes], Sequence[Outcomes]]) -> Interval | None:
    """Return the `difference_interval` of runs and those to compare with, or None if their recordings differ.

    Args:
        conditions: runs of two recipes that differ by nothing else but their seeds; several pairs for the
            mean over several conditions.
    """
    first = conditions[0][0][0]
    if not all(first.same_recordings(run) for sides in conditions for side in sides for run in side):
        return None
    correct = [
        ([run.correct for run in runs], [run.correct for run in others]) for runs, others in conditions
    ]
    return difference_interval(correct, first.groups)


def accuracy_interval(correct: ArrayLike, groups: ArrayLike | None = None) -> Interval:
    """Return an accuracy with its 95 % confidence interval, from 0 to 1.

    Without groups this is the exact interval of Clopper and Pearson (1934). With groups it is their interval
    for the effective number of recordings (Korn & Graubard 1998), see `effective_recordings`.

    Args:
        correct: (recordings,), whether each prediction is correct; at least one recording.
        groups: (recordings,), group of each recording, any values. Recordings of different groups count as
            independent. By default each recording is a group.
    """
    correct = np.asarray(correct, dtype=float)
    accuracy = correct.mean()
    n = effective_recordings(correct, np.arange(len(correct)) if groups is None else groups)
    hits = accuracy * n
    low = stats.beta.ppf(_TAIL, hits, n - hits + 1) if hits > 0 else 0.0
    high = stats.beta.ppf(1 - _TAIL, hits + 1, n - hits) if hits < n else 1.0
    return Interval(float(accuracy), float(low), float(high))


def effective_recordings(correct: ArrayLike, groups: ArrayLike) -> float:
    """Return how many independent recordings would give an accuracy with the same uncertainty.

    It is at most the number of recordings, and equal to it if every recording is a group. If all predictions
    are correct, or none is, nothing shows how much the groups differ, and it is the number of groups.

    Args:
        correct: (recordings,), whether each prediction is correct.
        groups: (recordings,), group of each recording.
    """
    correct = np.asarray(correct, dtype=float)
    deviations = _group_sums(correct - correct.mean(), groups)
    if len(deviations) in (1, len(correct)):
        return float(len(deviations))
    variance = _variance_of_mean(deviations, len(correct))
    if variance == 0:
        return float(len(deviations))
    n = correct.var() / variance
    # Few groups also make the variance itself uncertain: t instead of normal quantiles (Korn & Graubard).
    t_of_recordings, t_of_groups = stats.t.ppf(1 - _TAIL, [len(correct) - 1, len(deviations) - 1])
    return float(min(len(correct), n * (t_of_recordings / t_of_groups) ** 2))


def difference_interval(
    conditions: Sequence[tuple[ArrayLike, ArrayLike]], groups: ArrayLike | None = None
) -> Interval:
    """Return the mean accuracy of some runs minus that of others, with its 95 % confidence interval.

    The difference is paired: all runs have predicted the same recordings, and runs are compared with those of
    the same condition. Its variance has two parts: that of the paired differences over groups of recordings,
    and that of the runs over seeds, see `_seed_variance`. Their degrees of freedom are combined by the rule
    of Welch and Satterthwaite.

    Args:
        conditions: one or several, which count alike: whether each prediction is correct, of the runs and of
            those to compare with, each (runs, recordings). The runs of a side are repetitions, which differ
            by their seeds, in any number.
        groups: (recordings,), group of each recording; by default each recording is a group.

    Returns:
        Difference and interval, from −1 to 1. For a single group of recordings the interval is [−1, 1].
    """
    correct = [tuple(np.asarray(side, dtype=float) for side in sides) for sides in conditions]
    differences = np.mean([runs.mean(0) - others.mean(0) for runs, others in correct], axis=0)
    difference = float(differences.mean())
    groups = np.arange(len(differences)) if groups is None else groups
    deviations = _group_sums(differences - difference, groups)
    if len(deviations) == 1:
        return Interval(difference, -1.0, 1.0)
    parts = [(_variance_of_mean(deviations, len(differences)), len(deviations) - 1)]
    parts += _seed_variance([[side.mean(1) for side in sides] for sides in correct])
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Interval(difference, difference, difference)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    half = float(stats.t.ppf(1 - _TAIL, freedom) * variance**0.5)
    return Interval(difference, max(-1.0, difference - half), min(1.0, difference + half))


def _seed_variance(accuracies: Sequence[Sequence[NDArray[np.float64]]]) -> list[tuple[float, int]]:
    """Return the variance over seeds of a mean difference, with its degrees of freedom.

    It is that of the runs around the mean of their condition and side, pooled over all of them. If none has
    two runs, it is that of the differences over conditions. With a single condition there is none then, and
    the interval is over recordings only.

    Args:
        accuracies: per condition and side (runs,).
    """
    sides = [side for condition in accuracies for side in condition]
    if degrees := sum(len(side) - 1 for side in sides):
        squares = sum(((side - side.mean()) ** 2).sum() for side in sides)
        return [(squares / degrees * sum(1 / len(side) for side in sides) / len(accuracies) ** 2, degrees)]
    if len(accuracies) > 1:
        differences = np.array([runs.mean() - others.mean() for runs, others in accuracies])
        return [(differences.var(ddof=1) / len(differences), len(differences) - 1)]
    return []


def _group_sums(values: NDArray[np.float64], groups: ArrayLike) -> NDArray[np.float64]:
    """Return (groups,), the sum of the values of each group."""
    return np.bincount(np.unique(groups, return_inverse=True)[1], weights=values).astype(np.float64)


def _variance_of_mean(deviations: NDArray[np.float64], recordings: int) -> float:
    """Return the variance of a mean over recordings whose groups are independent of each other.

    Args:
        deviations: (groups,), at least two sums of the deviations from the mean.
        recordings: number of recordings.
    """
    return len(deviations) / (len(deviations) - 1) * float((deviations**2).sum()) / recordings**2
