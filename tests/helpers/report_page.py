"""Write reports quickly, and read their pages as a program that reads HTML."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest

from audiostride.report import examine
from audiostride.report.page import write_report
from audiostride.timing import one_thread

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """The content of an HTML page.

    Attributes:
        source: the HTML.
        tags: name and attributes of every element, in order.
        tables: rows of each table by its caption; a row is a list of texts.
        headings: (level, text) of every heading, in order.
        text: the whole text, with single spaces.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source, self.open, self.texts = source, [""], [""]
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.headings: list[tuple[int, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.cells: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == [""], "every element is closed"
        self.text = " ".join("".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        text = " ".join(self.texts.pop().split())
        self.texts[-1] += f" {text} " if tag not in ("span", "i", "code") else text
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), text))
        elif tag == "caption":
            self.caption = text
            self.rows = []
        elif tag == "tr":
            self.rows.append(self.cells)
            self.cells = []
        elif tag in ("th", "td"):
            self.cells.append(text)
        elif tag == "table":
            self.tables[self.caption] = self.rows

    def handle_data(self, data: str) -> None:
        if self.open[-1] != "style":
            self.texts[-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def table(self, beginning: str) -> list[dict[str, str]]:
        """Return the rows of the table whose caption has this beginning, as dicts by column heads."""
        (rows,) = (rows for caption, rows in self.tables.items() if caption.startswith(beginning))
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:] if len(row) == len(rows[0])]


@contextmanager
def quick_reports() -> Iterator[None]:
    """Use one thread, and pretend that every function takes 64 milliseconds."""
    with one_thread(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(examine, "in_turns", lambda functions, rounds: dict.fromkeys(functions, 64.0))
        yield


def write_page(runs: Sequence[Path], out: Path, **options: str) -> Page:
    """Write a report about runs and read it."""
    with quick_reports():
        write_report([str(run) for run in runs], out, **options)
    return Page(out.read_text(encoding="utf-8"))
