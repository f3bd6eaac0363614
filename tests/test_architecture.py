"""No room imports one that stands above it (docs/architecture.md)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "audiostride"

# From the ground up: a room may import rooms of the rows before its own.
FLOORS = (
    ("allocator", "errors", "files", "log", "machine", "mel_scale", "sound_containers", "tables", "timing"),
    ("layers", "config", "corpora", "audio_file"),
    ("frontends", "prediction"),
    ("models", "data"),
    ("prepare", "analysis", "images"),
    ("training",),
    ("export",),
    ("report", "studies", "bench", "demo"),
    ("parsers",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def imports() -> Iterator[tuple[Path, str, str]]:
    """Yield every import of one module of the package by another: the file, and both rooms."""
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "audiostride":
                path = (node.module or "").split(".")[1:]
                for target in path[:1] or [alias.name for alias in node.names]:
                    if target != room and target != "__version__":
                        yield file, room, target


def test_no_import_runs_upwards() -> None:
    upwards = [
        f"{file.relative_to(PACKAGE)} imports {target}"
        for file, room, target in imports()
        if room != "__init__" and FLOOR_OF[target] >= FLOOR_OF[room]
    ]
    assert not upwards


def test_layers_can_be_lifted_into_another_project() -> None:
    """They import torch and each other."""
    outside = [target for _, room, target in imports() if room == "layers"]
    assert not outside
    for file in (PACKAGE / "layers").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.split(".")[0] for name in names}
            assert roots <= {"torch", "audiostride", *sys.stdlib_module_names}, file


@pytest.mark.parametrize(
    "room", ["config.recipe", "corpora", "data.rates", "images.layout", "studies.study_file", "cli"]
)
def test_importing_it_does_not_import_torch(room: str) -> None:
    code = f"import sys, audiostride.{room}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_torchvision_is_imported_only_where_it_is_used() -> None:
    """Runs on sound need not have it."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("torchvision", "PIL") for name in names), file


def test_run_on_sound_imports_nothing_of_images(trained: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from audiostride.cli import main
run, report = {str(trained)!r}, {str(tmp_path / "report.html")!r}
for command in (["summary", "small"], ["test", run], ["strides", run], ["report", run, "--out", report]):
    assert main(command) == 0
assert main(["train", run + "/config.yaml", "--out", {str(tmp_path / "again")!r}]) == 0
sys.exit(any(name.startswith("audiostride.images") for name in sys.modules))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_no_file_holds_the_marks_of_a_merge() -> None:
    root, marks = PACKAGE.parent, ("<" * 7 + " ", ">" * 7 + " ")
    texts = [
        file
        for pattern in ("*.md", "docs/**/*.md", "audiostride/**/*.*", "recipes/**/*.yaml", "tests/**/*.py")
        for file in root.glob(pattern)
        if file.suffix in (".md", ".py", ".yaml", ".html", ".css")
    ]
    assert len(texts) > 400
    marked = [file for file in texts if any(line.startswith(marks) for line in file.read_text().splitlines())]
    assert not marked
