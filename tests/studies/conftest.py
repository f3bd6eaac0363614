"""A folder with a recipe and a study, and the runs of that study."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.studies import RECIPE, STUDY

from audiostride.cli import main
from audiostride.config import yaml
from audiostride.data.store import Store


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these gain nothing from threads, which wait for one another on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def home(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and a study, which is the current one."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    (home / "tiny.yaml").write_text(yaml.dump(RECIPE | {"data": {"corpus": str(store.folder)}}))
    (home / "s.yaml").write_text(STUDY)
    return home


@pytest.fixture(scope="module")
def once(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs of the study, to be copied."""
    folder = tmp_path_factory.mktemp("once")
    (folder / "tiny.yaml").write_text(yaml.dump(RECIPE | {"data": {"corpus": str(store.folder)}}))
    (folder / "s.yaml").write_text(STUDY)
    assert main(["study", str(folder / "s.yaml"), "--out", str(folder / "runs")]) == 0
    return folder / "runs"


@pytest.fixture
def runs(once: Path, home: Path) -> Path:
    return shutil.copytree(once, home / "runs" / "s")
