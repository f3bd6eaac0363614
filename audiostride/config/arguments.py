"""Recipes as they are typed into a shell."""

import json
import shlex
from dataclasses import asdict
from typing import Any

from audiostride.config.settings import Recipe


def command_line(*words: str) -> str:
    """A command of audiostride as it is typed into a shell."""
    return " ".join(_quoted(word) for word in ("audiostride", *words))


def options(recipe: Recipe, below: Recipe) -> list[str]:
    """The options that make one recipe of another."""
    wanted, there = _groups(recipe), _groups(below)
    changed = [
        f"--{group}.{name}={_text(value)}"
        for group, settings in wanted.items()
        for name, value in settings.items()
        if value != there[group][name]
    ]
    # Given whole, as here the type of an argument is known by how it is written.
    trainer = [f"--trainer={_text(recipe.trainer)}"] if recipe.trainer != below.trainer else []
    return changed + trainer


def _groups(recipe: Recipe) -> dict[str, dict[str, Any]]:
    return {group: settings for group, settings in asdict(recipe).items() if group != "trainer"}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _quoted(option: str) -> str:
    """For a shell, with the name of an option outside the quotes."""
    name, sign, value = option.partition("=")
    return f"{name}={shlex.quote(value)}" if sign and name.startswith("--") else shlex.quote(option)
