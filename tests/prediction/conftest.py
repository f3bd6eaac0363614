"""A run with a small classifier of two tasks, and a folder of sounds."""

from pathlib import Path

import pytest
from helpers.predictions import save_run, small_classifier, write_noise


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_run(small_classifier(), tmp_path_factory.mktemp("predictions") / "run"))


@pytest.fixture
def sounds(working_folder: Path) -> Path:
    """The working folder, with sound files in its folder `sounds`."""
    write_noise(Path("sounds/a.wav"), 20000)
    write_noise(Path("sounds/b/c.flac"), 30000, 22050)
    Path("sounds/notes.txt").write_text("no sound")
    return working_folder
