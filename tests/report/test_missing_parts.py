"""Reports about runs that lack a log, a corpus, a checkpoint or recordings."""

import contextlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.report_page import Page, write_page
from helpers.tiny_run import metrics, tiny

from audiostride.config.settings import ModelSettings
from audiostride.data.store import Store
from audiostride.report import examine
from audiostride.training.fit import train

NOTES = {
    "training": "{} is at step 4 of 6: its present best checkpoint is shown",
    "strided": "{} learns no strides, its downsampling is strided",
    "logless": "{} has no log (metrics.jsonl is missing or empty): its training is not shown",
    "silent": "{} has no log (metrics.jsonl is missing or empty): its training is not shown",
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
    """A report on runs with one fault each: the page, the lines on standard error, and the runs."""
    folder = tmp_path_factory.mktemp("bad")
    made = {name: folder / name for name in NOTES}
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
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr):
        page = write_page(list(made.values()), folder / "report.html")
    return page, stderr.getvalue().splitlines(), made


@pytest.mark.parametrize("fault", NOTES)
def test_report_says_what_is_missing_and_shows_the_rest(
    fault: str, bad: tuple[Page, list[str], dict[str, Path]]
) -> None:
    page, stderr, made = bad
    sentence = NOTES[fault].format(made[fault])
    assert [line for line in stderr if line.startswith("note: ") and line.endswith(sentence)]
    assert sentence in page.text
    shown = [title for level, title in page.headings if level == 2]
    assert (str(made[fault]) in shown) == (fault not in ("damaged", "none"))


def test_section_of_a_run_that_cannot_be_tested_shows_everything_else(
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
    assert section.count("<img") == 2 * 3  # learning curves, cost and windows
    assert "cycles/mel" in section
    rows = page.tables[next(caption for caption in page.tables if caption.startswith("Accuracy on"))]
    (row,) = (row for row in rows if row[0] == str(made["homeless"]))
    assert row[1] == "–"


def test_report_says_that_a_task_without_recordings_is_not_tested(
    sounds: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(sounds, steps=2), tmp_path / "run")
    whole = examine.evaluation

    def shape_only(*args: Any) -> Any:
        found = whole(*args)
        del found.rows[1:], found.outcomes["level"]
        return found

    monkeypatch.setattr(examine, "evaluation", shape_only)
    run, out = tmp_path / "run", tmp_path / "report.html"
    page = write_page([run], out, split="valid", checkpoint="last")
    sentence = f"{tmp_path / 'run'} is not tested on level: there are no valid recordings of it"
    assert f"note: {sentence}\n" in capsys.readouterr().err
    assert sentence in page.text
    (row,) = page.table("Accuracy with its 95 %")
    assert (row["task"], row["split"]) == ("shape", "given valid")
    assert row["ROC AUC"] != "–"
    assert f"audiostride test {tmp_path / 'run'} --split=valid --checkpoint=last" in page.text
