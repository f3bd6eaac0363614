"""Damaged CSV files: a clear error, or exactly the recordings that the rows name."""

import csv
import io
from pathlib import Path

import numpy as np
from helpers.soak import Attack
from helpers.trees import touch

from audiostride.corpora import csv_file
from audiostride.corpora.base import Corpus
from audiostride.errors import UserError

FILES = 24
COLUMNS = ["path", "pet", "split", "group"]
ROWS = [
    [f"{n:02}.wav", ("dog", "cat", "cow")[n % 3], ("train", "valid", "test")[n // 8], f"who {n // 2}"]
    for n in range(FILES)
]
MUTATIONS = (
    "bit",
    "quote",
    "nul",
    "encoding",
    "huge field",
    "repeated column",
    "missing column",
    "order of columns",
    "byte order mark",
    "line ends",
    "separator",
    "repeated row",
    "cut",
    "swap",
    "extra field",
)


def as_text(rows: list[list[str]], delimiter: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue()


def mutate(kind: str, rng: np.random.Generator) -> bytes:
    rows = [COLUMNS, *([*row] for row in ROWS)]
    number, column = int(rng.integers(1, len(rows))), int(rng.integers(len(COLUMNS)))
    if kind == "huge field":
        rows[number][column] = "x" * int(rng.integers(1000, 200_000))
    elif kind == "repeated column":
        rows = [[*row, row[column]] for row in rows]
    elif kind == "missing column":
        rows = [row[:column] + row[column + 1 :] for row in rows]
    elif kind == "order of columns":
        rows = [[row[i] for i in (3, 1, 0, 2)] for row in rows]
    elif kind == "repeated row":
        rows.insert(int(rng.integers(1, len(rows))), [*rows[number][:1], "cow", "test", ""])
    elif kind == "swap":
        rows[number], rows[-1] = rows[-1], rows[number]
    elif kind == "extra field":
        rows[number] = [*rows[number], "more"]
    text = as_text(rows, str(rng.choice([",", ";", "\t", "|", " "])) if kind == "separator" else ",")
    if kind == "line ends":
        text = "".join(line + str(rng.choice(["\n", "\r\n", "\r"])) for line in text.splitlines())
    encoding = str(rng.choice(["utf-16", "utf-32", "cp500"])) if kind == "encoding" else "utf-8"
    content = bytearray(text.encode(encoding))
    position = int(rng.integers(len(content)))
    if kind == "bit":
        content[position] ^= 1 << int(rng.integers(8))
    elif kind in ("quote", "nul"):
        content[position:position] = b'"' if kind == "quote" else b"\0"
    elif kind == "byte order mark":
        content[:0] = b"\xef\xbb\xbf"
    elif kind == "cut":
        del content[position:]
    return bytes(content)


def differences(corpus: Corpus) -> int:
    """Return how many of the original rows became no recording, or another one."""
    found = {(r.path, r.labels.get("pet"), r.split, r.group) for r in corpus.recordings}
    return sum(tuple(row) not in found for row in ROWS)


def test_damaged_csv_files_make_no_wrong_corpus(attack: Attack, tmp_path: Path) -> None:
    touch(tmp_path, [row[0] for row in ROWS])
    for seed in attack.seeds(short=60, full=300):
        rng = np.random.default_rng(seed)
        mutation = MUTATIONS[seed % len(MUTATIONS)]
        content = mutate(mutation, rng)
        (tmp_path / "pets.csv").write_bytes(content)
        with attack.trial(seed, mutation):
            try:
                corpus = csv_file.read(tmp_path / "pets.csv")
            except UserError:
                attack.count("clear error")
                continue
            paths = [recording.path for recording in corpus.recordings]
            assert len(set(paths)) == len(paths)
            changed = differences(corpus)
            if changed == 0:
                attack.count("unharmed")
            elif mutation in ("missing column", "cut"):
                attack.count("the rows that are left")
            else:
                # Every row that is no recording is listed. A changed bit or an inserted NUL changes one row,
                # or the column that the header names.
                unused = [problem for problem in corpus.problems if problem.detail]
                assert len(corpus.recordings) + len(unused) >= FILES
                assert changed <= 2 or content.split(b"\n")[0] != b"path,pet,split,group"
                attack.count("one field changed")
