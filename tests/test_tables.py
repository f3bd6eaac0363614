"""Tables of results in every format."""

import csv
import io
import json
import math
from typing import Any

import pytest

from audiostride.tables import Spread, render

ROWS = [{"name": "a", "stride": 1.23456789, "edge": None}, {"name": "long, name", "stride": 20.0, "edge": 3}]


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def test_json_and_csv_have_the_same_digits() -> None:
    assert json.loads(render(ROWS, "json")) == [ROWS[0] | {"stride": 1.23457}, ROWS[1]]
    read = list(csv.DictReader(io.StringIO(render(ROWS, "csv"))))
    assert read == [
        {"name": "a", "stride": "1.23457", "edge": ""},
        {"name": "long, name", "stride": "20.0", "edge": "3"},
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (93.19526627218935, "93.1953"),
        (1.23456789e-9, "1.23457e-09"),
        (-0.0012345678, "-0.00123457"),
        (1234567.89, "1234568.0"),
        (4294967295.0, "4294967295.0"),
        (0.0, "0.0"),
        (math.inf, "inf"),
        (123456789, "123456789"),
        (True, "True"),
        ("93.19526627218935", "93.19526627218935"),
    ],
)
def test_numbers_that_are_not_whole_have_six_significant_digits(value: Any, expected: str) -> None:
    (row,) = csv.DictReader(io.StringIO(render([{"value": value}], "csv")))
    assert row == {"value": expected}
    (row,) = json.loads(render([{"value": value}], "json"))
    assert row == {"value": type(value)(expected)}
    assert type(row["value"]) is type(value)


WIDE = [
    {
        "run": f"runs/a/very/long/path/{number}",
        "task": "words",
        "accuracy_percent": 50.0,
        "loss": 0.5,
        "note": "n",
    }
    for number in range(2)
]


def test_table_has_no_limit_where_there_is_no_terminal() -> None:
    assert render(WIDE) == render(WIDE, wide=True)
    assert len(render(WIDE).splitlines()[0]) > 60


@pytest.mark.parametrize("width", range(30, 90))
def test_table_fits_every_width_and_says_what_is_left_out(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    table, _, last = render(WIDE, least=["task"]).rpartition("\n")
    if not last.startswith("(left out"):
        table = f"{table}\n{last}"
    assert max(map(len, table.splitlines())) <= width
    left_out = [name for name in ("task", "accuracy percent", "loss", "note") if name in last]
    assert left_out == [
        name for name in ("task", "accuracy percent", "loss", "note") if name.split()[0] not in table
    ]
    assert all(str(number) in line for number, line in enumerate(table.splitlines()[-2:]))
    assert ("--wide shows all)" in last) == bool(left_out)


def test_narrow_table_shortens_texts_before_it_leaves_out_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "56")
    lines = render(WIDE, least=["task"]).splitlines()
    assert lines[-1].split() == ["runs/a/ve…ong/path/1", "words", "50", "0.5", "n"]
    assert lines[0].split() == ["run", "task", "accuracy", "loss", "note"]
    assert lines[1].split() == ["percent"]
    monkeypatch.setenv("COLUMNS", "45")
    assert render(WIDE, least=["task"]).splitlines()[-1] == (
        "(left out to fit the terminal: task, note; --wide shows all)"
    )
    assert render(WIDE, wide=True).splitlines()[0].split() == [
        "run",
        "task",
        *"accuracy percent loss note".split(),
    ]


def test_different_texts_stay_different_in_a_narrow_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    rows = [
        {"file": f"recordings of a long name/{n}/recording of a long name.wav", "label": "a"}
        for n in range(3)
    ]
    shown = [line.split("  ")[0] for line in render(rows).splitlines()[2:5]]
    assert len({*shown}) == 3


@pytest.mark.parametrize("format", ["json", "csv", "markdown", "latex"])
def test_only_tables_to_read_depend_on_the_terminal(format: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = render(WIDE, format)
    monkeypatch.setenv("COLUMNS", "30")
    assert render(WIDE, format) == whole


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
