"""Ranges of numbers, written beside a dataclass field's type: ``steps: Annotated[int, AtLeast(1)] = 1000``.

Pydantic's dataclasses do the same, but importing them would take `audiostride train --help` from 0.19 s to
0.29 s (a quarter of a second is promised), and their errors are three lines long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import inf
from numbers import Real
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from audiostride.config.messages import wrong_value


@dataclass(frozen=True)
class AtLeast:
    """Finite numbers from `least` on."""

    least: float

    def __contains__(self, value: float) -> bool:
        return self.least <= value < inf

    def describe(self, noun: str) -> str:
        """Return the noun with its range: "whole number, at least 1", "finite numbers, each at least 0"."""
        finite = "finite " if noun.startswith("number") else ""
        each = "each " if noun.endswith("s") else ""
        return f"{finite}{noun}, {each}at least {self.least:g}"


@dataclass(frozen=True)
class Between:
    """Numbers from `least` to `most`, both included."""

    least: float
    most: float

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most

    def describe(self, noun: str) -> str:
        """Return the noun with its range: "number from 0 to 1"."""
        return f"{noun} from {self.least:g} to {self.most:.12g}"


def check_ranges(settings: Any, prefix: str) -> None:
    """Raise an error if a field of a dataclass, or a number inside of a field, is out of its range.

    Args:
        settings: the dataclass instance.
        prefix: what precedes a field's name in the message, such as "model." or "--".

    Raises:
        ValueError: a value is out of range or is not a number.
    """
    for field in fields(settings):
        _check(f"{prefix}{field.name}", getattr(settings, field.name), field.type)


def _check(name: str, value: Any, hint: Any) -> None:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        if not isinstance(value, Real) or value not in inner[1]:
            raise ValueError(wrong_value(name, value, hint))
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            _check(f"{name}.{key}", item, inner[1])
    elif origin in (list, tuple, Sequence) and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(f"{name}[{index}]", item, inner[index] if origin is tuple else inner[0])
    elif origin in (Union, UnionType) and value is not None:
        for option in inner:
            _check(name, value, option)


def fits(value: Any, hint: Any) -> bool:
    """Return whether a plain value has a type and its range. A whole number also counts as a number.

    Args:
        value: a boolean, a number, text, None, or a list of them.
        hint: a type made of these types, `Literal`, `Annotated` with a range, lists, sequences and unions.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in inner)
    if origin is Annotated:
        return fits(value, inner[0]) and value in inner[1]
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in inner)
    if origin is list:
        return isinstance(value, list) and all(fits(item, inner[0]) for item in value)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(fits(item, inner[0]) for item in value)
    if hint is float:
        return type(value) in (int, float)
    return type(value) is (type(None) if hint is None else hint)
