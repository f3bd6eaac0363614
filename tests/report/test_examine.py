"""The numbers of a report: intervals, accuracies, data, cost, settings and commands."""

import html
import re
import shlex
from pathlib import Path

from helpers.report_page import Page

from audiostride import load
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.summary import summarise_classifier
from audiostride.config import recipe as recipes
from audiostride.config.arguments import recipe_parser
from audiostride.config.differences import changed, flat
from audiostride.config.settings import Recipe
from audiostride.data.store import Store
from audiostride.tables import cell
from audiostride.training.evaluate import evaluate


def test_accuracies_equal_those_of_the_test_command(runs: dict[str, Path], single: Page) -> None:
    (row,) = evaluate(runs["a0"])
    (cells,) = single.table("Accuracy with its 95 %")
    assert cells["task"] == row["task"]
    low, high = row["low_percent"], row["high_percent"]
    assert cells["accuracy"] == f"{row['accuracy_percent']:.1f} % ({low:.1f} to {high:.1f})"
    assert cells["macro F1"] == f"{row['macro_f1_percent']:.1f} %"
    assert cells["ROC AUC"] == "–"
    assert (cells["recordings"], cells["groups"]) == ("6", str(row["groups"]))
    assert (cells["classes"], cells["split"]) == ("3", "official test")


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
    macs = {row["layer"]: row["mega_macs"] for row in summarise_classifier(classifier)}
    assert f"{macs['all']:.4g} million and of its frontend {macs['frontend']:.4g} million" in single.text
    # 64 milliseconds for a window of a second, and for 32.
    assert "batches of 1 window 64 ms" in single.text
    assert "batches of 32 windows 2 ms" in single.text
    assert "with 1 thread of torch" in single.text


def test_page_shows_different_settings_and_all_settings(runs: dict[str, Path], single: Page) -> None:
    recipe = recipes.read_config(runs["a0"])
    different = {row["setting"]: row for row in single.table("Settings that differ")}
    assert different.keys() == changed(Recipe(), recipe).keys()
    assert different["training.steps"] == {
        "setting": "training.steps",
        "here": "6",
        "in the paper": "1000000",
    }
    assert {row["setting"] for row in single.table("All settings")} == flat(recipe).keys()


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
