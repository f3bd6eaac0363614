"""Batches that no machine can hold are refused before anything is loaded or written."""

import time
from pathlib import Path

import pytest
from helpers.tiny_run import tiny

from audiostride.config.settings import DataSettings
from audiostride.data import datamodule
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.training.fit import train


@pytest.mark.parametrize(("batch_size", "window_s"), [(2**16, 3600.0), (2**16, 100.0), (2000, 3600.0)])
def test_batch_larger_than_the_memory_reports_a_clear_error_at_once(
    batch_size: int, window_s: float, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datamodule, "total_memory", lambda: 128 * 2**30)
    made = tiny(store, batch_size=batch_size)
    made.data.window_s = window_s
    begin = time.monotonic()
    with pytest.raises(
        UserError,
        match=r"windows of .* s \(training\.batch_size, data\.window_s\) do not fit into the memory",
    ):
        train(made, tmp_path / "run")
    assert time.monotonic() - begin < 10
    assert not (tmp_path / "run").exists()


def test_memory_of_this_machine_is_known_or_unlimited() -> None:
    assert datamodule.total_memory() > 2**28


def test_window_longer_than_an_hour_reports_a_clear_error() -> None:
    with pytest.raises(
        ValueError, match=r"data\.window_s must be a number from 0\.1 to 3600, but is 1e\+300"
    ):
        DataSettings(window_s=1e300)
