"""Prepare a dataset from its source: download it if asked to, read it, pack it, and report what it holds."""

import logging
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from audiostride.config.arguments import option
from audiostride.config.settings import PrepareSettings
from audiostride.corpora import DATASETS, Dataset
from audiostride.data.store import Store
from audiostride.prepare.download import download as download_archives
from audiostride.prepare.prepare import prepare

logger = logging.getLogger(__name__)


def prepare_dataset(
    dataset: Dataset,
    source: Path,
    out: Path | None = None,
    settings: PrepareSettings | None = None,
    options: dict[str, Any] | None = None,
    download: bool = False,
    mirror: str | None = None,
) -> Store:
    """Turn a dataset into a prepared corpus, and log what the corpus holds.

    Args:
        dataset: one of `audiostride.corpora.DATASETS`.
        source: folder of the dataset, or its CSV file.
        out: folder of the prepared corpus; by default data/prepared/NAME.
        settings: by default `PrepareSettings()`.
        options: arguments of the dataset's reader.
        download: first download what is missing in `source`.
        mirror: address to download from instead of the original ones.

    Returns:
        The prepared corpus, opened.

    Raises:
        UserError: the dataset cannot be downloaded, read or packed.
    """
    if dataset.archives and (download or mirror):
        download_archives(dataset.title, dataset.licence, dataset.archives, source, mirror)
    corpus = dataset.read(source, **(options or {}))
    out = out or Path(f"data/prepared/{corpus.name}")
    settings = settings or PrepareSettings()
    store = prepare(corpus, out, settings, _command(dataset, source, settings, options or {}))
    _log_card(out, store.card)
    return store


def _command(
    dataset: Dataset, source: Path, settings: PrepareSettings, options: dict[str, Any]
) -> Sequence[str]:
    """Return the words of `audiostride prepare` for a dataset, or none if it is not one of `DATASETS`."""
    name = next((name for name, known in DATASETS.items() if known is dataset), None)
    if name is None:
        return ()
    usual = {parameter.name: parameter.default for parameter in signature(dataset.read).parameters.values()}
    given = [option(key, value) for key, value in options.items() if value != usual[key]]
    bad = [option("bad", settings.bad)] if settings.bad != PrepareSettings.bad else []
    return (name, str(source), *given, *bad)


def _log_card(out: Path, card: dict[str, Any]) -> None:
    for note in card["notes"]:
        logger.warning(note)
    if card["problems"]:
        found = ", ".join(f"{count} × {reason}" for reason, count in card["problems"].items())
        logger.warning(f"{found} (left out: {card['left_out']}; list: {out / 'problems.csv'})")
    for task, labels in card["tasks"].items():
        numbers = [f"{sum(card['counts'][split][task].values())} {split}" for split in card["counts"]]
        logger.info(
            f"{task}: {len(labels)} labels, recordings: {', '.join(numbers)} (split: {card['split']})"
        )
    hours, rate = card["seconds"] / 3600, card["sample_rate"]
    logger.info(f"{out}: {card['recordings']} recordings, {hours:.2f} h at {rate:,} Hz")
