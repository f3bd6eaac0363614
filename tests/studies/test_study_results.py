"""Tables and figure of a study: tested runs, averages, notes on what is missing."""

import csv
import hashlib
import io
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.studies import NAMES, STUDY, study_tables

from audiostride import load
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.intervals import difference_interval
from audiostride.analysis.resolution import resolution
from audiostride.analysis.summary import summarise_classifier, summary
from audiostride.cli import main
from audiostride.config import recipe as recipes
from audiostride.corpora import speech_commands
from audiostride.data.store import open_store
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare
from audiostride.studies import study_file
from audiostride.studies.figure import accuracy_across, accuracy_against_cost, draw
from audiostride.studies.kept_tests import results_of
from audiostride.studies.plan import expand
from audiostride.studies.results import show
from audiostride.tables import Spread
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train


def write_test_results(
    runs: Path,
    accuracies: dict[str, dict[str, float]],
    predicted: dict[str, dict[str, dict[str, list[int]]]] | None = None,
) -> None:
    """Write test.json of each run, from accuracies by run and task, instead of testing."""
    for name, by_task in accuracies.items():
        corpora = [open_store(Path(folder)) for folder in recipes.read_config(runs / name).data.corpora]
        content = {
            "rows": [{"task": task, "accuracy_percent": accuracy} for task, accuracy in by_task.items()],
            "predicted": (predicted or {}).get(name, {}),
            "checkpoint": hashlib.sha256((runs / name / "checkpoints/best.ckpt").read_bytes()).hexdigest(),
            "corpora": [corpus.identity for corpus in corpora],
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        (runs / name / "test.json").write_text(json.dumps(content | {"digest": digest}))


def write_right(runs: Path, right: dict[str, int], of: int) -> None:
    """Write test.json of each run, which is right on the first so many of some recordings."""
    predicted = {
        name: {"a": {"labels": [0] * of, "predictions": [0] * n + [1] * (of - n), "groups": list(range(of))}}
        for name, n in right.items()
    }
    write_test_results(runs, {name: {"a": 100 * n / of} for name, n in right.items()}, predicted)


def test_accuracy_is_the_mean_over_seeds_with_a_row_per_task(runs: Path) -> None:
    values = np.random.default_rng(0).uniform(0, 100, (4, 2))
    write_test_results(
        runs, {name: {"a": float(a), "b": float(b)} for name, (a, b) in zip(NAMES, values, strict=True)}
    )
    (rows,) = json.loads(show(study_tables(runs), "json")).values()
    assert [(row["downsampling"], row["task"], row["runs"]) for row in rows] == [
        ("strided", "a", 2),
        ("strided", "b", 2),
        ("diffstride", "a", 2),
        ("diffstride", "b", 2),
    ]
    pairs = values.reshape(2, 2, 2).transpose(0, 2, 1).reshape(4, 2)  # method and task, seed
    assert [row["accuracy_percent"] for row in rows] == pytest.approx(pairs.mean(1), rel=5e-6)
    assert [row["accuracy_percent_deviation"] for row in rows] == pytest.approx(
        pairs.std(1, ddof=1), rel=5e-6
    )
    for row, name in zip(rows[::2], ("strided", "diffstride"), strict=True):
        macs = [summary(load(runs / f"{name}-{seed}").trunk)[-1]["mega_macs"] for seed in (0, 1)]
        assert row["mega_macs"] == pytest.approx(np.mean(macs), rel=5e-6)
        frontend_macs = load(runs / f"{name}-0").sound_frontend.macs(16_000) / 1e6
        assert row["mega_macs_with_frontend"] == pytest.approx(np.mean(macs) + frontend_macs, rel=5e-6)
    assert "hop_ms" not in rows[0]


def test_tables_have_learned_hops_and_mel_channels_if_a_frontend_learns_them(home: Path) -> None:
    Path("s.yaml").write_text(
        """
recipe: tiny.yaml
settings: {training: {stride_learning_rate: 0.5}}
grid:
  frontend.kind: [log_mel, learned_resolution, leaf]
  training.seed: [0, 1]
tables:
  - {title: Accuracy}
  - {title: Frontend, show: strides, layers: [0]}
  - {title: Fixed, where: {frontend.kind: [log_mel]}}
"""
    )
    study = study_file.read(Path("s.yaml"))
    kinds = ("log_mel", "learned_resolution", "leaf")
    for run in expand(study, Path("runs"), recipes.build):
        train(run.recipe, run.folder)
    names = [f"{kind}-{seed}" for kind in kinds for seed in (0, 1)]
    write_test_results(Path("runs"), {name: {"a": 50.0} for name in names})
    got = json.loads(show(study_tables(Path("runs")), "json"))
    for row, kind in zip(got["Accuracy"], kinds, strict=True):
        classifiers = [load(f"runs/{kind}-{seed}") for seed in (0, 1)]
        found = [resolution(one.sound_frontend) for one in classifiers]
        macs = [{row["layer"]: row["mega_macs"] for row in summarise_classifier(one)} for one in classifiers]
        assert row["kind"] == kind
        for column in ("hop_ms", "mel_channels"):
            assert row[column] == pytest.approx(np.mean([one[column] for one in found]), rel=5e-6)
        deviation = np.std([one["hop_ms"] for one in found], ddof=1)
        assert row["hop_ms_deviation"] == pytest.approx(deviation, rel=5e-6)
        assert row["mega_macs"] == pytest.approx(np.mean([one["all"] for one in macs]), rel=5e-6)
        whole = np.mean([one["all"] + one["frontend"] for one in macs])
        assert row["mega_macs_with_frontend"] == pytest.approx(whole, rel=5e-6)
    assert [(row["kind"], row["layer"], row["axis"]) for row in got["Frontend"]] == [
        ("learned_resolution", 0, "time"),
        ("learned_resolution", 0, "frequency"),
        ("leaf", 0, "time"),
    ]
    assert "hop_ms" not in got["Fixed"][0]


def test_tables_average_over_the_axes_and_values_that_they_name(runs: Path) -> None:
    (Path("s.yaml")).write_text(
        STUDY
        + """
tables:
  - {title: seeds, over: [model.downsampling]}
  - {title: one, over: [], where: {training.seed: [1], model.downsampling: [strided]}}
  - {title: all, over: [training.seed, model.downsampling]}
  - {title: strides, show: strides, where: {model.downsampling: [diffstride]}, layers: [2], frames: 160}
"""
    )
    write_test_results(
        runs, {name: {"a": float(accuracy)} for name, accuracy in zip(NAMES, (10, 20, 40, 90), strict=True)}
    )
    got = json.loads(show(study_tables(runs), "json"))
    assert list(got) == ["seeds", "one", "all", "strides"]
    assert [(row["seed"], row["accuracy_percent"]) for row in got["seeds"]] == [("0", 25), ("1", 55)]
    assert [(row["downsampling"], row["seed"], row["accuracy_percent"]) for row in got["one"]] == [
        ("strided", "1", 20)
    ]
    assert [(row["runs"], row["accuracy_percent"]) for row in got["all"]] == [(4, 40)]
    (time, frequency) = got["strides"]
    by_run = [stride_table(load(runs / f"diffstride-{seed}"), 160)[2:] for seed in (0, 1)]
    for row, by_seed in zip((time, frequency), zip(*by_run, strict=True), strict=True):
        assert (row["downsampling"], row["runs"], row["layer"]) == ("diffstride", 2, 2)
        for column in ("stride", "pass_band", "pass_band_on_grid"):
            assert row[column] == pytest.approx(np.mean([one[column] for one in by_seed]), rel=5e-6)
        deviation = np.std([one["stride"] for one in by_seed], ddof=1)
        assert row["stride_deviation"] == pytest.approx(deviation, rel=5e-6)


def test_runs_are_tested_once_and_again_after_they_change(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.yaml").write_text(STUDY.replace(", diffstride", ""))
    assert main(["study", "s.yaml", "--summary", "--format", "json"]) == 0
    first = capsys.readouterr().out
    for name in NAMES[:2]:
        (row,) = evaluate(runs / name)
        (kept,) = json.loads((runs / name / "test.json").read_text())["rows"]
        assert kept == row | {"run": f"runs/s/{name}"}
    write_test_results(runs, {"strided-0": {"speech_commands": -100.0}})
    assert main(["study", "s.yaml", "--summary", "--format", "json"]) == 0
    assert capsys.readouterr().out != first
    (runs / "strided-0" / "test.json").unlink()
    (runs / "strided-1" / "test.json").write_text("cut")
    assert main(["study", "s.yaml", "--summary", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert out == first
    assert err.splitlines() == ["testing strided-0", "testing strided-1"]
    os.truncate(runs / "strided-1" / "test.json", 100)
    best = runs / "strided-0/checkpoints/best.ckpt"
    torch.save(torch.load(best, weights_only=True) | {"another": "checkpoint"}, best)
    assert main(["study", "s.yaml", "--summary", "--format", "json"]) == 0
    assert capsys.readouterr().err.splitlines() == ["testing strided-0", "testing strided-1"]


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"rows": []}', '[{"task": "a"}]', '{"rows": [1]}'])
def test_damaged_results_are_replaced(content: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / NAMES[0] / "test.json").write_text(content)
    first = study_tables(runs)
    assert "testing strided-0" in capsys.readouterr().err.splitlines()
    assert study_tables(runs) == first
    assert capsys.readouterr().err == ""


def test_changed_digit_in_the_results_is_noticed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, file = study_tables(runs), runs / NAMES[0] / "test.json"
    for digit in "0123456789":
        file.write_text(file.read_text().replace('"accuracy_percent": ', f'"accuracy_percent": {digit}', 1))
        assert study_tables(runs) == first
        assert "testing strided-0" in capsys.readouterr().err


def test_results_do_not_outlive_a_corpus_that_is_prepared_anew(
    runs: Path, words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        config = runs / name / "config.yaml"
        (folder,) = recipes.read_config(runs / name).data.corpora
        config.write_text(config.read_text().replace(folder, str(tmp_path / "prepared")))
    shutil.copytree(folder, tmp_path / "prepared")
    kept = [results_of(runs / name).rows for name in NAMES]
    shutil.rmtree(tmp_path / "prepared")
    assert [results_of(runs / name).rows for name in NAMES] == kept  # nothing contradicts them
    prepare(speech_commands.read(words, "paper"), tmp_path / "prepared")
    capsys.readouterr()
    with suppress(UserError):
        results_of(runs / NAMES[0])
    assert "testing strided-0" in capsys.readouterr().err


def test_difference_is_paired_over_recordings_and_seeds(runs: Path) -> None:
    """Compare with the interval of the same outcomes by numpy; the groups are speakers of two recordings."""
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(3, size=80), np.arange(80) // 2
    right = rng.random((4, 80)) < [[0.6], [0.65], [0.9], [0.85]]
    predictions = np.where(right, labels, (labels + 1) % 3)
    predicted = {
        name: {"a": {"labels": labels.tolist(), "predictions": row.tolist(), "groups": groups.tolist()}}
        for name, row in zip(NAMES, predictions, strict=True)
    }
    accuracies = {name: {"a": 100 * row.mean()} for name, row in zip(NAMES, right, strict=True)}
    write_test_results(runs, accuracies, predicted)
    first, second = json.loads(show(study_tables(runs), "json"))["Accuracy"]
    assert first["difference_percent"] is None
    expected = difference_interval([(right[2:], right[:2])], groups).percent()
    found = [second[f"difference_percent{part}"] for part in ("", "_low", "_high")]
    assert found == pytest.approx(expected, rel=5e-6)
    assert f"{expected.value:.1f} ({expected.low:.1f} to " in show(study_tables(runs), "table")


def test_a_table_compares_rows_that_are_equal_apart_from_one_axis(runs: Path) -> None:
    """Here seed 1 is right once more than seed 0 with strided convolution, and twice more with DiffStride."""
    Path("s.yaml").write_text(STUDY + "tables: [{over: [], against: {training.seed: 0}}]")
    right = dict(zip(NAMES, (1, 2, 3, 5), strict=True))
    write_right(runs, right, of=8)
    differences = [row["difference_percent"] for row in study_tables(runs)["Accuracy"]]
    assert [difference and difference.value for difference in differences] == [None, 12.5, None, 25]


def test_rows_that_average_over_an_axis_are_compared_for_each_of_its_values(runs: Path) -> None:
    """Seed 1 is right once more than seed 0 with strided convolution, and twice more with DiffStride."""
    Path("s.yaml").write_text(STUDY + "tables: [{over: [model.downsampling]}]")
    right = dict(zip(NAMES, (2, 3, 6, 8), strict=True))
    write_right(runs, right, of=9)
    first, second = (row["difference_percent"] for row in study_tables(runs)["Accuracy"])
    assert first is None
    each = np.arange(9) < np.array(list(right.values()))[:, None, None]
    conditions = [(each[1], each[0]), (each[3], each[2])]
    assert second == pytest.approx(difference_interval(conditions).percent())
    assert second.value == pytest.approx(100 * 1.5 / 9)
    shutil.rmtree(runs / NAMES[3])  # without it, DiffStride is not compared either
    _, second = (row["difference_percent"] for row in study_tables(runs)["Accuracy"])
    assert second.value == pytest.approx(100 / 9)


def test_a_row_without_its_counterpart_has_no_difference(runs: Path) -> None:
    Path("s.yaml").write_text(STUDY + "tables: [{over: [], against: {training.seed: 0}}]")
    outcomes = {"a": {"labels": [0, 1], "predictions": [0, 0], "groups": [1, 2]}}
    write_test_results(runs, {name: {"a": 50.0} for name in NAMES}, dict.fromkeys(NAMES, outcomes))
    shutil.rmtree(runs / NAMES[0])
    differences = [row["difference_percent"] for row in study_tables(runs)["Accuracy"]]
    assert differences == [None, None, (0, 0, 0)]


def test_runs_on_different_recordings_have_no_difference(runs: Path) -> None:
    ones = {"predictions": [1, 1], "groups": [1, 2]}
    predicted = {name: {"a": ones | {"labels": [1, int(name[-1])]}} for name in NAMES}
    write_test_results(runs, {name: {"a": 50.0} for name in NAMES}, predicted)
    assert [row["difference_percent"] for row in study_tables(runs)["Accuracy"]] == [None, None]


def test_missing_unfinished_and_broken_runs_are_noted_and_the_others_shown(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_test_results(runs, {name: {"a": 50.0} for name in NAMES})
    shutil.rmtree(runs / "strided-0")
    recipe = recipes.read_config(runs / "strided-1")
    recipe.trainer = {"max_epochs": 1}
    shutil.rmtree(runs / "strided-1")
    train(recipe, runs / "strided-1")
    (runs / "diffstride-0" / "checkpoints" / "last.ckpt").write_text("cut")
    capsys.readouterr()
    assert main(["study", "s.yaml", "--summary", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["downsampling"], row["runs"], row["accuracy_percent"]) == ("diffstride", "1", "50.0")
    assert row["accuracy_percent_deviation"] == ""
    assert err.splitlines() == [
        "note: strided-1 is at step 1 of 2; left out",
        "note: runs/s/diffstride-0/checkpoints/last.ckpt is not a checkpoint of audiostride, or a damaged "
        "one; left out",
        "note: not trained yet: strided-0; left out",
    ]


def test_run_that_cannot_be_tested_is_noted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_test_results(runs, {name: {"a": 50.0} for name in NAMES[1:]})
    (runs / "strided-0" / "checkpoints" / "best.ckpt").unlink()
    assert main(["study", "s.yaml", "--summary", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert [row["runs"] for row in json.loads(out)["Accuracy"]] == [1, 2]
    assert err.startswith(
        "note: the run runs/s/strided-0 has no checkpoint (checkpoints/best.ckpt is missing)"
    )


def test_titles_are_printed_above_the_tables(runs: Path) -> None:
    Path("s.yaml").write_text(STUDY + "tables: [{title: First}, {title: Second, over: [model.downsampling]}]")
    write_test_results(runs, {name: {"a": 50.0} for name in NAMES})
    both = study_tables(runs)
    assert show(both, "table").startswith("First\n\ndownsampling  ")
    assert "\n\nSecond\n\nseed  " in show(both, "table")
    assert "\n\n**Second**\n\n| seed   |" in show(both, "markdown")
    assert "\n\n% Second\n\\begin{tabular}" in show(both, "latex")
    assert [len(list(csv.reader(io.StringIO(table)))) for table in show(both, "csv").split("\n\n")] == [3, 3]


def test_an_axis_with_the_name_of_a_column_gets_a_prefix(runs: Path) -> None:
    Path("s.yaml").write_text(
        "recipe: tiny.yaml\ngrid: {task: {strided: {model.downsampling: strided}}, training.seed: [0, 1]}"
    )
    write_test_results(runs, {name: {"a": 50.0} for name in NAMES[:2]})
    ((row,),) = study_tables(runs).values()
    assert (row["grid_task"], row["task"]) == ("strided", "a")


def test_networks_are_timed_on_request_and_drawn_against_their_time(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_test_results(runs, {name: {"a": 10.0 * n} for n, name in enumerate(NAMES, 1)})
    before = (runs / NAMES[0] / "checkpoints" / "best.ckpt").read_bytes()
    assert main(["study", "s.yaml", "--summary", "--time", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)["Accuracy"]
    for row in rows:
        assert row["training_ms"] > row["inference_ms"] > 0
        assert row["training_ms_deviation"] is not None
    assert "measuring 4 networks" in err
    assert (runs / NAMES[0] / "checkpoints" / "best.ckpt").read_bytes() == before
    spreads = [
        {"method": "x", "task": "a"}
        | {
            name: Spread(row[name], 0.0)
            for name in ("accuracy_percent", "mega_macs_with_frontend", "training_ms")
        }
        for row in rows
    ]
    time_panel = accuracy_against_cost(spreads).figure.axes[1]
    assert time_panel.get_xlabel() == "milliseconds of a training step, 32 windows"
    (drawn,) = time_panel.containers
    assert sorted(drawn[0].get_xdata()) == sorted(row["training_ms"] for row in rows)


def test_accuracy_is_drawn_against_cost(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_test_results(runs, {name: {"a": 10.0 * n, "b": 50.0} for n, name in enumerate(NAMES, 1)})
    assert main(["study", "s.yaml", "--summary", "--plot", "figures"]) == 0
    assert sorted(path.name for path in Path("figures").iterdir()) == [
        "accuracy_against_cost.png",
        "accuracy_against_cost.svg",
    ]
    figure = accuracy_against_cost(study_tables(runs)["Accuracy"])
    assert "strided a 15 ± 7.1 % at" in figure.alt
    (panel,) = figure.figure.axes
    points = [tuple(container[0].get_ydata()) for container in panel.containers]
    assert points == [(15, 35), (50, 50)]  # per task: of strided convolution, of DiffStride
    assert [text.get_text() for text in panel.texts] == ["strided", "diffstride"] * 2


def test_lines_join_the_rows_of_a_value_in_the_order_of_their_cost(runs: Path) -> None:
    Path("s.yaml").write_text(STUDY + "tables: [{over: [], lines: training.seed}]")
    write_test_results(runs, {name: {"a": 10.0 * n} for n, name in enumerate(NAMES, 1)})
    rows = study_tables(runs)["Accuracy"]
    costs = [row["mega_macs_with_frontend"].mean for row in rows]
    (panel,) = accuracy_against_cost(rows, "seed").figure.axes
    drawn = {one.get_label(): one[0] for one in panel.containers}
    assert list(drawn) == ["0", "1"]
    assert sorted(zip(*drawn["1"].get_data(), strict=True)) == sorted([(costs[1], 20.0), (costs[3], 40.0)])
    assert list(drawn["1"].get_xdata()) == sorted(drawn["1"].get_xdata())
    assert drawn["1"].get_linestyle() != "None"
    assert not panel.texts


def test_accuracies_are_drawn_side_by_side(runs: Path) -> None:
    Path("s.yaml").write_text(
        STUDY + "tables: [{over: [], lines: model.downsampling, across: training.seed}]"
    )
    write_test_results(runs, {name: {"a": 10.0 * n} for n, name in enumerate(NAMES, 1)})
    assert main(["study", "s.yaml", "--summary", "--plot", "figures"]) == 0
    assert Path("figures/accuracy_side_by_side.svg").exists()
    figure = accuracy_across(study_tables(runs)["Accuracy"], "seed", "downsampling")
    assert "strided 1 a 20 %" in figure.alt
    (panel,) = figure.figure.axes
    assert [text.get_text() for text in panel.get_xticklabels()] == ["0", "1"]
    drawn = {one.get_label(): one[0].get_data() for one in panel.containers}
    assert {name: list(y) for name, (_, y) in drawn.items()} == {"strided": [10, 20], "diffstride": [30, 40]}
    assert {name: [round(each) for each in x] for name, (x, _) in drawn.items()} == {
        "strided": [0, 1],
        "diffstride": [0, 1],
    }
    assert drawn["strided"][0][0] < drawn["diffstride"][0][0]


def test_side_by_side_the_other_columns_and_tasks_are_the_lines_by_default(runs: Path) -> None:
    Path("s.yaml").write_text(STUDY + "tables: [{over: [], across: training.seed}]")
    write_test_results(runs, {name: {"a": 10.0 * n, "b": 50.0} for n, name in enumerate(NAMES, 1)})
    (panel,) = accuracy_across(study_tables(runs)["Accuracy"], "seed").figure.axes
    drawn = {one.get_label(): list(one[0].get_ydata()) for one in panel.containers}
    assert drawn == {
        "strided a": [10, 20],
        "strided b": [50, 50],
        "diffstride a": [30, 40],
        "diffstride b": [50, 50],
    }


def test_plot_of_a_study_without_accuracies_reports_a_clear_error(runs: Path) -> None:
    Path("s.yaml").write_text(STUDY + "tables: [{show: strides}]")
    with pytest.raises(
        UserError, match=r"s\.yaml has no accuracies to draw: leave --plot out, or add 'show: "
    ):
        draw(study_file.read(Path("s.yaml")), study_tables(runs), Path("figures"))


def test_finished_run_may_differ_in_trainer_and_workers(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_test_results(runs, {name: {"a": 50.0} for name in NAMES})
    options = ("--trainer.devices", "1", "--data.workers", "1")
    assert main(["study", "s.yaml", "--summary", "--format", "json", *options]) == 0
    out, err = capsys.readouterr()
    assert [row["runs"] for row in json.loads(out)["Accuracy"]] == [2, 2]
    assert err == ""
