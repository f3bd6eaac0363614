"""A folder with a recipe and a study, and the runs of that study."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.studies import write_study

from audiostride.cli import main
from audiostride.data.store import Store
from audiostride.timing import one_thread


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    """Threads do not speed up networks as small as these, and wait for one another on a busy machine."""
    with one_thread():
        yield


@pytest.fixture
def home(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the study s.yaml and its recipe."""
    home = write_study(tmp_path / "home", store)
    monkeypatch.chdir(home)
    return home


@pytest.fixture(scope="session")
def trained_runs(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs of the study, trained once. Tests copy it."""
    folder = write_study(tmp_path_factory.mktemp("trained") / "study", store)
    with one_thread():
        assert main(["study", str(folder / "s.yaml"), "--out", str(folder / "runs")]) == 0
    return folder / "runs"


@pytest.fixture
def runs(trained_runs: Path, home: Path) -> Path:
    """A copy of the trained runs, where the study in `home` looks for them."""
    return shutil.copytree(trained_runs, home / "runs" / "s")
