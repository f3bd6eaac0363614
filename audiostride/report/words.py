"""The words of a report that depend on whether its runs take sound or images."""

from typing import NamedTuple

from audiostride.frontends.frontend import Frontend, SoundFrontend


class Words(NamedTuple):
    """What a report calls things.

    Attributes:
        examples: what is classified, in the plural.
        example: what the network takes at once.
        per: what computing time is measured for.
        interval: how confidence intervals are computed.
        averaged: a sentence about the logits of an example, or nothing.
        paired: what the intervals of differences allow for.
        corpora: heading of the table of corpora.
        axes: the axes of cut-offs.
    """

    examples: str
    example: str
    per: str
    interval: str
    averaged: str
    paired: str
    corpora: str
    axes: tuple[str, str]


def words_for(frontend: Frontend) -> Words:
    """Return the words for runs with such a frontend."""
    first, second = (axis.name for axis in frontend.axes)
    if isinstance(frontend, SoundFrontend):
        return Words(
            "recordings",
            "window",
            "second of sound",
            "with its 95 % confidence interval (Clopper and Pearson, for the effective number of recordings, "
            "since recordings of one group resemble each other)",
            " Logits are averaged over the windows of each recording.",
            "groups of recordings",
            "Prepared corpora",
            (first, second),
        )
    return Words(
        "images",
        "image",
        "image",
        "with its 95 % confidence interval (Clopper and Pearson)",
        "",
        "the choice of images",
        "Datasets",
        (first, second),
    )
