"""Types in words, and which argument is wrong."""

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from audiostride.config.arguments import make_parser, parse, parse_settings, recipe_parser
from audiostride.config.messages import describe, wrong_value
from audiostride.config.settings import Count, NonNegative, Recipe, Stride
from audiostride.errors import UsageError, UserError


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (float | None, "a number or null"),
        (bool, "true or false"),
        (str, "text"),
        (Literal["best", "last"], "one of best, last"),
        (Count, "a whole number, at least 0"),
        (NonNegative, "a finite number, at least 0"),
        (list[str] | str, "a list of texts or text"),
        (Sequence[tuple[Stride, Stride]], "a list of lists of 2 finite numbers, each at least 1"),
        (dict[str, list[str]], "a mapping from text to a list of texts"),
        (dict[str, Any], "a mapping from text to any value"),
    ],
)
def test_types_are_described_in_words(hint: Any, words: str) -> None:
    assert describe(hint) == words


def test_long_value_is_cut_off() -> None:
    assert wrong_value("x", "9" * 5000, int) == f"x must be a whole number, but is {'9' * 100}…"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model.smoothness", "abc"], "model.smoothness must be a number from 0 to 10000, but is abc"),
        (["--model.smoothness=abc"], "model.smoothness must be a number from 0 to 10000, but is abc"),
        (
            ["--model.strides", "[[a, 1]]"],
            "model.strides must be a list of lists of 2 finite numbers, each at least 1 or null, but is "
            "[[a, 1]]",
        ),
        (
            ["--training.steps", "1", "--training.seed", "x", "--model.multiple", "y"],
            "training.seed must be a whole number from 0 to 4294967295, but is x",
        ),
        (
            ["--training.task_weights.a", "b"],
            "training.task_weights.a must be a finite number, at least 0, but is b",
        ),
        (
            ["--trainer", "2"],
            "trainer must be a mapping from text to a plain value (true or false, a number, text, a list of "
            "whole numbers or null), but is 2",
        ),
        (["--split", "all"], "split must be one of test, valid, but is all"),
    ],
)
def test_wrong_option_reports_its_name_type_and_value(arguments: list[str], sentence: str) -> None:
    parser = recipe_parser()
    parser.add_argument("--split", type=Literal["test", "valid"])
    with pytest.raises(UsageError) as raised:
        parse(parser, arguments)
    assert str(raised.value) == sentence


def test_option_without_a_value_and_missing_arguments_are_named() -> None:
    parser = make_parser()
    parser.add_argument("--frames", type=int)
    parser.add_argument("run", type=str)
    with pytest.raises(UsageError, match="--frames"):
        parse(parser, ["run", "--frames"])
    with pytest.raises(UsageError, match="run"):
        parse(parser, [])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"training": {"steps": 1.5}}, "training.steps must be a whole number, at least 1, but is 1.5"),
        (
            {"model": {"shared": True}, "augmentation": {"noise_snr_db": [1]}},
            "augmentation.noise_snr_db must be a list of 2 finite numbers, each at least -200, but is [1]",
        ),
    ],
)
def test_wrong_setting_reports_its_name_type_and_value(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_settings(recipe_parser(), settings)
    assert str(raised.value) == sentence


def test_help_shows_the_text_and_the_range_of_a_setting() -> None:
    text = " ".join(recipe_parser().format_help().split())
    assert "Number of steps of the optimiser. (type: whole number, at least 1, default: 1000000)" in text
    assert "Annotated" not in text
    assert all(f"--{group}" in text for group in Recipe.__dataclass_fields__)
