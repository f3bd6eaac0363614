"""YAML 1.2: what is text, what is a number, and what is refused."""

from typing import Any

import pytest

from audiostride.config import yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[yes, no, on, off, y, n]", ["yes", "no", "on", "off", "y", "n"]),
        ("[true, false, null, ~]", [True, False, None, None]),
        ("[1e-3, 3.0e-3, .5, 5., -.inf]", [1e-3, 3e-3, 0.5, 5.0, float("-inf")]),
        ("[010, -3, '3']", [10, -3, "3"]),
        ("[2024-01-31, 12:30]", ["2024-01-31", "12:30"]),
        ("", None),
    ],
)
def test_plain_values_have_the_types_of_yaml_1_2(text: str, value: Any) -> None:
    assert yaml.load(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{a: {b: 1}, a: 2}", r'found duplicate key "a" with value "2" .*\(line 1, column 13\)'),
        ("a: 1\nb:\n  c: 1\n  c: 2", r'found duplicate key "c" .*\(line 4, column 3\)'),
        ("a: [1", r"while parsing a flow sequence, expected .* \(line 1, column 6\)"),
        ("a: 1\n---\nb: 2", "but found another document"),
        ("!!python/name:os.system", "could not determine a constructor for the tag"),
        ("0b_", "invalid literal"),
        ("\0", "special characters are not allowed"),
    ],
)
def test_wrong_yaml_reports_a_clear_error_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(yaml.YamlError, match=reason) as raised:
        yaml.load(text)
    assert "\n" not in str(raised.value)


def test_dump_keeps_the_order_of_keys_and_turns_tuples_into_lists() -> None:
    content = {"b": ((2.0, 1e-5), ["yes", "1", "true"]), "a": {"ü": None}}
    text = yaml.dump(content)
    assert text.startswith("b:\n")
    assert yaml.load(text) == {"b": [[2.0, 1e-5], ["yes", "1", "true"]], "a": {"ü": None}}
