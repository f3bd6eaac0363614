"""Rows of results as a table to read or to print, as JSON or CSV."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from statistics import mean, stdev
from typing import Any, Literal, NamedTuple

Format = Literal["table", "json", "csv", "markdown", "latex"]


class Spread(NamedTuple):
    """Mean of several runs, and their standard deviation (over n − 1; None of a single run)."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        known = list(values)
        return cls(mean(known), stdev(known) if len(known) > 1 else None)


def render(rows: Sequence[dict[str, Any]], format: Format = "table") -> str:
    """Rows with the same keys as text, without a final line break.

    For people ("table", "markdown", and "latex" with the package booktabs) numbers have four significant
    digits, a `Spread` is its mean ± its deviation, and a missing value is a dash. JSON (null) and CSV (an
    empty field) keep all digits; there a `Spread` takes two columns, NAME and NAME_deviation.
    """
    if format == "json":
        return json.dumps([_apart(row) for row in rows], indent=2, ensure_ascii=False)
    if format == "csv":
        text = io.StringIO()
        spread = [_apart(row, _spreads(rows)) for row in rows]
        writer = csv.DictWriter(text, fieldnames=list(spread[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(spread)
        return text.getvalue().rstrip("\n")
    return {"table": _table, "markdown": _markdown, "latex": _latex}[format](rows)


def _spreads(rows: Sequence[dict[str, Any]]) -> set[str]:
    return {name for row in rows for name, value in row.items() if isinstance(value, Spread)}


def _apart(row: dict[str, Any], spreads: Iterable[str] = ()) -> dict[str, Any]:
    """Mean and deviation side by side; also of a value that is missing, where other rows have a spread."""
    result: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Spread) or name in spreads:
            result[name], result[f"{name}_deviation"] = value if value is not None else (None, None)
        else:
            result[name] = value
    return result


def _cells(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    names = list(rows[0])
    return [[name.replace("_", " ") for name in names], *([cell(row[n]) for n in names] for row in rows)]


def _to_the_right(rows: Sequence[dict[str, Any]]) -> list[bool]:
    return [not any(isinstance(row[name], str) for row in rows) for name in rows[0]]


def _table(rows: Sequence[dict[str, Any]]) -> str:
    cells = _cells(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, _to_the_right(rows), strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    head, *body = ([text.replace("|", "\\|") for text in line] for line in _cells(rows))
    rule = ["---:" if right else "---" for right in _to_the_right(rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))


def _latex(rows: Sequence[dict[str, Any]]) -> str:
    head, *body = (" & ".join(map(_escaped, line)) + r" \\" for line in _cells(rows))
    columns = "".join("r" if right else "l" for right in _to_the_right(rows))
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", end])


_LATEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "–": "--"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def _escaped(text: str) -> str:
    return re.sub(r"[\\±−×–~^&%$#_{}]", lambda match: _LATEX.get(match[0], f"\\{match[0]}"), text)


def cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, Spread):
        return cell(value.mean) + (f" ± {value.deviation:.2g}" if value.deviation is not None else "")
    return f"{value:.4g}" if isinstance(value, float) else str(value)
