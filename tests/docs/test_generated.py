"""The generated parts of the documentation: references, result tables and notebooks."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import hooks
import pytest
from helpers.pages import DOCS, NOTEBOOKS, PAGES, RESULTS, ROOT
from mkdocs.config import load_config

from audiostride.cli import COMMANDS
from audiostride.config.settings import DataSettings, Recipe


def test_settings_reference_names_every_setting_of_a_recipe() -> None:
    reference = hooks.settings_reference()
    for group in fields(Recipe):
        if is_dataclass(group.type):
            for setting in fields(group.type):
                assert f"\n`{group.name}.{setting.name}`\n" in reference


def test_settings_reference_shows_type_range_default_and_help() -> None:
    entry = hooks.settings_reference().split("`data.holdout`\n")[1].split("\n`")[0]
    kind, help_text = (line.strip() for line in entry.splitlines() if line.strip())
    assert kind == f":   *number, 0 to 0.5; default:* `{DataSettings().holdout}`"
    assert "held out for validation" in help_text


def test_command_reference_shows_the_help_of_every_command() -> None:
    reference = hooks.command_reference()
    for command in COMMANDS:
        assert f"\n## {command}\n" in f"\n{reference}"
    assert "### prepare folder" in reference
    assert "### bench layers" in reference
    assert reference.count("usage: audiostride") == reference.count("```text")


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_every_result_file_has_command_machine_date_and_rows_and_is_shown(file: Path) -> None:
    result = json.loads(file.read_text(encoding="utf-8"))
    assert result.keys() >= {"command", "machine", "date", "rows"}
    assert len({tuple(row) for row in result["rows"]}) == 1
    assert f"{{{{ results {file.stem} " in (DOCS / "benchmarks.md").read_text(encoding="utf-8")


def test_results_table_shows_rows_command_machine_and_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results").mkdir()
    machine = {"processor": "a CPU", "cores": 2, "threads": 1, "gpu": None, "torch": "2.11.0"}
    rows = [{"method": "ours", "ms": 1234.5}, {"method": "theirs", "ms": None}]
    result = {"command": "audiostride bench layers", "machine": machine, "date": "2026-11-21", "rows": rows}
    (tmp_path / "results" / "made.json").write_text(json.dumps(result))
    monkeypatch.setattr(hooks, "DOCS", tmp_path)
    assert hooks.results_table("made") == (
        "| method | ms |\n| --- | --- |\n| ours | 1,234 |\n| theirs | – |\n\n"
        "Measured on 2026-11-21, on a CPU, 1 thread, torch 2.11.0:\n\n```sh\naudiostride bench layers\n```"
    )
    assert hooks.results_table("made ms").startswith("| ms |\n| --- |\n| 1,234 |\n| – |\n\n")


def test_notebook_becomes_text_code_outputs_and_images(tmp_path: Path) -> None:
    path = tmp_path / "made.ipynb"
    path.write_text(json.dumps(_notebook()))
    page, images = hooks.notebook_as_markdown(path)
    assert page == (
        "# Title\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
        "![Figure drawn by the cell above](made-0.png)\n"
    )
    assert images == {"made-0.png": b"png"}


def _notebook() -> dict:
    image = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"image/png": "cG5n", "text/plain": "<F>"},
    }
    printed = {"output_type": "stream", "name": "stdout", "text": "1\n"}
    code = {"cell_type": "code", "id": "b", "metadata": {}, "execution_count": 1, "source": "print(1)"}
    return {
        "cells": [
            {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Title"},
            {**code, "outputs": [printed, image]},
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def test_navigation_holds_every_page_and_notebook() -> None:
    config = load_config(str(ROOT / "mkdocs.yml"))
    named = json.dumps(config.nav)
    for page in [*PAGES, *(notebook.with_suffix(".md") for notebook in NOTEBOOKS)]:
        assert f'"{page.relative_to(DOCS).as_posix()}"' in named


def test_images_are_small() -> None:
    images = list((DOCS / "images").iterdir())
    assert images
    assert max(image.stat().st_size for image in images) < 100_000
