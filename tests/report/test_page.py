"""The page of a report: comparison, accessibility, escaping, and the command that writes it."""

import re
import shlex
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.report_page import Page, write_page
from helpers.tiny_run import tiny

from audiostride.analysis.intervals import compare
from audiostride.cli import main
from audiostride.corpora.base import Corpus, Recording
from audiostride.errors import UserError
from audiostride.prepare.prepare import prepare
from audiostride.report.page import write_report
from audiostride.training.evaluate import evaluate, evaluation
from audiostride.training.fit import train

ODD = '<b>&"x'


def test_page_groups_runs_by_recipe(runs: dict[str, Path], several: Page) -> None:
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
        "minus downsampling diffstride",
    ]
    assert rows["run"][1] == "speech_commands n = 6"
    accuracies = [evaluate(runs[name])[0]["accuracy_percent"] for name in ("a0", "a1")]
    mean, deviation = statistics.mean(accuracies), statistics.stdev(accuracies)
    assert rows["mean of 2"][1] == f"{mean:.1f} ± {deviation:.1f} %"
    for name, accuracy in zip(("a0", "a1"), accuracies, strict=True):
        assert rows[str(runs[name])][1].startswith(f"{accuracy:.1f} % (")
    correct = {name: evaluation(run).predicted["speech_commands"] for name, run in runs.items()}
    difference = compare(([correct["strided"]], [correct["a0"], correct["a1"]]))
    assert difference is not None
    value, low, high = difference.percent()
    assert rows["minus downsampling diffstride"][1] == f"{value:+.1f} % ({low:+.1f} to {high:+.1f})"
    differing = several.table("Settings in which the recipes differ")
    assert differing == [
        {"run": str(runs[name]), "model.downsampling": downsampling}
        for name, downsampling in (("a0", "diffstride"), ("a1", "diffstride"), ("strided", "strided"))
    ]
    opened = ["open" in details for details in several.all("details") if details.get("class") == "run"]
    assert opened == [True, False, False]


@pytest.mark.parametrize("page", ["single", "several"])
def test_page_has_no_scripts_and_needs_no_other_files(page: str, request: pytest.FixtureRequest) -> None:
    content: Page = request.getfixturevalue(page)
    names = {tag for tag, _ in content.tags}
    assert not names & {"script", "iframe", "object", "embed", "base", "form", "source"}
    for _, attributes in content.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in {"src", "srcset", "href", "data", "action"} & attributes.keys():
            assert attributes[name].startswith(("data:", "#"))
    assert not re.search(r"url\(|@import|https?:", content.source)
    (policy,) = (meta for meta in content.all("meta") if "http-equiv" in meta)
    assert policy["content"].startswith("default-src 'none';")


@pytest.mark.parametrize("page", ["single", "several"])
def test_page_is_accessible_to_screen_readers(page: str, request: pytest.FixtureRequest) -> None:
    content: Page = request.getfixturevalue(page)
    assert content.all("html") == [{"lang": "en"}]
    levels = [level for level, _ in content.headings]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    for image in content.all("img"):
        assert re.search(r"\d", image["alt"]), "the numbers that matter"
    assert all(head.get("scope") for head in content.all("th"))
    assert len(content.all("caption")) == len(content.all("table"))
    ids = [attributes["id"] for _, attributes in content.tags if "id" in attributes]
    assert len(ids) == len({*ids})
    for _, attributes in content.tags:
        if attributes.get("role") == "region":
            assert attributes.get("aria-label") or attributes["aria-labelledby"] in ids
            assert attributes["tabindex"] == "0"
    assert {link["href"][1:] for link in content.all("a")} <= {*ids}


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_text_has_enough_contrast_to_its_background(single: Page) -> None:
    blocks = re.findall(r":root \{(.*?)\}", single.source, re.DOTALL)
    assert len(blocks) == 2  # light and dark
    for block in blocks:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", block))
        for text in ("ink", "muted", "mark"):
            for behind in ("background", "tint"):
                light, dark = sorted((luminance(colours[name]) for name in (text, behind)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, behind, colours)


def test_names_with_special_characters_are_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    page = write_page([run], tmp_path / "report.html")
    assert page.headings[0] == (1, ODD)
    assert (2, str(run)) in page.headings
    assert f"{odd.folder}: {ODD}" in page.text
    assert capsys.readouterr().err.count(f"note: {odd.folder}: {ODD}\n") == 1
    assert "b" not in {tag for tag, _ in page.tags}
    assert any(f"Confusion matrix of {ODD}" in image["alt"] for image in page.all("img"))
    (row,) = page.table("Recordings of each task")
    assert row["splits"].startswith(f"{ODD} train; ")
    assert f"# {odd.folder} contains sounds of {source.resolve()}" in page.text
    assert f"--out={shlex.quote(str(run))}" in page.text


def test_command_writes_only_the_page_and_reports_progress(
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


def test_command_reports_a_clear_error_if_no_run_can_be_read(
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
        f"audiostride report: there is no run at {tmp_path / 'c'}: give a run folder, a checkpoint file or a "
        "model folder",
    ]
    assert not out.parent.exists()


def test_failure_leaves_the_old_page(
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
