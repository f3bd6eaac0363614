"""Tables of results in every format."""

import csv
import io
import json
from typing import Any

import pytest

from audiostride.tables import Spread, render

ROWS = [{"name": "a", "stride": 1.23456789, "edge": None}, {"name": "long, name", "stride": 20.0, "edge": 3}]


def test_json_and_csv_keep_all_digits() -> None:
    assert json.loads(render(ROWS, "json")) == ROWS
    read = list(csv.DictReader(io.StringIO(render(ROWS, "csv"))))
    assert read == [
        {"name": "a", "stride": "1.23456789", "edge": ""},
        {"name": "long, name", "stride": "20.0", "edge": "3"},
    ]


def test_table_aligns_numbers_to_the_right() -> None:
    assert render(ROWS).splitlines() == [
        "name          stride    edge",
        "----------  --------  ------",
        "a              1.235       –",
        "long, name        20       3",
    ]


def test_spread_takes_two_fields_in_json_and_csv_and_one_cell_in_tables() -> None:
    rows: list[dict[str, Any]] = [
        {"task": "a", "stride": Spread(1.96666, 0.0321)},
        {"task": "b", "stride": None},
    ]
    assert json.loads(render(rows[:1], "json")) == [
        {"task": "a", "stride": 1.96666, "stride_deviation": 0.0321}
    ]
    read = list(csv.DictReader(io.StringIO(render(rows, "csv"))))
    assert read[1] == {"task": "b", "stride": "", "stride_deviation": ""}
    assert render(rows).splitlines()[2] == "a       1.967 ± 0.032"


def test_markdown_and_latex_escape_special_characters() -> None:
    rows = [{"run_name": "50 % | a_b", "edge": None}]
    assert render(rows, "markdown").splitlines() == [
        "| run name    |   edge |",
        "|:------------|-------:|",
        "| 50 % \\| a_b |      – |",
    ]
    lines = render(rows, "latex").splitlines()
    assert lines[1:6:2] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert lines[4].split() == r"50 \% | a\_b & -- \\".split()
    assert r"$\pm$" in render([{"stride": Spread(1.5, 0.5)}], "latex")


def test_deviation_divides_by_one_less_than_the_number_of_values() -> None:
    assert Spread.of([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert Spread.of([1.5]) == (1.5, None)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-x", "@SUM(A1)", "\t=1", '=HYPERLINK("a","b")'])
def test_text_that_is_a_formula_to_a_spreadsheet_gets_an_apostrophe_in_csv(text: str) -> None:
    (row,) = csv.DictReader(io.StringIO(render([{"task": text, "loss": -1.5}], "csv"), newline=""))
    assert row == {"task": f"'{text}", "loss": "-1.5"}
    assert json.loads(render([{"task": text, "loss": -1.5}], "json")) == [{"task": text, "loss": -1.5}]
