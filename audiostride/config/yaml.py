"""YAML 1.2, read and written by ruamel.yaml.

Words such as yes, no, on and off are text, 1e-3 is a number, and a key that is given twice is an error. Names
of labels and tasks are text as written, also if they look like numbers: in labels: [7, 007] there are two.
"""

from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

# No recipe or study comes near these limits; without them a file could take minutes to read.
_MAX_CHARACTERS, _MAX_DEPTH = 1_000_000, 20
# The settings whose values are names. They may be written as labels: … or data.labels: ….
NAMES = frozenset({"labels", "tasks", "leave_out"})
_STRING, _NULL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:null"


class YamlError(ValueError):
    """A text is not YAML. The message says in one line what is wrong, and where."""


class _Constructor(SafeConstructor):
    """Reads dates as text: the core schema of YAML 1.2 has no dates."""


class BombError(YamlError):
    """A text is too long, too deeply nested, or has an alias: reading it could take minutes."""


class _Composer(Composer):
    """Refuses aliases, with which a few lines can stand for billions of values, and deep nesting.

    Names in the settings `NAMES` become text.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent):
            raise BombError(f"the alias *{event.anchor} is not allowed {_place(event.start_mark)}")
        if self.depth == _MAX_DEPTH:
            raise BombError(f"there are more than {_MAX_DEPTH} levels of nesting {_place(event.start_mark)}")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if str(key.value).rpartition(".")[2] in NAMES:
                    _make_text(value)
        return node


def _make_text(node: Node) -> None:
    """Make all scalars below a node text, except null."""
    if isinstance(node, ScalarNode):
        node.tag = node.tag if node.tag == _NULL else _STRING
    elif isinstance(node, SequenceNode):
        for item in node.value:
            _make_text(item)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            _make_text(key)
            _make_text(value)


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def load(text: str) -> Any:
    """Return the content of a YAML document.

    Raises:
        YamlError: the text is not YAML, or a mapping has the same key twice.
        BombError: the text is too long or too deeply nested, or has an alias.
    """
    if len(text) > _MAX_CHARACTERS:
        raise BombError(f"it has more than {_MAX_CHARACTERS:,} characters")
    try:
        return _yaml().load(text)
    except BombError:
        raise
    except (YAMLError, ValueError) as error:
        raise YamlError(_reason(error)) from error


def load_names(text: str) -> Any:
    """Return the content of a YAML document in which every scalar except null is text.

    Raises:
        YamlError: see `load`.
    """
    return load(f"labels: {text}")["labels"]


def dump(content: dict[str, Any]) -> str:
    """Return a mapping as a YAML document, with its keys in their order and tuples as lists."""
    text = StringIO()
    _yaml().dump(_without_tuples(content), text)
    return text.getvalue()


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)  # the C extension reads YAML 1.1
    yaml.Composer, yaml.Constructor = _Composer, _Constructor
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return yaml


def _reason(error: Exception) -> str:
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    problem = f"{error.context}, {error.problem}" if error.context else error.problem
    return f"{problem} {_place(error.problem_mark)}"


def _place(mark: Any) -> str:
    return f"(line {mark.line + 1}, column {mark.column + 1})"


def _without_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_tuples(item) for name, item in value.items()}
    return [_without_tuples(item) for item in value] if isinstance(value, list | tuple) else value
