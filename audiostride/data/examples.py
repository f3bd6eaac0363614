"""What the corpora of sound and of images have in common: labelled examples in splits."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Examples(ABC):
    """The labelled examples of an open corpus: recordings or images.

    Attributes:
        folder: the folder of the corpus.
        card: its description: at least corpus (name), split (source of the splits), tasks (from task to its
            labels), recordings (number of examples), notes and hash.
        splits: (examples,), index into `audiostride.corpora.base.SPLITS`.
        labels: from task to (examples,), index into `tasks[task]`, −1 for none.
        groups: (examples,), hash of the group of each example. A split keeps groups whole.
    """

    folder: Path
    card: dict[str, Any]
    splits: NDArray[np.int8]
    labels: dict[str, NDArray[np.int64]]
    groups: NDArray[np.uint64]

    @property
    def tasks(self) -> dict[str, list[str]]:
        """From task to its labels."""
        return self.card["tasks"]

    @property
    @abstractmethod
    def names(self) -> NDArray[np.str_]:
        """(examples,), path of each example in the corpus."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """A hash of examples, splits and labels. It does not depend on the folder."""

    @abstractmethod
    def keys(self, chosen: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return hashes of examples, by which they are recognised in other corpora."""

    @abstractmethod
    def card_row(self) -> dict[str, Any]:
        """Return what a model card says about the corpus, a row of a table."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what reports say about the corpus, a row of a table."""
