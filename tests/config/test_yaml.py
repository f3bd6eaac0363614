"""YAML 1.2: what is text, what is a number, and what is refused."""

import time
from pathlib import Path
from typing import Any

import pytest
from helpers.command_line import fails

from audiostride.cli import main
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


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, r"the alias \*a0 is not allowed \(line 2, column 10\)"),
        ("a: &a\n  b: *a", r"the alias \*a is not allowed \(line 2, column 6\)"),
        ("[" * 10_000, r"more than 20 levels of nesting \(line 1"),
        ("[" * 10_000 + "]" * 10_000, r"more than 20 levels of nesting"),
        ("{a: " * 10_000 + "}" * 10_000, r"more than 20 levels of nesting"),
        ("".join(" " * n + f"a{n}:\n" for n in range(500)), r"more than 20 levels of nesting"),
        ("- " * 10_000 + "a", r"more than 20 levels of nesting"),
        ("a: " + "b" * 1_000_000, r"it has more than 1,000,000 characters"),
        ("a: " + "1" * 10_000, r"Exceeds the limit"),
    ],
)
def test_bombs_are_refused_at_once(text: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(yaml.YamlError, match=reason):
        yaml.load(text)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("command", ["summary", "train", "study"])
def test_commands_refuse_a_bomb_in_a_file(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bomb.yaml").write_text(BOMB)
    assert "cannot be read: the alias *a0" in fails(capsys, 1, command, str(tmp_path / "bomb.yaml"))
    assert main(["summary", "small", "--trainer", "[" * 10_000]) == 2
    assert main(["summary", "small", "--data.labels", BOMB]) == 2
    assert main(["summary", "small", f"--data.labels={BOMB}"]) == 2
    for settings in (
        {"training": {"steps": BOMB}},
        {"data": {"labels": {"a": [BOMB]}}},
        {"data": {"tasks": [BOMB]}},
    ):
        (tmp_path / "text.yaml").write_text(yaml.dump(settings))  # the bomb is a text inside of the file
        assert main(["summary", str(tmp_path / "text.yaml")]) == 1
