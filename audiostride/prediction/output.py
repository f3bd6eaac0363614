"""Rows of predictions as text: tables, JSON, CSV, and label tracks for Audacity."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.prediction.labels import Row
from audiostride.prediction.options import PredictFormat
from audiostride.tables import csv_cell, render

# After one of these, what has been found so far is shown or kept.
_KEEP_AFTER = (KeyboardInterrupt, UserError)


def as_lines(rows: Iterable[Row], format: PredictFormat, wide: bool = False) -> Iterator[str]:
    """Return rows as text: JSON lines, CSV and label tracks as they come, tables and JSON at the end.

    Times keep all their digits, unlike those of `tables.render` in JSON and CSV: with six digits, windows of
    a recording of hours would share their times. If `rows` is interrupted or ends with a `UserError`, a table
    or JSON shows the rows before that.

    Args:
        rows: the rows; all have the keys of the first one.
        format: format of the result.
        wide: show all columns of a table, however wide the terminal is.
    """
    # In JSON, this escape of a byte of a name that is not UTF-8 gives the name back.
    return (line.encode("utf-8", "backslashreplace").decode() for line in _lines(rows, format, wide))


def _lines(rows: Iterable[Row], format: PredictFormat, wide: bool) -> Iterator[str]:
    if format == "jsonl":
        yield from (json.dumps(row, ensure_ascii=False) for row in rows)
    elif format == "csv":
        for number, row in enumerate(rows):
            if number == 0:
                yield _csv_line(row)
            yield _csv_line(row.values())
    elif format == "audacity":
        yield from map(_track_line, label_track(rows))
    else:
        yield from _at_the_end(rows, format, wide)


def _csv_line(values: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(map(csv_cell, values))
    return line.getvalue()


def _at_the_end(rows: Iterable[Row], format: PredictFormat, wide: bool) -> Iterator[str]:
    found: list[Row] = []
    error: BaseException | None = None
    try:
        found.extend(rows)
    except _KEEP_AFTER as reason:
        error = reason
    if format == "json":
        yield json.dumps(found, indent=2, ensure_ascii=False)
    elif found:
        yield render([_with_short_times(row) for row in found], wide=wide)
    if error is not None:
        raise error


def _with_short_times(row: Row) -> Row:
    """Return a row of a table for people, in which times have two digits after the point."""
    times = {name: Decimal(f"{row[name]:.2f}") for name in ("begin_s", "end_s") if name in row}
    return row | times


def write_lines(lines: Iterable[str], file: Path) -> None:
    """Write lines to a file. If they are interrupted or end with a `UserError`, those before it are kept.

    Args:
        lines: the lines.
        file: the file to write or replace. Its folder is created if it is missing.
    """
    error: BaseException | None = None
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        replace_when_complete(file) as new,
        new.open("w", encoding="utf-8", newline="") as content,
    ):
        try:
            content.writelines(f"{line}\n" for line in lines)
        except _KEEP_AFTER as reason:
            error = reason
    if error is not None:
        raise error


class Segment(NamedTuple):
    """A stretch of a recording with one label.

    Attributes:
        begin_s: begin in seconds.
        end_s: end in seconds.
        label: the label.
    """

    begin_s: float
    end_s: float
    label: str


def label_track(rows: Iterable[Row]) -> Iterator[Segment]:
    """Join neighbouring windows with the same label.

    The segments do not overlap: where windows do, a segment ends in the middle of the overlap.

    Args:
        rows: the windows of one recording for one task, with `begin_s`, `end_s` and `label`.
    """
    current: Segment | None = None
    for row in rows:
        if current is None:
            current = Segment(row["begin_s"], row["end_s"], row["label"])
        elif row["label"] == current.label:
            current = current._replace(end_s=row["end_s"])
        else:
            boundary = (current.end_s + row["begin_s"]) / 2
            yield current._replace(end_s=boundary)
            current = Segment(boundary, row["end_s"], row["label"])
    if current is not None:
        yield current


def _track_line(segment: Segment) -> str:
    """Return a line of a label track: begin, end and label with tabs between them."""
    return f"{segment.begin_s:.6f}\t{segment.end_s:.6f}\t{' '.join(segment.label.split())}"


def write_tracks(rows: Iterable[Row], folder: Path, files: Sequence[Path], several_tasks: bool) -> None:
    """Write a label track per file and task, each as soon as the file is labelled.

    A track has the name of its sound file, with the task if there are several, and ".txt": a.wav.txt or
    a.wav.TASK.txt. Sub-folders are those of the sound files below the folder that holds them all.

    Args:
        rows: rows of windows, one file after another.
        folder: the folder to write to. It is created if it is missing.
        files: the sound files.
        several_tasks: whether there are several tasks.
    """
    above = os.path.commonpath([file.absolute().parent for file in files])
    for name, rows_of_file in groupby(rows, itemgetter("file")):
        track = folder / os.path.relpath(Path(name).absolute(), above)
        track.parent.mkdir(parents=True, exist_ok=True)
        rows_of_task: dict[str, list[Row]] = {}
        for row in rows_of_file:
            rows_of_task.setdefault(row["task"], []).append(row)
        for task, windows in rows_of_task.items():
            # Some characters that a task's name may have are not allowed in names of files.
            suffix = f".{quote(task, safe=' ')}.txt" if several_tasks else ".txt"
            write_lines(map(_track_line, label_track(windows)), track.with_name(track.name + suffix))
