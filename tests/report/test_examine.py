"""The numbers of a report: intervals, accuracies, data, cost, settings and commands."""

import html
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from helpers.report_page import Page

from audiostride import load
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.summary import summary
from audiostride.config import recipe as recipes
from audiostride.config.arguments import recipe_parser
from audiostride.config.settings import Recipe
from audiostride.data.store import Store
from audiostride.report.examine import interval
from audiostride.tables import cell
from audiostride.training.evaluate import evaluate


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_interval_has_published_values(correct: int, n: int, low: float, high: float) -> None:
    """The rows "Clopper–Pearson" in Newcombe 1998, table I."""
    assert interval(correct, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 6, 500])
def test_interval_is_one_sided_if_all_or_no_predictions_are_correct(n: int) -> None:
    assert interval(0, n) == pytest.approx((0, 1 - 0.025 ** (1 / n)))
    assert interval(n, n) == pytest.approx((0.025 ** (1 / n), 1))


@pytest.mark.parametrize(("correct", "n"), [(812, 871), (70, 129), (3, 6)])
def test_tails_beyond_the_interval_have_a_probability_of_one_fortieth_each(correct: int, n: int) -> None:
    """This is the definition of Clopper and Pearson."""
    low, high = interval(correct, n)
    assert scipy.stats.binom.sf(correct - 1, n, low) == pytest.approx(0.025)
    assert scipy.stats.binom.cdf(correct, n, high) == pytest.approx(0.025)


@pytest.mark.parametrize(("correct", "n"), [(812, 871), (70, 129)])
def test_interval_agrees_with_the_bootstrap_over_recordings(correct: int, n: int) -> None:
    outcomes = np.arange(n) < correct
    bootstrap = scipy.stats.bootstrap(
        (outcomes,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert interval(correct, n) == pytest.approx((bootstrap.low, bootstrap.high), abs=1.5 / n)


def shown_accuracy(row: dict[str, Any], correct: int) -> str:
    low, high = interval(correct, row["recordings"])
    return f"{row['accuracy_percent']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def test_accuracies_equal_those_of_the_test_command(runs: dict[str, Path], single: Page) -> None:
    (row,) = evaluate(runs["a0"])
    (cells,) = single.table("Accuracy with its exact")
    assert cells["task"] == row["task"]
    assert cells["accuracy"] == shown_accuracy(row, round(row["accuracy_percent"] * row["recordings"] / 100))
    assert cells["macro F1"] == f"{row['macro_f1_percent']:.1f} %"
    assert cells["ROC AUC"] == "–"
    assert (cells["recordings"], cells["classes"], cells["split"]) == ("6", "3", "official test")


def test_page_shows_strides_data_and_cost(runs: dict[str, Path], store: Store, single: Page) -> None:
    classifier = load(runs["a0"])
    rows = single.table("For windows of 1 s")
    for cells, row in zip(rows, stride_table(classifier), strict=True):
        assert cells["layer"] == f"{row['layer']} {row['axis']}"
        for name in ("stride", "effective_stride", "output_length", "pass_band", "stop_band"):
            assert cells[name.replace("_", " ")] == cell(row[name])
    (task,) = single.table("Recordings of each task")
    for split, counts in store.card["counts"].items():
        assert task[split] == str(sum(counts["speech_commands"].values()))
    (corpus,) = single.table("Prepared corpora")
    assert (corpus["corpus"], corpus["recordings"]) == (str(store.folder), "30")
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    assert f"Parameters {parameters:,}" in single.text
    assert f"{summary(classifier.trunk)[-1]['mega_macs']:.4g} million" in single.text
    # 64 milliseconds for a window of a second, and for 32.
    assert "batches of 1 window 64 ms" in single.text
    assert "batches of 32 windows 2 ms" in single.text
    assert "with 1 thread of torch" in single.text


def test_page_shows_different_settings_and_all_settings(runs: dict[str, Path], single: Page) -> None:
    recipe = recipes.read_config(runs["a0"])
    different = {row["setting"]: row for row in single.table("Settings that differ")}
    assert different.keys() == recipes.changed(Recipe(), recipe).keys()
    assert different["training.steps"] == {
        "setting": "training.steps",
        "here": "6",
        "in the paper": "1000000",
    }
    assert {row["setting"] for row in single.table("All settings")} == recipes.flat(recipe).keys()


def test_commands_repeat_the_run_and_the_report(runs: dict[str, Path], store: Store, single: Page) -> None:
    (block,) = re.findall("<pre>(.*)</pre>", single.source, re.DOTALL)
    lines = [shlex.split(line) for line in html.unescape(re.sub("<[^>]*>", "", block)).strip().splitlines()]
    assert all(line[0] == "audiostride" for line in lines)
    named = {line[1]: line[2:] for line in lines}
    assert list(named) == ["prepare", "train", "test", "strides", "report"]
    assert named["prepare"] == [
        "speech_commands", store.card["folder"], "--split=official", f"--out={store.folder}",
    ]  # fmt: skip
    name, *options, out = named["train"]
    parser = recipe_parser()
    parser.add_argument("recipe", type=str)
    _, recipe, _ = recipes.load_with_options(parser, [name, *options])
    assert recipe == recipes.read_config(runs["a0"])
    assert out == f"--out={runs['a0']}"
    assert named["report"][0] == str(runs["a0"])
