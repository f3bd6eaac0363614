"""Find what a split leaks: recordings of one group, or with the same samples, in training and in the test."""

from collections.abc import Iterator, Mapping, Sequence

from audiostride.corpora.base import Recording

# For each split, the splits whose groups or samples it must not have. Validation and test may share groups,
# as in NSynth: nothing is learnt from a group that only validates.
_GROUPS = {"valid": ("train",), "test": ("train",)}
_SAMPLES = {"valid": ("train",), "test": ("train", "valid")}


def leakage_notes(recordings: Sequence[Recording], digests: Sequence[str]) -> list[str]:
    """Return notes on validation and test recordings that resemble recordings of earlier splits.

    Args:
        recordings: recordings with splits and groups.
        digests: hash of the samples of each recording.
    """
    groups = [recording.group for recording in recordings]
    return [
        *_notes(recordings, groups, "share their group (speaker, instrument, place) with", _GROUPS),
        *_notes(recordings, digests, "have exactly the same samples as", _SAMPLES),
    ]


def _notes(
    recordings: Sequence[Recording], keys: Sequence[str], relation: str, others: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    """Yield a note for each split of which recordings have the key of a recording in its other splits."""
    for split, earlier in others.items():
        first: dict[str, str] = {}  # from key to the first recording in the earlier splits
        for recording, key in zip(recordings, keys, strict=True):
            if key and recording.split in earlier:
                first.setdefault(key, recording.path)
        of_split = [(r.path, key) for r, key in zip(recordings, keys, strict=True) if r.split == split]
        concerned = [f"{path} and {first[key]}" for path, key in of_split if key in first]
        if concerned:
            yield (
                f"{len(concerned)} of {len(of_split)} {split} recordings {relation} {' or '.join(earlier)} "
                f"recordings, which inflates the {split} accuracy: for example {concerned[0]}"
            )
