"""Rows of results as a table to read, JSON or CSV."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, Literal

Format = Literal["table", "json", "csv"]


def render(rows: Sequence[dict[str, Any]], format: Format = "table") -> str:
    """Rows with the same keys as text, without a final line break.

    In a table numbers have four significant digits and a missing value is a dash; JSON (null) and CSV (an
    empty field) keep all digits.
    """
    if format == "json":
        return json.dumps(list(rows), indent=2, ensure_ascii=False)
    if format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().rstrip("\n")
    return _table(rows)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    names = list(rows[0])
    cells = [[name.replace("_", " ") for name in names], *([_cell(row[n]) for n in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    to_the_right = [not isinstance(rows[0][name], str) for name in names]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, to_the_right, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
