"""Accuracy at other levels of sound: what a change of level is, and what the benchmark reports."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_run import tiny

from audiostride.bench.level import bench_level, change_level
from audiostride.bench.settings import LevelBench
from audiostride.cli import main
from audiostride.data.store import Store
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train


@pytest.fixture(scope="module")
def runs(store: Store, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two runs that differ in their seed, and one that normalises the level."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        train(tiny(store, seed=seed), folder / f"unchanged-{seed}")
    recipe = tiny(store)
    recipe.model.level = "rms"
    train(recipe, folder / "rms")
    return [str(folder / name) for name in ("unchanged-0", "unchanged-1", "rms")]


def test_change_of_level_is_a_gain_with_rounding_and_clipping() -> None:
    waveform = torch.tensor([[100, -300, 20000, -32768]], dtype=torch.int16)
    assert change_level(waveform, 0.0).equal(waveform)
    assert change_level(waveform, -20.0).tolist() == [[10, -30, 2000, -3277]]
    assert change_level(waveform, 20.0).tolist() == [[1000, -3000, 32767, -32768]]


def test_accuracy_at_0_db_is_that_of_a_test(runs: list[str]) -> None:
    row = bench_level(LevelBench(runs[:1], [0.0]))[0]
    assert row["accuracy_percent"] == pytest.approx(evaluate(Path(runs[0]))[0]["accuracy_percent"])
    assert tuple(row["change_percent"]) == (0.0, 0.0, 0.0)


def test_runs_that_differ_in_their_seed_are_one_recipe(runs: list[str]) -> None:
    rows = bench_level(LevelBench(runs, [-20.0]))
    assert [(row["recipe"], row["runs"]) for row in rows] == [("level unchanged", 2), ("level rms", 1)]
    alone = [bench_level(LevelBench([run], [-20.0]))[0]["accuracy_percent"] for run in runs]
    assert rows[0]["accuracy_percent"] == pytest.approx(np.mean(alone[:2]))


def test_level_normalisation_leaves_nothing_to_change(runs: list[str]) -> None:
    rows = bench_level(LevelBench(runs[2:], [-20.0, -10.0]))
    assert [row["change_percent"].value for row in rows] == [0.0, 0.0]


def test_command_prints_a_row_per_level(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "level", runs[0], "--levels_db", "[-10, 0]", "--format", "json"]) == 0
    assert [row["level_db"] for row in json.loads(capsys.readouterr().out)] == [-10.0, 0.0]


def test_missing_run_reports_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "level", "nowhere"]) == 1
    assert "there is no run at nowhere" in capsys.readouterr().err
