"""Damage of a prepared corpus is noticed."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.noise_corpus import write_noise_corpus

from audiostride import cli
from audiostride.data import store as stores
from audiostride.data.store import damaged, open_store
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return prepare(write_noise_corpus(tmp_path / "source"), tmp_path / "out").folder


def flip(file: Path, position: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


def as_of_an_older_version(folder: Path) -> None:
    """Remove the checksums."""
    card = json.loads((folder / "card.json").read_text())
    del card["checksum"]
    (folder / "card.json").write_text(json.dumps(card, indent=2))
    with np.load(folder / "index.npz") as index:
        arrays = {name: index[name] for name in index if name != "digests"}
    np.savez(folder / "index.npz", allow_pickle=False, **arrays)


def test_flipped_bit_of_the_waveforms_is_noticed_by_opening_again_and_again(prepared: Path) -> None:
    flip(prepared / "waveforms.i16", 1000)
    with pytest.raises(
        UserError, match=r"i16 has other samples of 002.wav\): delete it and prepare it again$"
    ):
        all(open_store(prepared) for _ in range(100))


def test_check_names_the_damaged_recordings(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert damaged(prepared) == []
    assert cli.main(["check", str(prepared), str(prepared)]) == 0
    assert capsys.readouterr().err == 2 * f"{prepared}: no damage found\n"
    for position in (1000, 1001, 4000):
        flip(prepared / "waveforms.i16", position)
    assert damaged(prepared) == ["002.wav", "009.wav"]
    assert cli.main(["check", str(prepared)]) == 1
    assert capsys.readouterr().err == (
        f"audiostride check: the prepared corpus in {prepared} is damaged (002.wav, 009.wav): delete it and "
        "prepare it again\n"
    )


def test_corpus_of_an_older_version_opens_and_is_checked_as_a_whole(prepared: Path) -> None:
    identity = open_store(prepared).identity
    as_of_an_older_version(prepared)
    assert open_store(prepared).identity == identity
    assert damaged(prepared) == []
    flip(prepared / "waveforms.i16", 1000)
    open_store(prepared)
    assert damaged(prepared) == ["waveforms.i16"]


@pytest.mark.parametrize("name", ["index.npz", "card.json"])
def test_every_flipped_bit_of_index_and_card_is_noticed_or_harmless(name: str, prepared: Path) -> None:
    content, before = (prepared / name).read_bytes(), open_store(prepared)
    rng, noticed = np.random.default_rng(0), 0
    for _ in range(300):
        flip(prepared / name, int(rng.integers(len(content))), int(rng.integers(8)))
        try:
            after = open_store(prepared)
        except UserError:
            noticed += 1
        else:
            assert after.identity == before.identity
            assert after.card == before.card
            assert np.array_equal(after.groups, before.groups)
        (prepared / name).write_bytes(content)
    assert noticed > 150


def test_opening_does_not_take_longer_for_long_recordings(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(stores, "_SAMPLED_BYTES", 1000)
    monkeypatch.setattr(stores.Store, "is_damaged", lambda store, number: read.append(store.samples(number)))
    open_store(prepared)
    assert sum(samples.nbytes for samples in read) <= 1000


def test_quick_check_takes_a_few_milliseconds(prepared: Path) -> None:
    def seconds(sample: bool) -> float:
        begin = time.process_time()
        for _ in range(20):
            open_store(prepared, sample)
        return (time.process_time() - begin) / 20

    assert seconds(True) - seconds(False) < 0.02
