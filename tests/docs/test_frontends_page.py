"""What the page about frontends says: its recipes, costs, example and table of settings."""

import re
from dataclasses import fields

import pytest
from helpers.pages import DOCS
from test_examples import blocks

from audiostride import FrontendSettings
from audiostride.analysis.summary import summarise_recipe
from audiostride.config import recipe as recipes
from audiostride.config import yaml
from audiostride.frontends.build import build_sound_frontend

PAGE = DOCS / "frontends.md"


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its two head lines."""
    text = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    lines = re.search(r"(^\|.*\n)+", text, re.MULTILINE)
    assert lines is not None
    return [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines[0].splitlines()[2:]]


@pytest.mark.parametrize("number", range(4))
def test_recipes_can_be_read_and_summarised(number: int) -> None:
    block = blocks(PAGE, "yaml")[number]
    recipe = recipes.build(recipes.from_python(yaml.load(block)))
    corpus = recipe.data.corpora[0]
    given = re.search(r"prepare folder \w+ --sample_rate (\d+)", block)
    assert recipe.frontend.sample_rate == (int(given[1]) if given else 16000), corpus
    rows = summarise_recipe(recipe)
    assert rows[0]["input"] == ("100 × 48", "100 × 96", "200 × 64", "100 × 96")[number]


def test_costs_are_those_of_the_frontends() -> None:
    for kind, *costs in rows("What each costs"):
        for rate, cost in zip((8000, 16000, 44100), costs, strict=True):
            frontend = build_sound_frontend(FrontendSettings(kind=kind, sample_rate=rate))  # type: ignore[arg-type]
            assert f"{frontend.macs(rate) / 1e6:.1f}" == cost, (kind, rate)
    small, paper = (cost_of_network(name) for name in ("small", "speech_commands"))
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"that of `small` {small:.0f} million, the paper's {paper:,.0f} million" in text


def cost_of_network(recipe: str) -> float:
    summary = summarise_recipe(recipes.load(recipe))
    return next(row["mega_macs"] for row in summary if row["layer"] == "all")


def test_table_of_settings_has_every_setting() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("These are the ones that each kind uses:")[2]
    named = set(re.findall(r"`(\w+)`", text.partition("Settings without sense")[0]))
    assert {field.name for field in fields(FrontendSettings)} - {"kind"} <= named


def test_frontend_before_a_network_of_the_user_learns(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(PAGE, "python")
    exec(code, {})
    hop, channels = re.fullmatch(r"hop ([\d.]+) ms, (\d+) mel channels\n", capsys.readouterr().out).groups()  # type: ignore[union-attr]
    assert (float(hop), int(channels)) != (10.0, 64)
    assert 9 < float(hop) < 11


def test_each_kind_is_described() -> None:
    assert [row[0] for row in rows("Which kind")] == ["log_mel", "pcen", "learned_resolution", "leaf"]
