"""Recipes: YAML files with what differs from the paper's defaults, possibly over others (`base`)."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_loader, set_parsing_settings

from audiostride.config.run_folder import CONFIG
from audiostride.config.settings import Recipe
from audiostride.errors import UserError

# The strings below the settings' fields are their help texts.
set_parsing_settings(docstring_parse_attribute_docstrings=True)


class _Yaml(yaml.SafeLoader):
    """YAML 1.2's plain values: yes, no, on and off are words, as in Speech Commands, and 1e-3 is a number."""

    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Of two values under one name PyYAML would silently keep the second."""
        names = [name.value for name, _ in node.value]
        for name, _ in node.value:
            if names.count(name.value) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name.value} is there twice", name.start_mark
                )
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.inf|\.nan", list("-+.")),
):
    _Yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _load_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Yaml)


set_loader("yaml 1.2", _load_yaml, exceptions=(yaml.YAMLError,))


def parser(**options: Any) -> ArgumentParser:
    """A command-line parser that knows every setting of a recipe."""
    result = ArgumentParser(exit_on_error=False, allow_abbrev=False, parser_mode="yaml 1.2", **options)
    result.add_class_arguments(Recipe, None)
    return result


def find(name: str, kind: Literal["recipe", "study"] = "recipe") -> Path:
    """The file of a recipe or a study: a path, or the name of one that comes with audiostride.

    Raises:
        UserError: where there is neither.
    """
    if Path(name).is_file():
        return Path(name)
    packaged = Path(__file__).parents[1] / "recipes"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "recipes"
    folder = folder / "studies" if kind == "study" else folder
    if (folder / f"{name}.yaml").is_file():
        return folder / f"{name}.yaml"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    raise UserError(f"there is no {kind} {name}: give a YAML file or one of {', '.join(known)}")


def read_yaml(path: Path, kind: Literal["recipe", "study"] = "recipe") -> dict[str, Any]:
    """What a recipe or study file holds, as it stands there.

    Raises:
        UserError: where it cannot be read, or holds something else than settings.
    """
    try:
        content = _load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the {kind} {path} cannot be read: {reason}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        example = {"recipe": "training: {steps: 1000}", "study": "grid: {training.seed: [0, 1]}"}[kind]
        raise UserError(f"the {kind} {path} must hold settings, as in '{example}'")
    return content


def read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The settings in a recipe file, on top of those of its `base`: a file beside it, or a recipe's name.

    Of a list of bases each stands on top of those before it. `above` are the recipes that led here.

    Raises:
        UserError: where it cannot be read, or has a key that is no setting.
    """
    settings = read_yaml(path)
    bases = settings.pop("base", None) or []
    bases = bases if isinstance(bases, list) else [bases]
    if not all(isinstance(base, str) for base in bases):
        raise UserError(f"{path}: base must be a recipe's name or file, or a list of them")
    check_keys(settings, Recipe, path)
    if path.resolve() in above:
        raise UserError(f"{path} is its own base: a recipe must stand on another")
    below: dict[str, Any] = {}
    for base in bases:
        beside = path.parent / base
        file = beside if beside.is_file() else find(base)
        below = merge(below, read(file, (*above, path.resolve())))
    return merge(below, settings)


def build(settings: dict[str, Any], source: Path) -> Recipe:
    """Check settings and turn them into a `Recipe`; `source` is where they come from, for messages."""
    checker = parser()
    try:
        return instantiate(checker, checker.parse_object(settings))
    except ArgumentError as error:
        raise UserError(f"{source}: {message(error)}") from error


def instantiate(checker: ArgumentParser, parsed: Namespace) -> Recipe:
    """The recipe in a parser's result.

    Raises:
        UserError: for a value that is out of range.
    """
    try:
        made = checker.instantiate(parsed)
        return Recipe(**{field.name: made[field.name] for field in fields(Recipe)})
    except ValueError as error:
        raise UserError(str(error)) from error


def read_config(run: Path) -> Recipe:
    """The recipe that a run was trained with.

    Raises:
        UserError: where the folder is missing or is no run.
    """
    if not run.is_dir():
        raise UserError(f"there is no run at {run}: give the folder that audiostride train made")
    if not (run / CONFIG).is_file():
        raise UserError(f"{run} is no run, {CONFIG} is missing: give the folder that audiostride train made")
    try:
        return build(read(run / CONFIG), run / CONFIG)
    except UserError as error:
        raise UserError(f"{error}; if another version of audiostride wrote it, train again") from error


def flat(recipe: Recipe) -> dict[str, Any]:
    """Every setting by its dotted name, as on the command line."""
    groups = asdict(recipe).items()
    return {f"{group}.{name}": value for group, named in groups for name, value in named.items()}


# What a run may go on with another of. Corpora are compared by what they hold, not by where they lie.
FREE = ("trainer.", "data.corpus", "data.workers")


def changed(before: Recipe, now: Recipe) -> dict[str, tuple[Any, Any]]:
    """The settings in which two recipes differ, by name, with the value of each."""
    was, is_now = flat(before), flat(now)
    names = sorted(was.keys() | is_now.keys())
    return {n: (was.get(n), is_now.get(n)) for n in names if was.get(n) != is_now.get(n)}


# What a run's result should not depend on.
_CIRCUMSTANCES = ("trainer.", "training.seed", "data.workers")


def differences(recipes: Sequence[Recipe]) -> list[dict[str, Any]]:
    """Of each recipe the settings in which they are not all alike, seeds and circumstances aside."""
    settings = [flat(recipe) for recipe in recipes]
    names = list(dict.fromkeys(name for one in settings for name in one))
    differ = [
        name
        for name in names
        if not name.startswith(_CIRCUMSTANCES) and any(s.get(name) != settings[0].get(name) for s in settings)
    ]
    return [{name: one.get(name) for name in differ} for one in settings]


_TYPES = {
    "NoneType": "null",
    "Sequence": "list",
    "dict": "mapping",
    "int": "whole number",
    "float": "number",
    "str": "text",
}


def message(error: ArgumentError) -> str:
    """What jsonargparse has to say, in one line and without the names of Python's classes."""
    text = " ".join(str(error).split())
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    for python, words in _TYPES.items():
        text = re.sub(rf"\b{python}\b", words, text)
    text = re.sub(r'^(?:Parser|Problem with|Validation failed for) key "(.*?)":', r"\1", text)
    text = re.sub(r"Expected a typing\.Literal\[(.*?)\]\. Got value: (.*)", _one_of, text)
    text = re.sub(r"typing\.Literal\[(.*?)\]", lambda match: match[1].replace("'", ""), text)
    text = re.sub(r"mapping\[(\w+), (.+?\]?)\](?=[,.\]])", r"mapping from \1 to \2", text)
    text = re.sub(r"Does not validate .*?Subtypes: \[(.*)\] Errors: .*Given value: (.*)", _either, text)
    return re.sub(r"Expected an? (.*?)\. Got value: (.*)", r"must be a \1, but is \2", text)


def _either(match: re.Match[str]) -> str:
    return f"must be a {match[1].replace(', ', ' or ')}, but is {match[2]}"


def _one_of(match: re.Match[str]) -> str:
    return f"must be one of {match[1].replace(chr(39), '')}, but is {match[2]}"


def check_keys(settings: dict[str, Any], kind: Any, place: Path | str, prefix: str = "") -> None:
    """Raise `UserError` where settings have a name that the dataclass `kind` has not, or an empty value."""
    known = {field.name: field for field in fields(kind)}
    for name, value in settings.items():
        if name not in known:
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"there are {', '.join(known)}"
            raise UserError(f"{place}: {prefix}{name} is no setting, {hint}")
        group = is_dataclass(known[name].type)
        if (group or name == "trainer") and not isinstance(value, dict):
            raise UserError(f"{place}: {name} must hold settings, as in '{name}: {{…}}'")
        if group:
            check_keys(value, known[name].type, place, f"{prefix}{name}.")
        elif value is None and type(None) not in get_args(known[name].type):
            raise UserError(f"{place}: {prefix}{name} is empty: give it a value or leave it out")


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Settings on top of others, group by group."""
    both = below.keys() & above.keys()
    groups = {k for k in both if isinstance(below[k], dict) and isinstance(above[k], dict)}
    return below | above | {k: merge(below[k], above[k]) for k in groups}
