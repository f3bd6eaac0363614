"""The command that prepares a corpus again, from its card."""

from pathlib import Path

from audiostride.config.arguments import command_line, option
from audiostride.config.settings import PrepareSettings
from audiostride.corpora import DATASETS
from audiostride.data.store import Store


def prepare_command(store: Store, sample_rate: int | None = None, out: Path | None = None) -> str | None:
    """Return the command that prepares a corpus again, or None if its card does not say how.

    Args:
        store: the prepared corpus.
        sample_rate: in Hz, by default that of the corpus.
        out: folder of the result, by default that of the corpus.
    """
    words, longest = _words(store), store.card["longest"]
    if not words:
        return None
    if longest != PrepareSettings.longest:
        words.append(option("longest", f"{longest:.12g}"))
    if sample_rate or store.sample_rate != PrepareSettings.sample_rate:
        words.append(option("sample_rate", sample_rate or store.sample_rate))
    return command_line("prepare", *words, option("out", str(out or store.folder)))


def _words(store: Store) -> list[str]:
    """Return the dataset, its source and its reader's options as words of a command."""
    card = store.card
    if card.get("command"):
        return list(card["command"])
    dataset = DATASETS.get(card["corpus"])  # the card names the dataset alone
    if not dataset or not dataset.archives:
        return []
    return [card["corpus"], card["folder"], option("split", card["split"])]
