"""Splits that depend only on the names of the recordings, not on the machine or the order of the files."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from audiostride.corpora.base import Recording


def hashes(names: Iterable[str]) -> NDArray[np.uint64]:
    """Return the first eight bytes of the SHA-256 of each name, (names,)."""
    digests = (hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8] for name in names)
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)


def by_name(names: Sequence[str], counts: dict[str, int]) -> list[str]:
    """Assign each recording to a split by the hash of its name.

    Args:
        names: names of the recordings.
        counts: proportion of each split. If they sum to the number of names, each split gets exactly its
            count.

    Returns:
        The split of each recording.
    """
    bounds_as_fractions = np.cumsum([0, *counts.values()]) / sum(counts.values())
    bounds = np.rint(bounds_as_fractions * len(names)).astype(int)
    splits = np.empty(len(names), dtype=object)
    order = np.argsort(hashes(names), kind="stable")
    for split, begin, end in zip(counts, bounds[:-1], bounds[1:], strict=True):
        splits[order[begin:end]] = split
    return splits.tolist()


def held_out(
    groups: NDArray[np.uint64], strata: NDArray[np.int64], fraction: float, min_kept: int = 1
) -> NDArray[np.bool_]:
    """Choose the recordings to hold out: whole groups in the order of their hashes, about a fraction of each
    stratum.

    A group may belong to several strata, such as a speaker who says every word. At least one group of each
    stratum is kept. At least one group of each stratum that has several is held out, unless that would take
    the last group of another stratum.

    Args:
        groups: (recordings,), hash of the group of each recording.
        strata: (recordings,), stratum of each recording, such as its label.
        fraction: fraction of the recordings to hold out, 0 to 1.
        min_kept: number of groups to keep of each stratum that has more than that.

    Returns:
        (recordings,), True for recordings that are held out.
    """
    sizes_of, group_of, stratum_of = _count_strata(groups, strata)
    groups_in: dict[int, list[int]] = defaultdict(list)
    for group, sizes in enumerate(sizes_of):
        for stratum in sizes:
            groups_in[stratum].append(group)
    # Of each stratum: recordings still to hold out, and groups that may still be taken.
    missing = dict(enumerate((fraction * np.bincount(stratum_of)).tolist()))
    spare = {s: min(len(members) - 1, max(1, len(members) - min_kept)) for s, members in groups_in.items()}
    chosen: set[int] = set()

    def is_free(group: int) -> bool:
        return group not in chosen and all(spare[stratum] > 0 for stratum in sizes_of[group])

    def cost(group: int) -> float:
        """How much farther from their fractions the strata are with this group."""
        return sum(abs(missing[s] - size) - abs(missing[s]) for s, size in sizes_of[group].items())

    def choose(group: int) -> None:
        chosen.add(group)
        for stratum, size in sizes_of[group].items():
            missing[stratum] -= size
            spare[stratum] -= 1

    for group in range(len(sizes_of)) if fraction > 0 else ():
        if is_free(group) and cost(group) <= 0:
            choose(group)
    # Strata with few groups come first, because they have the least choice.
    for stratum in sorted(groups_in, key=lambda s: len(groups_in[s])) if fraction > 0 else ():
        free = [group for group in groups_in[stratum] if is_free(group)]
        if free and chosen.isdisjoint(groups_in[stratum]):
            choose(min(free, key=cost))
    return np.isin(group_of, list(chosen))


def _count_strata(
    groups: NDArray[np.uint64], strata: NDArray[np.int64]
) -> tuple[list[dict[int, int]], NDArray[np.int64], NDArray[np.int64]]:
    """Number the groups and the strata.

    Returns:
        For each group, in the order of the hashes, its number of recordings in each stratum; then the group
        and the stratum of each recording.
    """
    hashes_of_groups, group_of = np.unique(groups, return_inverse=True)
    stratum_of = np.unique(strata, return_inverse=True)[1]
    sizes_of: list[dict[int, int]] = [{} for _ in hashes_of_groups]
    pairs, counts = np.unique(stratum_of * len(sizes_of) + group_of, return_counts=True)
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        stratum, group = divmod(pair, len(sizes_of))
        sizes_of[group][stratum] = count
    return sizes_of, group_of, stratum_of


def by_group(recordings: Sequence[Recording], task: str, valid: float = 0.1, test: float = 0.1) -> list[str]:
    """Assign each recording to a split such that each group is in one split.

    Args:
        recordings: recordings with groups and labels. Their own splits are ignored.
        task: task whose labels are distributed evenly, as far as the groups allow.
        valid: fraction of the recordings for validation.
        test: fraction of the recordings for the test.

    Returns:
        The split of each recording.
    """
    groups = hashes(recording.group or recording.path for recording in recordings)
    labels = [recording.labels.get(task, "") for recording in recordings]
    strata = np.unique(labels, return_inverse=True)[1]
    is_test = held_out(groups, strata, test, min_kept=2)
    rest = np.flatnonzero(~is_test)
    is_valid = rest[held_out(groups[rest], strata[rest], valid / (1 - test))]
    splits = np.where(is_test, "test", "train").astype(object)
    splits[is_valid] = "valid"
    return splits.tolist()
