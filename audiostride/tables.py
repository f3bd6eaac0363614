"""Rows of results as a table to read or to print, as JSON or CSV.

JSON and CSV have the digits that mean something: a number that is not whole is rounded to six significant
digits. Digits before the decimal point, whole numbers and text are never changed.
"""

import csv
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import mean, stdev
from typing import Any, Literal, NamedTuple

Format = Literal["table", "json", "csv", "markdown", "latex"]

_TABULATE_FORMATS = {"table": "simple", "markdown": "pipe", "latex": "latex_booktabs"}
# Not every LaTeX engine has these characters in its text font.
_LATEX_SYMBOLS = str.maketrans({"±": r"$\pm$", "×": r"$\times$", "−": "$-$", "–": "--"})
_DIGITS = 6  # significant digits in JSON and CSV
# Longest texts in a table that does not fit the terminal, in characters: the longest that fits is taken.
_TEXT_LENGTHS = (60, 48, 36, 28, 20)


class Spread(NamedTuple):
    """Mean and standard deviation of one number over several runs.

    Attributes:
        mean: the arithmetic mean.
        deviation: sample standard deviation (over n − 1), or None for a single run.
    """

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return mean and deviation of at least one value."""
        values = list(values)
        return cls(mean(values), stdev(values) if len(values) > 1 else None)


class Interval(NamedTuple):
    """A number with its 95 % confidence interval.

    Attributes:
        value: the number.
        low: lower limit.
        high: upper limit.
    """

    value: float
    low: float
    high: float

    def percent(self) -> "Interval":
        """Return the interval of a fraction in percent."""
        return Interval(*(100 * value for value in self))


def render(
    rows: Sequence[dict[str, Any]], format: Format = "table", wide: bool = False, least: Sequence[str] = ()
) -> str:
    """Return rows with the same keys as text, without a final line break.

    In tables for people ("table", "markdown", and "latex" with the package booktabs) numbers have four
    significant digits, a `Spread` is shown as mean ± deviation, an `Interval` as value (low to high), and a
    missing value as a dash. In JSON and CSV numbers are `rounded`; there a `Spread` takes two fields, NAME
    and NAME_deviation, an `Interval` takes NAME, NAME_low and NAME_high, and a missing value is null or an
    empty field.

    The format "table" fits the terminal: words of column heads go below each other, long texts are shortened
    in the middle, and if that is not enough, columns are left out, which the last line lists.

    Args:
        rows: the rows; all have the keys of the first one.
        format: format of the result.
        wide: show whole columns and texts, however wide the terminal is.
        least: names of the columns to leave out first, the least important one first. After them, columns are
            left out from the right, up to the first one.
    """
    if format == "json":
        return json.dumps([rounded(_flat(row)) for row in rows], indent=2, ensure_ascii=False)
    if format == "csv":
        return _csv(rows)
    names = list(rows[0])
    table = _Table(
        [_escaped(name.replace("_", " "), format) for name in names],
        [[_escaped(cell(row[name]), format) for name in names] for row in rows],
        [any(isinstance(row[name], str) for row in rows) for name in names],
    )
    width = terminal_width() if format == "table" and not wide else None
    if width is not None and table.width > width:
        return _fitted(names, table, width, least)
    text = table.text(_TABULATE_FORMATS[format])
    return text.translate(_LATEX_SYMBOLS) if format == "latex" else text


def titled(title: str, text: str, format: Format) -> str:
    """Return a table with its title above it; in CSV, where a title has no place, without."""
    head = {"table": "{}\n\n", "markdown": "**{}**\n\n", "latex": "% {}\n"}.get(format, "")
    return head.format(title) + text


def terminal_width() -> int | None:
    """Return the number of columns of the terminal, or None if the output has no limit.

    There is no limit if standard output is no terminal, unless the environment variable COLUMNS gives one.
    """
    if os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None


class _Table(NamedTuple):
    """The texts of a table.

    Attributes:
        heads: the head of each column.
        cells: (rows, columns), the other texts.
        is_text: whether each column holds text, which is aligned to the left, and may be shortened.
    """

    heads: list[str]
    cells: list[list[str]]
    is_text: list[bool]

    def text(self, format: str = "simple") -> str:
        from tabulate import tabulate  # `audiostride --help` does without its 0.05 s

        return tabulate(
            self.cells,
            headers=self.heads,
            tablefmt=format,
            disable_numparse=True,
            colalign=["left" if text else "right" for text in self.is_text],
        )

    @property
    def width(self) -> int:
        """Number of characters of the widest line, which is that of a row of the longest texts."""
        longest = [max(column, key=len) for column in zip(*self.cells, strict=True)]
        return max(map(len, self._replace(cells=[longest]).text().splitlines()))

    def columns(self, chosen: Sequence[int]) -> "_Table":
        """Return the table with some of its columns."""
        cells = [[row[number] for number in chosen] for row in self.cells]
        return _Table([self.heads[n] for n in chosen], cells, [self.is_text[n] for n in chosen])

    def shortened(self, length: int) -> "_Table":
        """Return the table with texts of at most `length` characters, where they stay different."""
        columns = [
            _shorten(column, length) if is_text else column
            for column, is_text in zip(zip(*self.cells, strict=True), self.is_text, strict=True)
        ]
        return self._replace(cells=[list(row) for row in zip(*columns, strict=True)])


def _fitted(names: Sequence[str], table: _Table, width: int, least: Sequence[str]) -> str:
    """Return a table that is at most `width` characters wide, if its first column allows it."""
    table = table._replace(heads=[head.replace(" ", "\n") for head in table.heads])
    longest = max(len(text) for row in table.cells for text in row)
    for kept in _fewer_and_fewer(names, least):
        for length in (longest, *_TEXT_LENGTHS):
            fitted = table.columns(kept).shortened(length)
            if fitted.width <= width:
                return fitted.text() + _left_out(names, kept)
    return fitted.text() + _left_out(names, kept)


def _fewer_and_fewer(names: Sequence[str], least: Sequence[str]) -> Iterator[list[int]]:
    """Yield all columns, then one fewer each time, until one is left. Columns are given by their numbers."""
    kept = list(range(len(names)))
    first_out = [names.index(name) for name in least if name in names]
    for leaving in [*dict.fromkeys([*first_out, *reversed(kept)])]:
        yield kept
        kept = [number for number in kept if number != leaving]


def _left_out(names: Sequence[str], kept: Sequence[int]) -> str:
    left_out = [name.replace("_", " ") for number, name in enumerate(names) if number not in kept]
    return f"\n(left out to fit the terminal: {', '.join(left_out)}; --wide shows all)" if left_out else ""


def _shorten(texts: Sequence[str], length: int) -> Sequence[str]:
    """Shorten texts in the middle, unless different ones would become the same."""
    half = (length - 1) // 2
    short = [text if len(text) <= length else f"{text[:half]}…{text[half + 1 - length :]}" for text in texts]
    return short if len({*short}) == len({*texts}) else texts


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of JSON or CSV with numbers that are not whole rounded to six significant digits."""
    return {name: _round(value) if isinstance(value, float) else value for name, value in row.items()}


def _round(value: float) -> float:
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, max(0, _DIGITS - 1 - math.floor(math.log10(abs(value)))))


def cell(value: Any) -> str:
    """Return a value as people read it: four significant digits, mean ± deviation, a dash for None.

    The limits of an `Interval` stand in brackets, for example "3.1 (0.4 to 5.8)".
    """
    if value is None:
        return "–"
    if isinstance(value, Spread):
        return cell(value.mean) + (f" ± {value.deviation:.2g}" if value.deviation is not None else "")
    if isinstance(value, Interval):
        return f"{value.value:.1f} ({value.low:.1f} to {value.high:.1f})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _escaped(text: str, format: Format) -> str:
    """Escape column separators for Markdown, which tabulate does not. For LaTeX it escapes all characters."""
    return text.replace("|", "\\|") if format == "markdown" else text


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    kinds = {
        name: type(value)
        for row in rows
        for name, value in row.items()
        if isinstance(value, Spread | Interval)
    }
    flat = [rounded(_flat(row, kinds)) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in flat)
    return text.getvalue().rstrip("\n")


def csv_cell(value: Any) -> Any:
    """Return a value as a cell of a CSV file, with an apostrophe before text that a spreadsheet would run.

    Text that begins with =, +, -, @, a tab or a line break is a formula to a spreadsheet. Numbers stay.
    """
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return f"'{value}" if formula else value


def _flat(row: dict[str, Any], kinds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a row with each part of a `Spread` or an `Interval` as a field.

    Args:
        row: the values by name.
        kinds: from names of fields that hold a `Spread` or an `Interval` in other rows to their types. Here
            they take as many fields, even if their value is missing.
    """
    result: dict[str, Any] = {}
    for name, value in row.items():
        kind = type(value) if isinstance(value, Spread | Interval) else (kinds or {}).get(name)
        if kind is None:
            result[name] = value
            continue
        names = [name, *(f"{name}_{part}" for part in kind._fields[1:])]
        parts = value if value is not None else (None,) * len(names)
        result |= zip(names, parts, strict=True)
    return result
