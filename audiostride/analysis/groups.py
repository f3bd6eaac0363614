"""Several runs as one: mean and standard deviation of what they have learned, as in the paper's table 2."""

from collections.abc import Sequence
from typing import Any

from audiostride.tables import Spread

# What is averaged, of the columns of `stride_table`.
_AVERAGED = (
    "stride",
    "effective_stride",
    "input_length",
    "output_length",
    "rate",
    "pass_band",
    "pass_band_on_grid",
    "half_amplitude",
    "stop_band",
    "cumulated_pass_band",
    "cycles_per_octave",
)


def grouped(tables: Sequence[tuple[str, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """One row per group, layer and axis.

    Args:
        tables: of each run the name of its group and its rows, see `stride_table`.

    Returns:
        Rows with group, runs (how many have the layer), layer, axis, unit, and a `Spread` per number. An edge
        that one of the runs does not have is None: a mean over the others would be another thing.
    """
    members: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for group in dict.fromkeys(name for name, _ in tables):
        for row in (row for name, rows in tables if name == group for row in rows):
            members.setdefault((group, row["layer"], row["axis"]), []).append(row)
    return [
        {"group": group, "runs": len(rows), "layer": layer, "axis": axis}
        | {name: _spread([row[name] for row in rows]) for name in _AVERAGED}
        | {"unit": rows[0]["unit"]}
        for (group, layer, axis), rows in sorted(members.items(), key=lambda item: _order(tables, item[0]))
    ]


def _order(
    tables: Sequence[tuple[str, list[dict[str, Any]]]], key: tuple[str, int, str]
) -> tuple[int, int, bool]:
    """Groups as they came, then layers, then time before frequency."""
    group, layer, axis = key
    return [name for name, _ in tables].index(group), layer, axis == "frequency"


def _spread(values: list[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread.of(known) if len(known) == len(values) else None
