"""Generated parts of the documentation: references, benchmark tables and notebooks.

MkDocs calls the two functions whose names begin with ``on_``. In a page, a line ``{{ settings }}``,
``{{ commands }}`` or ``{{ results NAME [COLUMN …] }}`` is replaced by the result of its function in
`_GENERATORS`.
This module does not need torch.
"""

import base64
import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from audiostride.bench import BENCHES
from audiostride.cli import COMMANDS, main
from audiostride.config.ranges import AtLeast, Between
from audiostride.config.settings import PrepareSettings, Recipe
from audiostride.corpora import DATASETS

DOCS = Path(__file__).parent
SUBCOMMANDS: dict[str, Collection[str]] = {"prepare": DATASETS, "bench": BENCHES}
_PLACEHOLDER = re.compile(r"^\{\{ (\w+) ?([\w ]*) \}\}$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace every notebook by a Markdown page and its images."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(notebook)
        stem = notebook.src_uri.removesuffix(".ipynb")
        page, images = notebook_as_markdown(DOCS / notebook.src_uri)
        files.append(File.generated(config, f"{stem}.md", content=page))
        for name, content in images.items():
            files.append(File.generated(config, f"{Path(stem).parent.as_posix()}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the placeholders of a page."""
    return _PLACEHOLDER.sub(lambda match: _GENERATORS[match[1]](*filter(None, [match[2]])), markdown)


# Settings


def settings_reference() -> str:
    """Return one section for each group of settings, read from the dataclasses."""
    types = {field.name: field.type for field in fields(Recipe)}
    groups = {name: kind for name, kind in types.items() if isinstance(kind, type) and is_dataclass(kind)}
    sections = [_settings_section(name, kind, fields(kind), f"{name}.") for name, kind in groups.items()]
    trainer = [field for field in fields(Recipe) if field.name not in groups]
    sections.append(_settings_section("trainer", Recipe, trainer, ""))
    sections.append(_settings_section("prepare", PrepareSettings, fields(PrepareSettings), "--"))
    return "\n\n".join(sections)


def _settings_section(title: str, kind: type, settings: Sequence[Field[Any]], prefix: str) -> str:
    parsed = docstring_parser.parse_from_object(kind)
    helps = {param.arg_name: param.description for param in parsed.params}
    hints = get_type_hints(kind, include_extras=True)
    entries = [
        f"`{prefix}{setting.name}`\n"
        f":   {_properties(hints[setting.name], setting)}\n\n"
        f"    {' '.join((helps.get(setting.name) or '').split())}\n"
        for setting in settings
    ]
    return "\n".join([f"## {title}\n\n{parsed.short_description}\n", *entries])


def _properties(hint: Any, setting: Field[Any]) -> str:
    words = filter(None, [type_text(hint), range_text(hint)])
    return f"*{', '.join(words)}; default:* `{_default(setting)}`"


def _default(setting: Field[Any]) -> str:
    default = setting.default if setting.default_factory is MISSING else setting.default_factory()
    return json.dumps(default).strip('"')


def type_text(hint: Any) -> str:
    """Return a type as people write it: "number or null", "list of text"."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_text(args[0])
    if origin in (Union, UnionType):
        null_last = sorted(args, key=lambda arg: (arg is NoneType, get_origin(arg) is not None))
        return " or ".join(map(type_text, null_last))
    if origin is Literal:
        return " or ".join(args)
    if origin is dict:
        return "mapping" if args[1] is Any else f"mapping from {type_text(args[0])} to {type_text(args[1])}"
    if origin is tuple and Ellipsis not in args:
        return f"{len(args)} × {type_text(args[0])}"
    if origin is not None:
        return f"list of {type_text(args[0])}".replace("number", "numbers")
    names = {int: "whole number", float: "number", bool: "true or false", str: "text", NoneType: "null"}
    return names[hint]


def range_text(hint: Any) -> str:
    """Return the ranges that a type's annotations set, such as "≥ 1"; empty without any."""
    return ", ".join(dict.fromkeys(_ranges(hint)))


def _ranges(hint: Any) -> Iterator[str]:
    """Yield the ranges of a type and of its parts, for instance of the numbers in a list."""
    if get_origin(hint) is Annotated:
        for annotation in hint.__metadata__:
            if isinstance(annotation, AtLeast):
                yield f"≥ {annotation.least:g}"
            elif isinstance(annotation, Between):
                yield f"{annotation.least:g} to {annotation.most:g}"
    for part in get_args(hint):
        if not isinstance(part, str):
            yield from _ranges(part)


# Commands


def command_reference() -> str:
    """Return the help text of every command and sub-command, as the command line prints it."""
    sections = []
    for command in COMMANDS:
        sections.append(f"## {command}\n\n{_help_text(command)}")
        sections += [
            f"### {command} {subcommand}\n\n{_help_text(command, subcommand)}"
            for subcommand in SUBCOMMANDS.get(command, ())
        ]
    return "\n\n".join(sections)


def _help_text(*command: str) -> str:
    return f"```text\n{help_of(*command)}\n```"


def help_of(*command: str) -> str:
    """Return what ``audiostride COMMAND --help`` prints."""
    width, out = os.environ.get("COLUMNS"), io.StringIO()
    os.environ["COLUMNS"] = "88"
    try:
        with redirect_stdout(out), suppress(SystemExit):
            main([*command, "--help"])
    finally:
        if width is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = width
    return out.getvalue().strip()


# Results


def results_table(arguments: str) -> str:
    """Return the table of docs/results/NAME.json, followed by its command, machine and date.

    Args:
        arguments: NAME, and the columns to show; by default all.
    """
    name, *columns = arguments.split()
    result = json.loads((DOCS / "results" / f"{name}.json").read_text(encoding="utf-8"))
    rows = result["rows"]
    columns = columns or list(rows[0])
    header = [column.replace("_", " ") for column in columns]
    table = markdown_table(header, [[_cell(row[column]) for column in columns] for row in rows])
    version = f" at version {result['version']}" if "version" in result else ""
    return (
        f"{table}\n\nMeasured on {result['date']}{version}, on {_machine(result['machine'])}:\n\n"
        f"```sh\n{result['command']}\n```"
    )


def _machine(machine: str | dict[str, Any]) -> str:
    """Return a machine in words; `audiostride bench --save` writes it as a mapping."""
    if isinstance(machine, str):
        return machine
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return f"{machine['gpu'] or machine['processor']}, {threads}, torch {machine['torch']}"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; columns that are empty in every row are left out."""
    kept = [number for number in range(len(header)) if any(row[number] for row in rows)]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(line[number].replace("|", "\\|") for number in kept) + " |" for line in lines
    )


# Notebooks


def notebook_as_markdown(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and the PNG images of its outputs by file name."""
    notebook = nbformat.read(path, as_version=4)
    parts: list[str] = []
    images: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{len(images)}.png"
                images[name] = base64.b64decode(data["image/png"])
                parts.append(f"![Figure drawn by the cell above]({name})")
            elif text := output.get("text") or data.get("text/plain"):
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n", images


_GENERATORS: dict[str, Callable[..., str]] = {
    "settings": settings_reference,
    "commands": command_reference,
    "results": results_table,
}
