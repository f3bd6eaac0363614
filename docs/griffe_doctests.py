"""Show the doctests of docstrings as code: griffe does so only below the heading "Examples:"."""

import re
from typing import Any

from griffe import Extension, Object

_DOCTEST = re.compile(r"^>>> .*?(?=\n\n(?!>>> )|\Z)", re.MULTILINE | re.DOTALL)


class Doctests(Extension):
    """Put the heading before every block of doctests that begins at the left margin."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Change the docstring before it is parsed."""
        if obj.docstring:
            obj.docstring.value = _DOCTEST.sub(_with_heading, obj.docstring.value)


def _with_heading(match: re.Match[str]) -> str:
    return "Examples:\n" + "\n".join(f"    {line}" for line in match[0].splitlines())
