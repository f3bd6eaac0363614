"""Checks that prepared corpora, frontends and models have the same sample rate.

They need no torch, so that the command line reports a mistake at once.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from audiostride.data.prepare_command import prepare_command
from audiostride.data.store import Store
from audiostride.errors import UserError


def check_rates(stores: Sequence[Store], frontend_rate: int | None = None) -> None:
    """Check that the prepared corpora of a run and its frontend have the same sample rate.

    Args:
        stores: the corpora, at least one.
        frontend_rate: sample rate of the frontend in Hz. By default only the corpora are compared.

    Raises:
        UserError: the rates differ. The sentence holds the command that prepares a corpus at the right rate.
    """
    rates = Counter(store.sample_rate for store in stores)
    rate = rates.most_common(1)[0][0]
    if frontend_rate is not None and frontend_rate in rates:
        rate = frontend_rate
    odd = next((store for store in stores if store.sample_rate != rate), None)
    if odd is not None:
        other = next(store for store in stores if store.sample_rate == rate)
        raise UserError(
            f"{odd.folder} has {odd.sample_rate} Hz, but {other.folder} has {rate} Hz: prepare it again at "
            f"that rate: {_command(odd, rate)}"
        )
    if frontend_rate is not None and frontend_rate != rate:
        command = _command(stores[0], frontend_rate)
        raise UserError(
            f"{stores[0].folder} has {rate} Hz, but frontend.sample_rate is {frontend_rate}: give "
            f"--frontend.sample_rate {rate}, or prepare the corpus again: {command}"
        )


def check_rate_of_other(store: Store, rate: int, user: str) -> None:
    """Check that a prepared corpus has the sample rate of what is to use it besides its own runs.

    Args:
        store: the corpus.
        rate: the sample rate in Hz that is needed.
        user: what needs it, for the message.

    Raises:
        UserError: the rates differ. The sentence holds a command that keeps the corpus and prepares it in
            another folder as well.
    """
    if store.sample_rate != rate:
        out = store.folder.with_name(f"{store.folder.name}_{rate}")
        raise UserError(
            f"{store.folder} has {store.sample_rate} Hz, but {user} takes {rate} Hz: give a corpus of that "
            f"rate instead, made by {_command(store, rate, out)}"
        )


def _command(store: Store, rate: int, out: Path | None = None) -> str:
    command = prepare_command(store, rate, out)
    return command or f"audiostride prepare … --sample_rate={rate} --out={out or store.folder}"
