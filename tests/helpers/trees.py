"""Trees of empty files, for readers that look at names only."""

from collections.abc import Iterable
from pathlib import Path


def touch(folder: Path, paths: Iterable[str]) -> Path:
    """Create empty files and their folders below `folder`, and return `folder`."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def write(path: Path, text: str) -> None:
    """Write a text file as it is, line ends included, and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def write_scenes(folder: Path, names: Iterable[str], evaluates: str) -> None:
    """Write the layout of urban scenes. Segments with `evaluates` in their name are in the test split."""
    meta, lists = ["filename\tscene_label\tidentifier\tsource_label"], {"train": [""], "evaluate": [""]}
    for name in names:
        scene, city, location = name.split("-")[:3]
        meta.append(f"audio/{name}.wav\t{scene}\t{city}-{location}\ta")
        lists["evaluate" if evaluates in name else "train"].append(f"audio/{name}.wav\t{scene}")
    touch(folder, [line.split("\t")[0] for line in meta[1:]])
    write(folder / "meta.csv", "\r\n".join(meta))
    for split, lines in lists.items():
        write(folder / f"evaluation_setup/fold1_{split}.txt", "\n".join(lines[1:]))
