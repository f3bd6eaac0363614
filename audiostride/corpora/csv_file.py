"""A user's own sound files, listed in a CSV file with labels of one or more tasks.

    path,label                            or  path,instrument,pitch,split,group
    recordings/a.wav,dog                      a.flac,flute,60,train,player 1

Paths are absolute or relative to the CSV file. Columns are separated by commas, semicolons or tabs.
"""

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from audiostride.corpora.base import (
    SOUND_SUFFIXES,
    Corpus,
    Dataset,
    Problem,
    Recording,
    files_without_row,
    printable,
    read_text,
)
from audiostride.corpora.user_data import (
    SPLIT_NAMES,
    group_notes,
    source_of_splits,
    split_notes,
    with_splits,
)
from audiostride.errors import UserError

# If the only column of labels has one of these names, the task is named after the file.
_GENERIC_NAMES = frozenset({"label", "labels", "class", "category", "target"})

_FileId = tuple[int, int] | str  # device and number of a file, or its path
_Rows = dict[int, dict[str, str]]  # by line number in the file


def read(
    file: Path,
    path: str = "path",
    labels: list[str] | str | None = None,
    split: str = "split",
    group: str = "group",
) -> Corpus:
    """Read a CSV file with one row per sound file.

    Args:
        file: The CSV file.
        path: Column with the paths of the sound files.
        labels: Column with the labels, or several columns as in [a, b], one task each. By default all columns
            except path, split and group.
        split: Column that says train, valid or test. If there is none, 80 % of the recordings are for
            training, 10 % for validation and 10 % for the test, with each group in one split.
        group: Column with the speaker, site or other source whose recordings must not be in different
            splits. If there is none, each recording is a group by itself.

    Raises:
        UserError: if the file is missing or is not such a CSV file, a column is missing, a task has fewer
            than two labels, or a split has another name.
    """
    if not file.is_file():
        raise UserError(f"there is no CSV file {file}: give one with the columns {path} and label")
    labels = [labels] if isinstance(labels, str) else labels
    rows = _read_rows(file, path)
    columns = list(next(iter(rows.values())))
    _check_columns(file, columns, "--path", [path])
    _check_columns(file, columns, "--labels", labels or [])
    _check_columns(file, columns, "--split", [split] if split != "split" else [])
    _check_columns(file, columns, "--group", [group] if group != "group" else [])
    label_columns = labels or [column for column in columns if column not in {path, split, group}]
    if not label_columns:
        raise UserError(f"{file} has no column of labels: it has {', '.join(columns)}")
    is_generic = len(label_columns) == 1 and label_columns[0].lower() in _GENERIC_NAMES
    task_of = {column: printable(file.stem) if is_generic else column for column in label_columns}
    recordings, problems = _recordings(file, rows, task_of, path, split, group)
    tasks = _tasks(file, recordings, list(task_of.values()))
    notes: tuple[str, ...] = ()
    if split not in columns:
        recordings = with_splits(recordings, next(iter(tasks)))
        notes = group_notes(recordings, f"add a column {group}, or name another one with --group")
    source = "given" if split in columns else source_of_splits(recordings)
    notes += split_notes(recordings, tasks)
    return Corpus(printable(file.stem), file.parent, source, tasks, recordings, notes, tuple(problems))


def _read_rows(file: Path, path: str) -> _Rows:
    text = read_text(file)
    rows: _Rows = {}
    try:
        # In strict mode a quote that is never closed is an error; else it swallows the rest of the file.
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=_delimiter(text, path), restval="", strict=True
        )
        _check_header(file, [name.strip() for name in reader.fieldnames or ()])
        for row in reader:
            if any(field.strip() for field in row.get(None, ())):
                raise UserError(
                    f"line {reader.line_num} of {file} has more fields than the header: put fields that hold "
                    "the separator in quotes"
                )
            stripped = {k.strip(): v.strip() for k, v in row.items() if k and k.strip()}
            if any(stripped.values()):
                rows[reader.line_num] = stripped
    except csv.Error as error:
        raise UserError(f"{file} is not a CSV file ({error}): save it as CSV") from error
    if not rows:
        raise UserError(f"{file} has no rows: write a header line, then one row per sound file")
    return rows


def _check_header(file: Path, columns: list[str]) -> None:
    repeated = [name for name, count in Counter(columns).items() if name and count > 1]
    if repeated:
        raise UserError(
            f"{file} has more than one column {', '.join(repeated)}: give each column a name of its own"
        )


def _delimiter(text: str, path: str) -> str:
    """Return the delimiter with which the header has a column `path`, or else the most columns."""

    def columns(delimiter: str) -> list[str]:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        return [column.strip() for column in header]

    return max(",;\t", key=lambda delimiter: (path in columns(delimiter), len(columns(delimiter))))


def _check_columns(file: Path, columns: list[str], option: str, required: list[str]) -> None:
    for column in required:
        if column not in columns:
            raise UserError(
                f"{file} has no column {column}, only {', '.join(columns)}: name the right one with {option}"
            )


def _recordings(
    file: Path, rows: _Rows, task_of: dict[str, str], path: str, split: str, group: str
) -> tuple[list[Recording], list[Problem]]:
    """Return the recordings, with an empty split if there is no such column, and the problems."""
    recordings: dict[_FileId, Recording] = {}
    names: set[str] = set()
    folders: set[Path] = set()
    problems = []
    for line, row in rows.items():
        name, file_id = _locate(file.parent, row[path])
        labels = {task: row[column] for column, task in task_of.items() if row[column]}
        if any(len(label.splitlines()) > 1 for label in labels.values()):
            raise UserError(
                f"the row that ends in line {line} of {file} has a label of several lines: close its quotes"
            )
        fault = ""
        if not row[path]:
            name, fault = file.name, "row without a path"
        elif file_id is None:
            fault = "row without its file"
        elif file_id in recordings:
            fault = "row of a file that another row names"
        elif not labels:
            fault = "row without a label"
        if fault or file_id is None:
            problems.append(Problem(name, fault, f"line {line}"))
        else:
            split_name = _split_name(file, line, row[split]) if split in row else ""
            recordings[file_id] = Recording(name, split_name, labels, row.get(group, ""))
        names.add(name)
        folders |= {Path(name).parent} if file_id else set()
    if not recordings:
        raise UserError(
            f"no row of {file} can be used, the first is a {problems[0].reason} ({problems[0].path}): give "
            f"every row a label and a path, absolute or relative to {file.parent}"
        )
    problems.extend(files_without_row(_sounds_in(file.parent, folders), names))
    return list(recordings.values()), problems


def _locate(folder: Path, written: str) -> tuple[str, _FileId | None]:
    """Return the path of a file with forward slashes, and what identifies the file, None if there is none.

    The path is relative if it is below `folder`. Backslashes count as slashes if that finds a file.
    """
    for text in (written, written.replace("\\", "/")):
        path = Path(text)
        with suppress(OSError, ValueError):  # not a valid file name
            if (folder / path).is_file():
                path = _below(folder, path)
                status = (folder / path).stat()
                # Some network disks do not number their files.
                return path.as_posix(), (status.st_dev, status.st_ino) if status.st_ino else path.as_posix()
    return _below(folder, path).as_posix(), None


def _below(folder: Path, path: Path) -> Path:
    """Return the path without "..", unless that leads elsewhere, and relative if it is below `folder`."""
    if ".." in path.parts:
        shorter = Path(os.path.normpath(path))
        with suppress(OSError, ValueError):
            path = shorter if (folder / shorter).samefile(folder / path) else path
    absolute_folder = folder.absolute()
    return path.relative_to(absolute_folder) if path.is_relative_to(absolute_folder) else path


def _sounds_in(folder: Path, parts: set[Path]) -> Iterator[str]:
    """Yield the sound files directly in some folders, which are absolute or relative to `folder`."""
    for part in sorted(parts):
        names = (path.name for path in (folder / part).iterdir())
        for name in sorted(names):
            if Path(name).suffix.lower() in SOUND_SUFFIXES and not name.startswith("."):
                yield (part / name).as_posix()


def _split_name(file: Path, line: int, word: str) -> str:
    if word.lower() not in SPLIT_NAMES:
        found = f"the split {word}" if word else "no split"
        raise UserError(f"line {line} of {file} has {found}: write train, valid or test")
    return SPLIT_NAMES[word.lower()]


def _tasks(file: Path, recordings: list[Recording], names: list[str]) -> dict[str, list[str]]:
    """Return the sorted labels of each task."""
    tasks = {}
    for task in names:
        tasks[task] = sorted({r.labels[task] for r in recordings if task in r.labels}, key=_number_then_word)
        if len(tasks[task]) < 2:
            found = f"only the label {tasks[task][0]}" if tasks[task] else "no label"
            raise UserError(
                f"{file} has {found} of {task}: give at least two, or name other columns with --labels"
            )
    return tasks


def _number_then_word(label: str) -> tuple[bool, float, str]:
    """Sort key: numbers by size, then words by the alphabet."""
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    return (False, number, label) if math.isfinite(number) else (True, 0.0, label)


DATASET = Dataset("a CSV file with paths and labels", read)
