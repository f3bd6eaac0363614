"""Ranges beside the types of fields."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from audiostride.config.ranges import AtLeast, Between, check_ranges, fits

Positive = Annotated[int, AtLeast(1)]
Share = Annotated[float, Between(0, 1)]


@dataclass
class Example:
    count: Positive = 1
    share: Share = 0.5
    optional: Annotated[float, AtLeast(0)] | None = None
    sizes: Sequence[Positive] = (1, 2)
    pairs: list[tuple[Share, Positive]] = field(default_factory=lambda: [(0.5, 1)])
    weights: Literal["equal"] | dict[str, Share] = "equal"
    name: str = ""

    def __post_init__(self) -> None:
        check_ranges(self, "group.")


def test_values_on_the_edges_of_ranges_are_accepted() -> None:
    Example(1, 0.0, 0.0, [], [(1.0, 1)], {"a": 1}, "x")
    Example(10**9, 1, optional=None)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "group.count must be a whole number, at least 1, but is 0"),
        ({"count": "many"}, "group.count must be a whole number, at least 1, but is many"),
        ({"share": -0.001}, "group.share must be a number from 0 to 1, but is -0.001"),
        ({"share": float("nan")}, "group.share must be a number from 0 to 1, but is nan"),
        ({"optional": float("inf")}, "group.optional must be a finite number, at least 0, but is inf"),
        ({"sizes": [3, 0]}, "group.sizes[1] must be a whole number, at least 1, but is 0"),
        ({"pairs": [(0.5, 1), (0.5, -1)]}, "group.pairs[1][1] must be a whole number, at least 1, but is -1"),
        ({"weights": {"a": 1.0, "b": 2.0}}, "group.weights.b must be a number from 0 to 1, but is 2"),
    ],
)
def test_value_out_of_range_reports_its_name_range_and_value(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match="must be") as raised:
        Example(**values)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("value", "hint", "fit"),
    [
        (1, Positive, True),
        (0, Positive, False),
        (True, Positive, False),
        (1, Share, True),
        (float("nan"), Share, False),
        ("1", Share, False),
        (None, Share | None, True),
        ("a", Literal["a"], True),
        (1.0, Literal[1], False),
        ([1, 2], list[Positive], True),
        ([1, "2"], list[Positive], False),
        ({"class_path": "os.system"}, bool | int | float | str | None, False),
    ],
)
def test_fits_compares_type_and_range(value: Any, hint: Any, fit: bool) -> None:
    assert fits(value, hint) is fit
