"""Sound files of one's own, listed in a CSV file with labels of one task or several.

    path,label                            or  path,instrument,pitch,split,group
    recordings/a.wav,dog                      a.flac,flute,60,train,player 1

Paths are absolute or relative to the CSV file; columns are separated by commas, semicolons or tabs.
"""

import csv
import io
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from audiostride.corpora.base import (
    SOUND_SUFFIXES,
    Corpus,
    Dataset,
    Problem,
    Recording,
    read_text,
    without_row,
)
from audiostride.corpora.user_data import SPLIT_WORDS, remarks, with_splits
from audiostride.errors import UserError

# A single column of labels with a name that says nothing lends the task the name of the file.
_NAMELESS = frozenset({"label", "labels", "class", "category", "target"})

_Rows = dict[int, dict[str, str]]  # by the line in the file


def read(
    file: Path,
    path: str = "path",
    labels: list[str] | str | None = None,
    split: str = "split",
    group: str = "group",
) -> Corpus:
    """Find the recordings of the rows, and their labels.

    Args:
        file: the CSV file.
        path: the column of the sound files.
        labels: the column of labels, or several as in [a, b], one task each. By default all columns but those
            of path, split and group.
        split: the column that says train, valid or test. Without it each group is put on a side by its hash.
        group: the column of what must not fall on two sides of a split, such as a speaker or a site. Without
            it each recording is its own.

    Raises:
        UserError: where the file is missing or no such table; for a column that is not there, a task with
            fewer than two labels, or a split that is none.
    """
    if not file.is_file():
        raise UserError(f"there is no CSV file {file}: give one with the columns {path} and label")
    labels = [labels] if isinstance(labels, str) else labels
    rows = _read_rows(file, path)
    columns = list(next(iter(rows.values())))
    optional = [name for name, usual in ((split, "split"), (group, "group")) if name != usual]
    _check_columns(file, columns, [path, *(labels or ()), *optional])
    wanted = labels or [column for column in columns if column not in {path, split, group}]
    if not wanted:
        raise UserError(f"{file} has no column of labels: it has {', '.join(columns)}")
    task_of = {c: file.stem if len(wanted) == 1 and c.lower() in _NAMELESS else c for c in wanted}
    recordings, problems = _recordings(file, rows, task_of, path, split, group)
    tasks = _tasks(file, recordings, list(task_of.values()))
    if split not in columns:
        recordings = with_splits(recordings, next(iter(tasks)))
    source = "given" if split in columns else "by group"
    return Corpus(
        file.stem, file.parent, source, tasks, recordings, remarks(recordings, tasks), tuple(problems)
    )


def _read_rows(file: Path, path: str) -> _Rows:
    text = read_text(file)
    rows: _Rows = {}
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text, path), restval="")
        for row in reader:
            stripped = {k.strip(): v.strip() for k, v in row.items() if k and k.strip()}
            if any(stripped.values()):
                rows[reader.line_num] = stripped
    except csv.Error as error:
        raise UserError(f"{file} is no CSV file ({error}): save it as CSV") from error
    if not rows:
        raise UserError(f"{file} has no rows: give one header line, then one row per sound file")
    return rows


def _delimiter(text: str, path: str) -> str:
    """The one that makes a column `path` of the header, or the most columns."""

    def columns(delimiter: str) -> list[str]:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        return [column.strip() for column in header]

    return max(",;\t", key=lambda delimiter: (path in columns(delimiter), len(columns(delimiter))))


def _check_columns(file: Path, columns: list[str], wanted: list[str]) -> None:
    for column in wanted:
        if column not in columns:
            raise UserError(
                f"{file} has no column {column}: it has {', '.join(columns)}; name it with an option"
            )


def _recordings(
    file: Path, rows: _Rows, task_of: dict[str, str], path: str, split: str, group: str
) -> tuple[list[Recording], list[Problem]]:
    """The recordings, their split empty where the table has none, and what is wrong with rows and files."""
    recordings: dict[str, Recording] = {}
    named: set[str] = set()
    folders: set[Path] = set()
    problems = []
    for line, row in rows.items():
        name, there = _locate(file.parent, row[path])
        labels = {task: row[column] for column, task in task_of.items() if row[column]}
        fault = ""
        if not row[path]:
            name, fault = file.name, "row without a path"
        elif name in recordings:
            fault = "row of a file that another row names"
        elif not there:
            fault = "row without its file"
        elif not labels:
            fault = "row without a label"
        if fault:
            problems.append(Problem(name, fault, f"line {line}"))
        else:
            side = _split(file, line, row[split]) if split in row else ""
            recordings[name] = Recording(name, side, labels, row.get(group, ""))
        named.add(name)
        folders |= {Path(name).parent} if there else set()
    if not recordings:
        raise UserError(
            f"no row of {file} can be used, the first is a {problems[0].reason} ({problems[0].path}): give "
            f"every row a label and a path, absolute or relative to {file.parent}"
        )
    problems.extend(without_row(_sounds_in(file.parent, folders), named))
    return list(recordings.values()), problems


def _locate(folder: Path, written: str) -> tuple[str, bool]:
    """A path with forward slashes, relative if it lies below `folder`, and whether there is such a file."""
    for text in (written, written.replace("\\", "/")):
        path, whole = Path(text), folder.absolute()
        path = path.relative_to(whole) if path.is_relative_to(whole) else path
        with suppress(OSError, ValueError):  # of what can be no file's name
            if (folder / path).is_file():
                return path.as_posix(), True
    return path.as_posix(), False


def _sounds_in(folder: Path, parts: set[Path]) -> Iterator[str]:
    """The sound files right in some folders, which are absolute or relative to `folder`."""
    for part in sorted(parts):
        names = (path.name for path in (folder / part).iterdir())
        for name in sorted(names):
            if Path(name).suffix.lower() in SOUND_SUFFIXES and not name.startswith("."):
                yield (part / name).as_posix()


def _split(file: Path, line: int, word: str) -> str:
    if word.lower() not in SPLIT_WORDS:
        raise UserError(
            f"line {line} of {file} has the split {word or 'nothing'}: write train, valid or test"
        )
    return SPLIT_WORDS[word.lower()]


def _tasks(file: Path, recordings: list[Recording], names: list[str]) -> dict[str, list[str]]:
    """From each task to its labels in order."""
    tasks = {}
    for task in names:
        tasks[task] = sorted({r.labels[task] for r in recordings if task in r.labels}, key=_natural)
        if len(tasks[task]) < 2:
            found = f"only the label {tasks[task][0]}" if tasks[task] else "no label"
            raise UserError(
                f"{file} has {found} of {task}: give two at least, or name other columns with --labels"
            )
    return tasks


def _natural(label: str) -> tuple[bool, float, str]:
    """Numbers by their size, then words by the alphabet."""
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    return (False, number, label) if math.isfinite(number) else (True, 0.0, label)


DATASET = Dataset("a CSV file with paths and labels", read)
