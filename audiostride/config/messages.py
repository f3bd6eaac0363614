"""Sentences about wrong settings, in the same words from a recipe, the command line and Python."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from audiostride.errors import UserError

# What the Trainer's arguments may be. None of these types makes jsonargparse import what a value names.
PlainValue = bool | int | float | list[int] | str | None

# Characters after which a message cuts a wrong value off.
_LONGEST_VALUE = 100
_NOUNS = {int: "whole number", float: "number", str: "text", bool: "boolean", dict: "mapping", list: "list"}
_PHRASES = {str: "text", bool: "true or false", NoneType: "null", Any: "any value"}


def describe(hint: Any) -> str:
    """Return a type in words, such as "a list of whole numbers, each at least 1 or null"."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint == PlainValue:
        return "a plain value (true or false, a number, text, a list of whole numbers or null)"
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (Union, UnionType):
        return " or ".join(describe(option) for option in inner)
    return _PHRASES.get(hint) or f"a {_noun(hint)}"


def _noun(hint: Any, plural: str = "") -> str:
    """Return a type as a noun; `plural` is "s" for several."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return inner[1].describe(_noun(inner[0], plural))
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is dict:
        return f"mapping{plural} from {describe(inner[0])} to {describe(inner[1])}"
    if origin is tuple:
        return f"list{plural} of {len(inner)} {_noun(inner[0], 's')}"
    if origin in (list, Sequence):
        return f"list{plural} of {_noun(inner[0], 's')}"
    return _NOUNS.get(hint, "value") + plural


def wrong_value(name: str, value: Any, hint: Any) -> str:
    """Return the sentence for a value that does not fit its type: "x must be …, but is …"."""
    return f"{name} must be {describe(hint)}, but is {_plain(value)}"


def _plain(value: Any) -> str:
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def did_you_mean(name: str, known: Iterable[str], prefix: str = "", otherwise: str = "there are") -> str:
    """Return "did you mean X?" if a known name resembles this one, or else "there are X, Y, Z".

    Args:
        name: what was given, but is not known.
        known: the names that exist.
        prefix: what precedes the name that is meant, such as "model.".
        otherwise: what precedes the names if none is meant.
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {prefix}{close[0]}?" if close else f"{otherwise} {', '.join(known)}"


def check_keys(settings: dict[str, Any], kind: Any, place: Path | str, prefix: str = "") -> None:
    """Raise an error if settings have a key that is no field of a dataclass, or a value that is empty.

    Args:
        settings: what was read, possibly with a group of settings under a key.
        kind: the dataclass.
        place: where the settings were read, for the message.
        prefix: what precedes the keys in the message, such as "model.".

    Raises:
        UserError: with a suggestion if a field has a similar name.
    """
    known = {field.name: field.type for field in fields(kind)}
    for name, value in settings.items():
        if name not in known:
            raise UserError(
                f"{place}: {prefix}{name} is no setting, {did_you_mean(str(name), known, prefix)}"
            )
        is_group = is_dataclass(known[name])
        if (is_group or name == "trainer") and not isinstance(value, dict):
            raise UserError(f"{place}: {name} must hold settings, as in '{name}: {{…}}'")
        if is_group:
            check_keys(value, known[name], place, f"{prefix}{name}.")
        elif value is None and NoneType not in get_args(known[name]):
            raise UserError(f"{place}: {prefix}{name} is empty: give it a value or leave it out")
