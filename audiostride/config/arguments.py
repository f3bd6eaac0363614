"""Settings and the command line: parsers, what is wrong with arguments, and a recipe written as options."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar, get_args

from jsonargparse import (
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_loader,
    set_parsing_settings,
)

from audiostride.config import yaml
from audiostride.config.messages import describe, wrong_value
from audiostride.config.settings import Recipe
from audiostride.errors import UsageError, UserError

T = TypeVar("T")

_YAML = "yaml 1.2"
_HARMLESS = 40  # number of characters of a text that can neither be deeply nested nor expand much
set_loader(_YAML, yaml.load, exceptions=(yaml.YamlError,))
set_parsing_settings(
    # The strings below the fields of a dataclass are the help texts of its options.
    docstring_parse_attribute_docstrings=True,
    # No value may name something to import. No option has a type that takes such names (`Any` would).
    import_path_denylist=["*"],
)


class _HelpFormatter(DefaultHelpFormatter):
    """Shows types in words, with their ranges. Without this method, help shows the types as in Python."""

    def _get_type_str(self, action: Any) -> str | None:
        hint = _hint(action)
        return super()._get_type_str(action) if hint is None else describe(hint).removeprefix("a ")


def make_parser(name: str = "", description: str | None = None, usage: str | None = None) -> ArgumentParser:
    """Return a parser without options, for a command of audiostride or to check settings."""
    return ArgumentParser(
        prog=f"audiostride {name}".rstrip(),
        description=description,
        usage=usage,
        exit_on_error=False,
        allow_abbrev=False,
        parser_mode=_YAML,
        formatter_class=_HelpFormatter,
    )


def recipe_parser(name: str = "", description: str | None = None, usage: str | None = None) -> ArgumentParser:
    """Return a parser with an option for every setting of a recipe."""
    parser = make_parser(name, description, usage)
    parser.add_class_arguments(Recipe, None)
    return parser


def parse(
    parser: ArgumentParser,
    arguments: Sequence[str],
    below: Namespace | None = None,
    commands: Mapping[str, ArgumentParser] | None = None,
) -> Namespace:
    """Parse the arguments of a command.

    Args:
        parser: the parser of the command.
        arguments: what follows the command's name.
        below: values that the arguments replace, where they are given; the parser's defaults if missing.
        commands: the parsers of the command's own commands, for messages.

    Raises:
        UsageError: with a sentence that says which argument is wrong.
    """
    try:
        _check_texts(arguments)
        return parser.parse_args(list(arguments), namespace=below)
    except yaml.BombError as error:
        raise UsageError(f"a value cannot be read: {error}") from error
    except ArgumentError as error:
        chosen = (commands or {}).get(arguments[0] if arguments else "", parser)
        raise UsageError(_explain(error, chosen, _given_options(arguments))) from error


def parse_settings(parser: ArgumentParser, settings: dict[str, Any]) -> Namespace:
    """Check the keys and types of settings that were read from a file.

    Raises:
        UserError: with a sentence that says which setting is wrong.
    """
    try:
        _check_texts(settings.values())
        return parser.parse_object(settings)
    except yaml.BombError as error:
        raise UserError(f"a value cannot be read: {error}") from error
    except (ArgumentError, ImportError) as error:
        raise UserError(_explain(error, parser, flatten(settings).items())) from error


def _check_texts(values: Iterable[Any]) -> None:
    """Raise `yaml.BombError` about a bomb in a text: jsonargparse may read it as YAML by another loader."""
    for value in values:
        if isinstance(value, dict | list):
            _check_texts([*value, *value.values()] if isinstance(value, dict) else value)
        elif isinstance(value, str) and len(value) > _HARMLESS:
            try:
                yaml.load(value.partition("=")[2] if value.startswith("--") else value)
            except yaml.BombError:
                raise
            except yaml.YamlError:
                pass  # plain text


def instantiate(kind: type[T], parser: ArgumentParser, parsed: Namespace) -> T:
    """Return the dataclass whose fields are among the options of a parser.

    Raises:
        UserError: a value is out of range, or contradicts another one.
    """
    try:
        made = parser.instantiate(parsed)
        return kind(**{field.name: made[field.name] for field in fields(kind)})  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(str(error)) from error


def flatten(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings that are in groups by their dotted names: {"model.smoothness": 4.0, …}."""
    flat: dict[str, Any] = {}
    for group, content in settings.items():
        if isinstance(content, dict):
            flat |= {f"{group}.{name}": value for name, value in content.items()}
        else:
            flat[group] = content
    return flat


def _explain(error: Exception, parser: ArgumentParser, given: Iterable[tuple[str, Any]]) -> str:
    """Return why a parser refuses its arguments, in one sentence.

    The first value that does not fit the type of its option makes the sentence. Other mistakes, such as an
    unknown option, are described by the parser itself.
    """
    hints = {action.dest: hint for action in parser._actions if (hint := _hint(action)) is not None}
    for name, value in given:
        option = next((known for known in hints if f"{name}.".startswith(f"{known}.")), None)
        if option is not None and not _fits(value, hints[option], key=name.removeprefix(option)):
            hint = hints[option] if name == option else get_args(hints[option])[-1]
            return wrong_value(name, value, hint)
    message = " ".join(str(error).split())
    refused = re.match(r'Parser key "([\w.]+)": (Does not validate|Importing)', message)
    if refused and refused[1] in hints:
        return f"{refused[1]} must be {describe(hints[refused[1]])}"
    return f"{refused[1]} must hold settings, as in '{refused[1]}: {{…}}'" if refused else message


def _fits(value: Any, hint: Any, key: str) -> bool:
    """Return whether an option of this type accepts a value; `key` is ".NAME" for an entry of a mapping."""
    parser = make_parser()
    parser.add_argument("--value", type=hint)
    try:
        parser.parse_object({"value": {key[1:]: value} if key else value})
    except ArgumentError:
        return False
    return True


def _given_options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the options in arguments that have a value, from --name=value and --name value."""
    for argument, following in zip(arguments, [*arguments, "--"][1:], strict=True):
        name, equals, value = argument.partition("=")
        if name.startswith("--") and (equals or not following.startswith("--")):
            yield name.removeprefix("--").removesuffix("+"), value if equals else following


def _hint(action: Any) -> Any:
    """Return the type of an option. jsonargparse keeps it in a private attribute."""
    return getattr(action, "_typehint", None)


def command_line(*words: str) -> str:
    """Return a command of audiostride, quoted for a shell."""
    return " ".join(_quote(word) for word in ("audiostride", *words))


def options(recipe: Recipe, below: Recipe) -> list[str]:
    """Return the options that turn the recipe `below` into `recipe`."""
    new, old = flatten(asdict(recipe) | {"trainer": None}), flatten(asdict(below) | {"trainer": None})
    changed = [f"--{name}={_text(value)}" for name, value in new.items() if value != old[name]]
    # The Trainer's arguments have no types: one option with all of them keeps text and numbers apart.
    trainer = [f"--trainer={_text(recipe.trainer)}"] if recipe.trainer != below.trainer else []
    return changed + trainer


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _quote(word: str) -> str:
    """Quote a word for a shell; the name of an option stays outside the quotes."""
    name, equals, value = word.partition("=")
    return f"{name}={shlex.quote(value)}" if equals and name.startswith("--") else shlex.quote(word)
