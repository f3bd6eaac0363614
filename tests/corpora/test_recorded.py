"""The recorded corpora, from files to tasks: a simple classifier can tell the labels apart."""

from pathlib import Path

import pytest

from audiostride.bench.baseline import baseline
from audiostride.corpora import DATASETS
from audiostride.prepare.prepare import prepare

TASKS = {
    "speech_commands": ["speech_commands"],
    "nsynth": ["nsynth_instrument", "nsynth_pitch"],
    "birdsong": ["birdsong"],
    "acoustic_scenes": ["acoustic_scenes"],
}


@pytest.mark.parametrize("name", TASKS)
def test_logistic_regression_beats_guessing_on_every_task(name: str, recorded: Path, tmp_path: Path) -> None:
    """With wrong labels, splits or samples it would not."""
    store = prepare(DATASETS[name].read(recorded / name), tmp_path / name)
    assert list(store.tasks) == TASKS[name]
    assert store.card["left_out"] == 0
    for row in baseline(store):
        assert row["regression_percent"] > row["guessing_percent"] + 10, row
