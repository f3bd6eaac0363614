"""Sound files of one's own, listed in a CSV file with labels of one task or several.

    path,label                            or  path,instrument,pitch,split,group
    recordings/a.wav,dog                      a.flac,flute,60,train,player 1

Paths are absolute or relative to the CSV file; columns are separated by commas, semicolons or tabs.
"""

import csv
from pathlib import Path

from audiostride.corpora.base import Corpus, Dataset, Problem, Recording, read_text, sound_files, without_row
from audiostride.corpora.own import SPLIT_WORDS, remarks, with_splits
from audiostride.errors import UserError

# A single column of labels with a name that says nothing lends the task the name of the file.
_NAMELESS = frozenset({"label", "labels", "class", "category", "target"})


def read(
    file: Path,
    path: str = "path",
    labels: list[str] | None = None,
    split: str = "split",
    group: str = "group",
) -> Corpus:
    """Find the recordings of the rows, and their labels.

    Args:
        file: the CSV file.
        path: the column of the sound files.
        labels: the columns of labels, one task each. By default all but those of path, split and group.
        split: the column that says train, valid or test. Without it each group is put on a side by its hash.
        group: the column of what must not fall on two sides of a split, such as a speaker or a site. Without
            it each recording is its own.

    Raises:
        UserError: where the file is missing or no such table; for a column that is not there, a task with
            fewer than two labels, or a split that is none.
    """
    if not file.is_file():
        raise UserError(f"there is no CSV file {file}: give one with the columns {path} and label")
    table = _read_rows(file)
    columns = _label_columns(file, list(table[0]), path, labels, {split, group})
    task_of = {c: file.stem if len(columns) == 1 and c.lower() in _NAMELESS else c for c in columns}
    recordings: dict[str, Recording] = {}
    problems = []
    for number, row in enumerate(table, 2):
        name = _relative(file.parent, row[path])
        marked = {task: row[column] for column, task in task_of.items() if row[column]}
        if name in recordings:
            problems.append(Problem(name, "row of a file that another row names", f"row {number}"))
        elif not (file.parent / name).is_file():
            problems.append(Problem(name, "row without its file", f"row {number}"))
        elif not marked:
            problems.append(Problem(name, "row without a label", f"row {number}"))
        else:
            side = _split(file, number, row[split]) if split in row else ""
            recordings[name] = Recording(name, side, marked, row.get(group, ""))
    found = list(recordings.values())
    if not found:
        raise UserError(f"no row of {file} has its sound file: write paths relative to {file.parent}")
    tasks = {
        task: sorted({r.labels[task] for r in found if task in r.labels}, key=_natural)
        for task in task_of.values()
    }
    for task, known in tasks.items():
        if len(known) < 2:
            raise UserError(f"{file} has fewer than two labels of {task}: leave the column out with --labels")
    if split not in table[0]:
        found = with_splits(found, next(iter(tasks)))
    named = {_relative(file.parent, row[path]) for row in table}
    problems.extend(without_row(_neighbours(file.parent, named), named))
    source = "given" if split in table[0] else "by group"
    return Corpus(file.stem, file.parent, source, tasks, found, remarks(found, tasks), tuple(problems))


def _read_rows(file: Path) -> list[dict[str, str]]:
    text = read_text(file)
    lines = text.splitlines()
    header = lines[0] if lines else ""
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter, restval="")
    try:
        rows = [{str(k).strip(): str(v).strip() for k, v in row.items() if k is not None} for row in reader]
    except csv.Error as error:
        raise UserError(f"{file} is no CSV file ({error}): save it as CSV") from error
    if not rows:
        raise UserError(f"{file} has no rows: give one header line, then one row per sound file")
    return rows


def _label_columns(
    file: Path, columns: list[str], path: str, labels: list[str] | None, others: set[str]
) -> list[str]:
    for column in [path, *(labels or ())]:
        if column not in columns:
            raise UserError(
                f"{file} has no column {column}: it has {', '.join(columns)}; name it with an option"
            )
    wanted = labels or [column for column in columns if column not in {path, *others}]
    if not wanted:
        raise UserError(f"{file} has no column of labels: it has {', '.join(columns)}")
    return wanted


def _relative(folder: Path, path: str) -> str:
    """With forward slashes, also where it was written on Windows."""
    return Path(path if (folder / path).exists() else path.replace("\\", "/")).as_posix()


def _split(file: Path, number: int, word: str) -> str:
    if word.lower() not in SPLIT_WORDS:
        raise UserError(
            f"row {number} of {file} has the split {word or 'nothing'}: write train, valid or test"
        )
    return SPLIT_WORDS[word.lower()]


def _natural(label: str) -> tuple[bool, float, str]:
    """Numbers by their size, then words by the alphabet."""
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def _neighbours(folder: Path, named: set[str]) -> list[str]:
    """The sound files in the folders of those that are named."""
    tops = {name.split("/")[0] for name in named if "/" in name and not name.startswith("/")}
    inside = [f"{top}/{path}" for top in sorted(tops) for path in sound_files(folder / top)]
    flat = any("/" not in name for name in named)
    return inside + ([path for path in sound_files(folder) if "/" not in path] if flat else [])


DATASET = Dataset("a CSV file with paths and labels", read)
