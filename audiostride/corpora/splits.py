"""Splits that follow from names alone, the same on every machine and in every order of the files."""

import hashlib
from collections import defaultdict
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


def held_out(
    groups: NDArray[np.uint64], strata: NDArray[np.int64], share: float, stay: int = 1
) -> NDArray[np.bool_]:
    """Which recordings to set apart: whole groups in order of their hashes, about a share of each stratum.

    A group may reach over several strata (a speaker who says every word). Of a stratum with several groups
    one at least is set apart, unless that takes the last group of another; one at least stays of each.

    Args:
        groups: (recordings,), the hash of each recording's group.
        strata: (recordings,), such as the labels.
        share: from 0 to 1.
        stay: how many groups of a stratum stay, where it has more.
    """
    size_in, group_of, stratum_of = _sizes(groups, strata)
    members: dict[int, list[int]] = defaultdict(list)
    for group, sizes in enumerate(size_in):
        for stratum in sizes:
            members[stratum].append(group)
    wanting = dict(enumerate((share * np.bincount(stratum_of)).tolist()))
    spare = {stratum: min(len(m) - 1, max(1, len(m) - stay)) for stratum, m in members.items()}
    chosen: set[int] = set()

    def free(group: int) -> bool:
        return group not in chosen and all(spare[stratum] > 0 for stratum in size_in[group])

    def cost(group: int) -> float:
        """How much farther from their shares the strata are with this group."""
        return sum(abs(wanting[s] - size) - abs(wanting[s]) for s, size in size_in[group].items())

    def choose(group: int) -> None:
        chosen.add(group)
        for stratum, size in size_in[group].items():
            wanting[stratum] -= size
            spare[stratum] -= 1

    for group in range(len(size_in)) if share > 0 else ():
        if free(group) and cost(group) <= 0:
            choose(group)
    # Those of few groups first, since they have the least to choose from.
    for stratum in sorted(members, key=lambda s: len(members[s])) if share > 0 else ():
        able = [group for group in members[stratum] if free(group)]
        if able and chosen.isdisjoint(members[stratum]):
            choose(min(able, key=cost))
    return np.isin(group_of, list(chosen))


def _sizes(
    groups: NDArray[np.uint64], strata: NDArray[np.int64]
) -> tuple[list[dict[int, int]], NDArray[np.int64], NDArray[np.int64]]:
    """Of each group how many recordings of which strata; of each recording its group and stratum."""
    names, group_of = np.unique(groups, return_inverse=True)
    stratum_of = np.unique(strata, return_inverse=True)[1]
    sizes: list[dict[int, int]] = [{} for _ in names]
    pairs, counts = np.unique(stratum_of * len(names) + group_of, return_counts=True)
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        stratum, group = divmod(pair, len(names))
        sizes[group][stratum] = count
    return sizes, group_of, stratum_of


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
    tests = held_out(groups, strata, test, stay=2)
    rest = np.flatnonzero(~tests)
    validates = rest[held_out(groups[rest], strata[rest], valid / (1 - test))]
    splits = np.where(tests, "test", "train").astype(object)
    splits[validates] = "valid"
    return splits.tolist()
