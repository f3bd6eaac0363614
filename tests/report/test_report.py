"""The page of a report: what it tells is so, it says what is missing, and browsers show it whole."""

import base64
import contextlib
import html
import io
import json
import re
import shlex
import shutil
import statistics
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import soundfile
import torch
from helpers.tiny_run import metrics, tiny

from audiostride import load
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.figures import BACKGROUND
from audiostride.analysis.summary import summary
from audiostride.analysis.trained import open_run
from audiostride.cli import main
from audiostride.config import recipe as recipes
from audiostride.config.arguments import recipe_parser
from audiostride.config.settings import ModelSettings, Recipe
from audiostride.corpora.base import Corpus, Recording
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare
from audiostride.report import examine as findings
from audiostride.report.examine import interval
from audiostride.report.images import group_names
from audiostride.report.learning_curves import draw_learning_curves
from audiostride.report.page import write_report
from audiostride.tables import cell
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train

ODD = '<b>&"x'
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a report says, as a program that reads HTML finds it.

    Attributes:
        tags: of every element its name and attributes, in their order.
        tables: by caption the rows of each table, a list of texts each.
        headings: (level, text).
        text: all of it, with single spaces.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source, self.open, self.said = source, [""], [""]
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.headings: list[tuple[int, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.cells: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == [""], "every element is closed"
        self.text = " ".join("".join(self.said).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
            self.said.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        said = " ".join(self.said.pop().split())
        self.said[-1] += f" {said} " if tag not in ("span", "i", "code") else said
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), said))
        elif tag == "caption":
            self.caption = said
            self.rows = []
        elif tag == "tr":
            self.rows.append(self.cells)
            self.cells = []
        elif tag in ("th", "td"):
            self.cells.append(said)
        elif tag == "table":
            self.tables[self.caption] = self.rows

    def handle_data(self, data: str) -> None:
        if self.open[-1] != "style":
            self.said[-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def table(self, beginning: str) -> list[dict[str, str]]:
        """The rows of the table whose caption begins so, by the heads of its columns."""
        (rows,) = (rows for caption, rows in self.tables.items() if caption.startswith(beginning))
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:] if len(row) == len(rows[0])]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Networks as small as these gain nothing from threads; and what speed is found does not depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings, "in_turns", lambda work, rounds: dict.fromkeys(work, 64.0))
        yield
    torch.set_num_threads(threads)


def without_diffstride(recipe: Recipe) -> Recipe:
    recipe.model.downsampling = "strided"
    return recipe


@pytest.fixture(scope="module")
def runs(store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two of one recipe, one without DiffStride."""
    folder = tmp_path_factory.mktemp("runs")
    made = {"a0": tiny(store), "a1": tiny(store, seed=1), "strided": without_diffstride(tiny(store))}
    for name, recipe in made.items():
        train(recipe, folder / name)
    return {name: folder / name for name in made}


@pytest.fixture(scope="module")
def single(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = tmp_path_factory.mktemp("single") / "not yet" / "there" / "report.html"
    write_report([str(runs["a0"])], out)
    return Page(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def several(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = tmp_path_factory.mktemp("several") / "report.html"
    write_report([str(run) for run in runs.values()], out)
    return Page(out.read_text(encoding="utf-8"))


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
def test_interval_limits_leave_a_fortieth_of_the_distribution_outside(correct: int, n: int) -> None:
    """This defines the method of Clopper and Pearson."""
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


def told(row: dict[str, Any], correct: int) -> str:
    low, high = interval(correct, row["recordings"])
    return f"{row['accuracy_percent']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def test_accuracies_are_those_of_test(runs: dict[str, Path], single: Page) -> None:
    (row,) = evaluate(runs["a0"])
    (cells,) = single.table("Accuracy with its exact")
    assert cells["task"] == row["task"]
    assert cells["accuracy"] == told(row, round(row["accuracy_percent"] * row["recordings"] / 100))
    assert cells["macro F1"] == f"{row['macro_f1_percent']:.1f} %"
    assert cells["ROC AUC"] == "–"
    assert (cells["recordings"], cells["classes"], cells["split"]) == ("6", "3", "official test")


def test_strides_data_and_cost_are_told(runs: dict[str, Path], store: Store, single: Page) -> None:
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


def test_settings_are_those_that_differ_then_all(runs: dict[str, Path], single: Page) -> None:
    recipe = recipes.read_config(runs["a0"])
    different = {row["setting"]: row for row in single.table("Settings that differ")}
    assert different.keys() == recipes.changed(Recipe(), recipe).keys()
    assert different["training.steps"] == {
        "setting": "training.steps",
        "here": "6",
        "in the paper": "1000000",
    }
    assert {row["setting"] for row in single.table("All settings")} == recipes.flat(recipe).keys()


def test_commands_lead_to_the_run_and_the_report(runs: dict[str, Path], store: Store, single: Page) -> None:
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


def test_learning_curves_are_the_log(runs: dict[str, Path]) -> None:
    drawn = draw_learning_curves([open_run(str(runs["a0"]))], ["a"], step=4)
    assert drawn is not None
    panels: list[Any] = drawn.figure.axes
    log = metrics(runs["a0"])
    for panel, metric, scale in zip(panels, ("loss", "accuracy"), (1, 100), strict=True):
        valid, training, checkpoint = panel.lines
        for line, part in ((valid, "valid"), (training, "train")):
            assert list(line.get_xdata()) == [entry["step"] for entry in log]
            values = [scale * entry["metrics"][f"{part}/{metric}/speech_commands"] for entry in log]
            assert list(line.get_ydata()) == values
        assert list(checkpoint.get_xdata()) == [4, 4]
    last = 100 * log[-1]["metrics"]["valid/accuracy/speech_commands"]
    assert f"validation accuracy ends at {last:.1f} % (speech_commands)" in drawn.alt


def test_several_runs_are_compared_by_recipe(runs: dict[str, Path], several: Page) -> None:
    (caption,) = (caption for caption in several.tables if caption.startswith("Accuracy on the test split"))
    rows = {row[0]: row for row in several.tables[caption]}
    assert list(rows) == [
        "run",
        "downsampling diffstride",
        str(runs["a0"]),
        str(runs["a1"]),
        "mean of 2",
        "downsampling strided",
        str(runs["strided"]),
    ]
    assert rows["run"][1] == "speech_commands n = 6"
    accuracies = [evaluate(runs[name])[0]["accuracy_percent"] for name in ("a0", "a1")]
    mean, deviation = statistics.mean(accuracies), statistics.stdev(accuracies)
    assert rows["mean of 2"][1] == f"{mean:.1f} ± {deviation:.1f} %"
    for name, accuracy in zip(("a0", "a1"), accuracies, strict=True):
        assert rows[str(runs[name])][1].startswith(f"{accuracy:.1f} % (")
    differing = several.table("Settings in which the recipes differ")
    assert differing == [
        {"run": str(runs[name]), "model.downsampling": downsampling}
        for name, downsampling in (("a0", "diffstride"), ("a1", "diffstride"), ("strided", "strided"))
    ]
    opened = ["open" in details for details in several.all("details") if details.get("class") == "run"]
    assert opened == [True, False, False]


@pytest.mark.parametrize(
    ("titles", "names", "expected"),
    [
        (["ramp inside", "ramp outside"], ["a/x", "b/x"], ["ramp inside", "ramp outside"]),
        (["1" * 80, "2", "1" * 80], ["a/x", "a/y", "a/z"], ["x and 1 more", "y", "x and 1 more"]),
        (["1" * 80, "2"], ["a/x", "b/x"], ["a/x", "b/x"]),
    ],
)
def test_long_titles_give_way_to_folders_in_pictures(
    titles: list[str], names: list[str], expected: list[str]
) -> None:
    found: Any = [
        SimpleNamespace(title=title, run=SimpleNamespace(name=name))
        for title, name in zip(titles, names, strict=True)
    ]
    assert group_names(found) == expected


def test_pictures_are_drawn_for_light_and_for_dark_pages(single: Page) -> None:
    images = single.all("img")
    assert [image["class"].split()[0] for image in images] == ["light", "dark"] * (len(images) // 2)
    for image in images:
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        drawn = base64.b64decode(data).decode()
        assert ElementTree.fromstring(drawn).tag.endswith("svg")
        background = re.search(r'"patch_1">.*?fill: (#\w{6})', drawn, re.DOTALL)
        assert background
        assert background[1] == BACKGROUND["dark" in image["class"]]
    # Learning curves, a confusion matrix, windows, trajectories, cut-offs, strides, downsampling.
    assert len(images) == 2 * 7


@pytest.mark.parametrize("page", ["single", "several"])
def test_a_page_needs_nothing_else(page: str, request: pytest.FixtureRequest) -> None:
    found: Page = request.getfixturevalue(page)
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "iframe", "object", "embed", "base", "form", "source"}
    for _, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in {"src", "srcset", "href", "data", "action"} & attributes.keys():
            assert attributes[name].startswith(("data:", "#"))
    assert not re.search(r"url\(|@import|https?:", found.source)
    (policy,) = (meta for meta in found.all("meta") if "http-equiv" in meta)
    assert policy["content"].startswith("default-src 'none';")


@pytest.mark.parametrize("page", ["single", "several"])
def test_a_page_can_be_read_without_seeing_it(page: str, request: pytest.FixtureRequest) -> None:
    found: Page = request.getfixturevalue(page)
    assert found.all("html") == [{"lang": "en"}]
    levels = [level for level, _ in found.headings]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    for image in found.all("img"):
        assert re.search(r"\d", image["alt"]), "the numbers that matter"
    assert all(head.get("scope") for head in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table"))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len({*ids})
    for _, attributes in found.tags:
        if attributes.get("role") == "region":
            assert attributes.get("aria-label") or attributes["aria-labelledby"] in ids
            assert attributes["tabindex"] == "0"
    assert {link["href"][1:] for link in found.all("a")} <= {*ids}


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_text_stands_out_from_what_is_behind_it(single: Page) -> None:
    blocks = re.findall(r":root \{(.*?)\}", single.source, re.DOTALL)
    assert len(blocks) == 2  # light and dark
    for block in blocks:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", block))
        for text in ("ink", "muted", "mark"):
            for behind in ("background", "tint"):
                light, dark = sorted((luminance(colours[name]) for name in (text, behind)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, behind, colours)


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = tmp_path / "source"
    source.mkdir()
    labels = {ODD: [ODD, "$plain$"]}
    recordings = []
    for number in range(12):
        soundfile.write(source / f"{number}.wav", rng.standard_normal(8000) / 10, 16000)
        split = ("train", "train", "valid", "test")[number // 2 % 4]
        recordings.append(Recording(f"{number}.wav", split, {ODD: labels[ODD][number % 2]}))
    corpus = Corpus("odd", source, ODD, labels, recordings, notes=(ODD,))
    odd = prepare(corpus, tmp_path / ODD)
    run = tmp_path / f"run {ODD}"
    train(tiny(odd, steps=2), run)
    write_report([str(run)], tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.headings[0] == (1, ODD)
    assert (2, str(run)) in page.headings
    assert f"{odd.folder}: {ODD}" in page.text
    assert "b" not in {tag for tag, _ in page.tags}
    assert any(f"Confusion matrix of {ODD}" in image["alt"] for image in page.all("img"))
    (row,) = page.table("Recordings of each task")
    assert row["splits"].startswith(f"{ODD} train; ")
    assert f"# {odd.folder} contains sounds of {source.resolve()}" in page.text
    assert f"--out={shlex.quote(str(run))}" in page.text


SENTENCES = {
    "training": "{} is at step 4 of 6: shown as it is now, at its best checkpoint",
    "strided": "{} learns no strides, its downsampling is strided",
    "logless": "{} has no log (metrics.jsonl is missing or empty): its course is not shown",
    "silent": "{} has no log (metrics.jsonl is missing or empty): its course is not shown",
    "homeless": "{} cannot be tested: there is no prepared corpus in nowhere: make it with audiostride "
    "prepare",
    "shallow": "the runs differ in depth (1 and 2 layers): layers are compared by their number",
    "damaged": "is not a checkpoint of audiostride, or a damaged one; left out",
    "none": "{} is no run, config.yaml is missing: give the folder that audiostride train made; left out",
}


@pytest.fixture(scope="module")
def bad(
    runs: dict[str, Path], store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Page, list[str], dict[str, Path]]:
    """A report on runs of which each has a fault: the page, what was said meanwhile, and the runs."""
    folder = tmp_path_factory.mktemp("bad")
    made = {name: folder / name for name in SENTENCES}
    for name, run in made.items():
        if name not in ("shallow", "none"):
            shutil.copytree(runs["strided" if name == "strided" else "a0"], run)
    log = made["training"] / "metrics.jsonl"
    log.write_text("".join(f"{json.dumps(line)}\n" for line in metrics(runs["a0"])[:-1]))
    (made["logless"] / "metrics.jsonl").unlink()
    (made["silent"] / "metrics.jsonl").write_text("")
    config = made["homeless"] / "config.yaml"
    config.write_text(config.read_text().replace(str(store.folder), "nowhere"))
    shallow = tiny(store, steps=2)
    shallow.model = ModelSettings((4,), ((2, 2),))
    train(shallow, made["shallow"])
    (made["damaged"] / "checkpoints" / "best.ckpt").write_text("cut")
    made["none"].mkdir()
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        write_report([str(run) for run in made.values()], folder / "report.html")
    said_lines = said.getvalue().splitlines()
    return Page((folder / "report.html").read_text(encoding="utf-8")), said_lines, made


@pytest.mark.parametrize("fault", SENTENCES)
def test_what_is_missing_is_said_and_the_rest_is_shown(
    fault: str, bad: tuple[Page, list[str], dict[str, Path]]
) -> None:
    page, said, made = bad
    sentence = SENTENCES[fault].format(made[fault])
    assert [line for line in said if line.startswith("note: ") and line.endswith(sentence)]
    assert sentence in page.text
    shown = [title for level, title in page.headings if level == 2]
    assert (str(made[fault]) in shown) == (fault not in ("damaged", "none"))


def test_a_run_that_cannot_be_tested_has_all_the_rest(
    bad: tuple[Page, list[str], dict[str, Path]],
) -> None:
    page, _, made = bad
    (section,) = re.findall(
        rf"<summary><h2>{re.escape(str(made['homeless']))}</h2>(.*?)<h3>Commands to repeat",
        page.source,
        re.DOTALL,
    )
    for heading in ("Accuracy", "Learning curves", "Strides and cut-offs", "Data", "Cost", "Settings"):
        assert f"<h3>{heading}</h3>" in section
    assert "Not tested" in section
    assert section.count("<img") == 2 * 2  # learning curves and windows
    assert "cycles/mel" in section
    rows = page.tables[next(caption for caption in page.tables if caption.startswith("Accuracy on"))]
    (row,) = (row for row in rows if row[0] == str(made["homeless"]))
    assert row[1] == "–"


def test_a_task_without_recordings_is_said_to_be_untested(
    sounds: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(sounds, steps=2), tmp_path / "run")
    whole = findings.evaluation

    def shape_only(*args: Any) -> Any:
        found = whole(*args)
        del found.rows[1:], found.outcomes["level"]
        return found

    monkeypatch.setattr(findings, "evaluation", shape_only)
    write_report([str(tmp_path / "run")], tmp_path / "report.html", split="valid", checkpoint="last")
    sentence = f"{tmp_path / 'run'} is not tested on level: there are no valid recordings of it"
    assert f"note: {sentence}\n" in capsys.readouterr().err
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert sentence in page.text
    (row,) = page.table("Accuracy with its exact")
    assert (row["task"], row["split"]) == ("shape", "given valid")
    assert row["ROC AUC"] != "–"
    assert f"audiostride test {tmp_path / 'run'} --split=valid --checkpoint=last" in page.text


def test_on_the_command_line(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "report.html"
    assert main(["report", str(runs["strided"]), "--out", str(out)]) == 0
    printed, said = capsys.readouterr()
    assert printed == ""
    assert said.splitlines()[:2] == [
        f"note: {runs['strided']} learns no strides, its downsampling is strided",
        f"[1/1] {runs['strided']}: testing on the test split",
    ]
    assert said.splitlines()[-1] == f"{out}: {runs['strided']}"
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]
    assert Page(out.read_text(encoding="utf-8")).headings


def test_without_a_run_to_show_there_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    names, out = [str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "new" / "report.html"
    assert main(["report", *names, "--out", str(out)]) == 1
    assert main(["report", str(tmp_path / "c"), "--out", str(out)]) == 1
    remedy = "give the folder that audiostride train made"
    assert capsys.readouterr().err.splitlines() == [
        f"audiostride report: {names[0]} is no run, config.yaml is missing: {remedy}",
        f"audiostride report: there is no run at {tmp_path / 'c'}: {remedy}",
    ]
    assert not out.parent.exists()


def test_a_file_is_replaced_whole_or_not_at_all(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(runs["a0"])]
    with pytest.raises(UserError, match="give the name of a file, as in"):
        write_report(names, tmp_path)
    out = tmp_path / "report.html"
    out.write_text("old")

    def fail(*args: Any) -> str:
        raise OSError("disk full")

    monkeypatch.setattr("audiostride.report.page.page", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(names, out)
    assert out.read_text() == "old"
    monkeypatch.setattr("audiostride.report.page.page", lambda *args: "new")
    write_report(names, out)
    assert out.read_text() == "new"


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --enable-logging=stderr --v=0
    --hide-scrollbars""".split()
WIDTHS = (400, 1400)

# Frames of true widths: the window of a headless browser has a least one. All that can be opened is opened.
LOOK = """<!doctype html><meta charset="utf-8"><body>{frames}<script>
addEventListener("load", () => {{
  const seen = [...document.querySelectorAll("iframe")].map(({{contentDocument: page}}) => {{
    page.querySelectorAll("details").forEach(details => details.open = true);
    const images = [...page.images];
    return {{
      broken: images.filter(image => !image.complete || !image.naturalWidth).length,
      shown: images.filter(image => image.offsetWidth).map(image => image.className.split(" ")[0]),
      width: page.documentElement.clientWidth,
      needed: page.documentElement.scrollWidth,
      behind: getComputedStyle(page.documentElement).backgroundColor,
    }};
  }});
  document.body.textContent = JSON.stringify(seen);
}});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed to look at a page with")
@pytest.mark.parametrize("look", ["light", "dark"])
def test_a_browser_shows_all_of_it_on_phones_and_screens(look: str, several: Page, tmp_path: Path) -> None:
    page = html.escape(several.source)
    frames = "".join(
        f'<iframe style="width:{w}px;height:900px;border:0" srcdoc="{page}"></iframe>' for w in WIDTHS
    )
    wrapper = tmp_path / "look.html"
    wrapper.write_text(LOOK.format(frames=frames), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={['dark', 'light'].index(look)}"
    seen = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            scheme,
            "--dump-dom",
            wrapper.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    (result,) = re.findall(r"<body>(\[.*?\])</body>", seen.stdout, re.DOTALL)
    assert "CONSOLE" not in seen.stderr
    red, green, blue = bytes.fromhex(BACKGROUND[look == "dark"][1:])
    images = len(several.all("img")) // 2
    for width, frame in zip(WIDTHS, json.loads(result), strict=True):
        assert frame["broken"] == 0
        assert frame["shown"] == [look] * images
        assert frame["width"] == frame["needed"] == width
        assert frame["behind"] == f"rgb({red}, {green}, {blue})"
