"""Settings and the command line: parsers, what is wrong with arguments, and a recipe written as options."""

import difflib
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar, get_args, get_origin

from jsonargparse import (
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_loader,
    set_parsing_settings,
)

from audiostride.config import yaml
from audiostride.config.messages import describe, did_you_mean, wrong_value
from audiostride.config.settings import Recipe
from audiostride.errors import UsageError, UserError

T = TypeVar("T")

_YAML = "yaml 1.2"
# How jsonargparse begins its messages.
_UNKNOWN, _REQUIRED = "unrecognized arguments: ", "the following arguments are required: "
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
    if commands:
        _check_choice(parser, commands, arguments)
    try:
        _check_texts(arguments)
        arguments = _quote_names(arguments)
        return parser.parse_args(arguments, namespace=below)
    except yaml.BombError as error:
        raise UsageError(f"a value cannot be read: {error}") from error
    except ArgumentError as error:
        command = arguments[0] if commands else ""
        chosen = commands[command] if commands else parser
        raise UsageError(_explain(error, chosen, _given_options(arguments)), command) from error


def given_values(parser: ArgumentParser, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the values that arguments give, in groups. Call `parse` first, which reports what is wrong."""
    return parser.parse_args(_quote_names(arguments), defaults=False).as_dict()


def _check_choice(
    parser: ArgumentParser, commands: Mapping[str, ArgumentParser], arguments: Sequence[str]
) -> None:
    """Raise `UsageError` unless the first argument is one of the commands of a command, or asks for help."""
    first = arguments[0] if arguments else ""
    if first in commands or first in ("-h", "--help"):
        return
    noun = next(action.dest for action in parser._actions if action.choices)
    if not first or first.startswith("-"):
        raise UsageError(f"the first argument must be a {noun}: {', '.join(commands)}")
    raise UsageError(f"there is no {noun} {first}: {did_you_mean(first, commands)}")


def _quote_names(arguments: Sequence[str]) -> list[str]:
    """Return arguments in which labels and tasks in lists are quoted: ["0"] instead of [0], a number."""

    def are_names(option: str) -> bool:
        return option.startswith("--") and not yaml.NAMES.isdisjoint(option.strip("-+").split("."))

    result: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        if equals and are_names(option):
            result.append(f"{option}={_quoted(value)}")
        else:
            result.append(_quoted(argument) if are_names(before) else argument)
    return result


def _quoted(text: str) -> str:
    """Return a list or a mapping of names as JSON, and anything else as it is."""
    try:
        names = yaml.load_names(text)
    except yaml.YamlError:
        return text
    return json.dumps(names, ensure_ascii=False) if isinstance(names, list | dict) else text


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
            return wrong_value(name, value, hints[option] if name == option else _entry(hints[option]))
    message = " ".join(str(error).split())
    if message.startswith(_UNKNOWN):
        return _unknown_argument(message.removeprefix(_UNKNOWN).split()[0].partition("=")[0], parser)
    if message.startswith(_REQUIRED):
        missing = [name.rpartition(".")[2] for name in message.removeprefix(_REQUIRED).split(", ")]
        return f"{', '.join(missing)} must be given"
    if without_value := re.fullmatch(r"argument ([^:/]+).*: expected .*argument", message):
        return f"{without_value[1]} needs a value"
    refused = re.match(r'Parser key "([\w.]+)": (Does not validate|Importing)', message)
    if refused and refused[1] in hints:
        return f"{refused[1]} must be {describe(hints[refused[1]])}"
    return f"{refused[1]} must hold settings, as in '{refused[1]}: {{…}}'" if refused else message


def _entry(hint: Any) -> Any:
    """Return the type of the entries of a mapping, which may be one type of several; others unchanged."""
    types = (hint, *get_args(hint))
    return next((get_args(option)[1] for option in types if get_origin(option) is dict), hint)


def _unknown_argument(name: str, parser: ArgumentParser) -> str:
    """Return the sentence about an argument that a command does not take."""
    if not name.startswith("-"):
        return f"there is no argument for {name}"
    known = [option for action in parser._actions for option in action.option_strings]
    # Someone may also have left out the group of a setting: --steps instead of --training.steps.
    close = [option for option in known if option.rpartition(".")[2] == name.lstrip("-")]
    close = close or difflib.get_close_matches(name, known, 1, cutoff=0.7)
    return f"there is no option {name}" + (f": did you mean {close[0]}?" if close else "")


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


def option(name: str, value: Any) -> str:
    """Return an option of a command with its value, as one word."""
    return f"--{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def options(recipe: Recipe, below: Recipe) -> list[str]:
    """Return the options that turn the recipe `below` into `recipe`."""
    new, old = flatten(asdict(recipe) | {"trainer": None}), flatten(asdict(below) | {"trainer": None})
    # What is not given of the network of a run that begins with a trained model is that model's.
    network = ("model.", "frontend.") if recipe.training.init_from else ()
    changed = [
        option(name, value) for name, value in new.items() if value != old[name] or name.startswith(network)
    ]
    # The Trainer's arguments have no types: one option with all of them keeps text and numbers apart.
    trainer = [option("trainer", recipe.trainer)] if recipe.trainer != below.trainer else []
    return changed + trainer


def _quote(word: str) -> str:
    """Quote a word for a shell; the name of an option stays outside the quotes."""
    name, equals, value = word.partition("=")
    return f"{name}={shlex.quote(value)}" if equals and name.startswith("--") else shlex.quote(word)
