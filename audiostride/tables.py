"""Rows of results as a table to read or to print, as JSON or CSV."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any, Literal, NamedTuple

Format = Literal["table", "json", "csv", "markdown", "latex"]

_TABULATE_FORMATS = {"table": "simple", "markdown": "pipe", "latex": "latex_booktabs"}
# Not every LaTeX engine has these characters in its text font.
_LATEX_SYMBOLS = str.maketrans({"±": r"$\pm$", "×": r"$\times$", "−": "$-$", "–": "--"})


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


def render(rows: Sequence[dict[str, Any]], format: Format = "table") -> str:
    """Return rows with the same keys as text, without a final line break.

    In tables for people ("table", "markdown", and "latex" with the package booktabs) numbers have four
    significant digits, a `Spread` is shown as mean ± deviation, an `Interval` as value (low to high), and a
    missing value as a dash. JSON and CSV keep all digits; there a `Spread` takes two fields, NAME and
    NAME_deviation, an `Interval` takes NAME, NAME_low and NAME_high, and a missing value is null or an empty
    field.
    """
    if format == "json":
        return json.dumps([_flat(row) for row in rows], indent=2, ensure_ascii=False)
    if format == "csv":
        return _csv(rows)
    from tabulate import tabulate  # `audiostride --help` does without its 0.05 s

    names = list(rows[0])
    text = tabulate(
        [[_escaped(cell(row[name]), format) for name in names] for row in rows],
        headers=[_escaped(name.replace("_", " "), format) for name in names],
        tablefmt=_TABULATE_FORMATS[format],
        disable_numparse=True,
        colalign=["left" if any(isinstance(row[name], str) for row in rows) else "right" for name in names],
    )
    return text.translate(_LATEX_SYMBOLS) if format == "latex" else text


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
    flat = [_flat(row, kinds) for row in rows]
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
