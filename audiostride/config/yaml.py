"""YAML 1.2, read and written by ruamel.yaml.

Words such as yes, no, on and off are text, 1e-3 is a number, and a key that is given twice is an error.
"""

from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError


class YamlError(ValueError):
    """A text is not YAML. The message says in one line what is wrong, and where."""


class _Constructor(SafeConstructor):
    """Reads dates as text: the core schema of YAML 1.2 has no dates."""


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def load(text: str) -> Any:
    """Return the content of a YAML document.

    Raises:
        YamlError: the text is not YAML, or a mapping has the same key twice.
    """
    try:
        return _yaml().load(text)
    except (YAMLError, ValueError) as error:
        raise YamlError(_reason(error)) from error


def dump(content: dict[str, Any]) -> str:
    """Return a mapping as a YAML document, with its keys in their order and tuples as lists."""
    text = StringIO()
    _yaml().dump(_without_tuples(content), text)
    return text.getvalue()


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)  # the C extension reads YAML 1.1
    yaml.Constructor = _Constructor
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return yaml


def _reason(error: Exception) -> str:
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    problem = f"{error.context}, {error.problem}" if error.context else error.problem
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})"


def _without_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_tuples(item) for name, item in value.items()}
    return [_without_tuples(item) for item in value] if isinstance(value, list | tuple) else value
