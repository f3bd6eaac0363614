"""Runs to report on, and two reports: about one run, and about all of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.report_page import Page, quick_reports, write_page
from helpers.tiny_run import tiny

from audiostride.config.frontend_settings import FrontendSettings
from audiostride.data.store import Store
from audiostride.timing import one_thread
from audiostride.training.fit import train


@pytest.fixture(autouse=True)
def _quick_reports() -> Iterator[None]:
    with quick_reports():
        yield


@pytest.fixture(scope="session")
def runs(store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs of one recipe, and one run without DiffStride."""
    folder = tmp_path_factory.mktemp("runs")
    recipes = {"a0": tiny(store), "a1": tiny(store, seed=1), "strided": tiny(store)}
    recipes["strided"].model.downsampling = "strided"
    with one_thread():
        for name, recipe in recipes.items():
            train(recipe, folder / name)
    return {name: folder / name for name in recipes}


@pytest.fixture(scope="session")
def frontends(store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run with each kind of frontend."""
    folder = tmp_path_factory.mktemp("frontends")
    kinds: tuple[Any, ...] = ("log_mel", "pcen", "learned_resolution", "leaf")
    with one_thread():
        for kind in kinds:
            recipe = tiny(store, steps=4, stride_learning_rate=0.5)
            recipe.frontend = FrontendSettings(kind=kind)
            train(recipe, folder / kind)
    return {kind: folder / kind for kind in kinds}


@pytest.fixture(scope="session")
def single(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A report about one run, in folders that did not exist."""
    out = tmp_path_factory.mktemp("single") / "not yet" / "there" / "report.html"
    return write_page([runs["a0"]], out)


@pytest.fixture(scope="session")
def several(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A report about all runs."""
    return write_page(list(runs.values()), tmp_path_factory.mktemp("several") / "report.html")
