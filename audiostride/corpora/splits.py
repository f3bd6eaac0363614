"""Splits that follow from names alone, the same on every machine and in every order of the files."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from audiostride.corpora.base import Recording


def hashes(names: Iterable[str]) -> NDArray[np.uint64]:
    """(names,), the first eight bytes of each name's SHA-256."""
    digests = (hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8] for name in names)
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)


def by_name(names: Sequence[str], counts: dict[str, int]) -> list[str]:
    """A split of each recording by the hash of its name, in the proportions of `counts`.

    Of as many names as `counts` has in sum, every split gets exactly its number.
    """
    shares = np.cumsum([0, *counts.values()]) / sum(counts.values())
    bounds = np.rint(shares * len(names)).astype(int)
    splits = np.empty(len(names), dtype=object)
    order = np.argsort(hashes(names), kind="stable")
    for split, begin, end in zip(counts, bounds[:-1], bounds[1:], strict=True):
        splits[order[begin:end]] = split
    return splits.tolist()


def held_out(groups: NDArray[np.uint64], strata: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Which recordings to set apart: about a share of each stratum, whole groups, in order of their hashes.

    Of a stratum with several groups at least one is set apart and one stays. Where a group reaches over
    several strata (a speaker who says every word) all recordings are one stratum.

    Args:
        groups: (recordings,), the hash of each recording's group.
        strata: (recordings,), such as the labels.
        share: from 0 to 1.
    """
    chosen = np.zeros(len(groups), dtype=bool)
    pairs = np.unique(np.stack([groups, strata.astype(np.uint64)]), axis=1)
    if len(np.unique(pairs[0])) < pairs.shape[1]:
        strata = np.zeros_like(strata)
    for stratum in np.unique(strata) if share > 0 else ():
        here = strata == stratum
        names, sizes = np.unique(groups[here], return_counts=True)
        chosen |= here & np.isin(groups, names[_fill(sizes, share * here.sum())])
    return chosen


def _fill(sizes: NDArray[np.int64], wanted: float) -> list[int]:
    """Positions of groups, from the first on, that together come as near to `wanted` as whole groups do."""
    taken, places = 0, []
    for place, size in enumerate(sizes[:-1].tolist()):
        if taken + size / 2 <= wanted:
            taken += size
            places.append(place)
    return places or ([int(np.argmin(sizes))] if len(sizes) > 1 else [])


def by_group(recordings: Sequence[Recording], task: str, valid: float = 0.1, test: float = 0.1) -> list[str]:
    """A split of each recording such that no group falls on both sides.

    Args:
        recordings: their groups and labels count, their splits do not.
        task: whose labels should be spread evenly, as far as the groups allow.
        valid: share of the recordings that validate.
        test: share of the recordings that test.
    """
    groups = hashes(recording.group or recording.path for recording in recordings)
    labels = [recording.labels.get(task, "") for recording in recordings]
    strata = np.unique(labels, return_inverse=True)[1]
    tests = held_out(groups, strata, test)
    rest = np.flatnonzero(~tests)
    validates = rest[held_out(groups[rest], strata[rest], valid / (1 - test))]
    splits = np.where(tests, "test", "train").astype(object)
    splits[validates] = "valid"
    return splits.tolist()
