"""A small trained run that tests copy and change."""

import shutil
from pathlib import Path

import pytest

from audiostride.data.store import Store
from audiostride.timing import one_thread
from audiostride.training.fit import train
from helpers.tiny_run import tiny


@pytest.fixture(scope="session")
def _trained(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    with one_thread():
        train(tiny(store, steps=4), run)
    return run


@pytest.fixture
def trained(_trained: Path, tmp_path: Path) -> Path:
    """The folder of a copy of a run that has been trained to its end."""
    return shutil.copytree(_trained, tmp_path / "run")
