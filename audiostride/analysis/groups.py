"""Means over runs of what they have learned, as in table 2 of Riad et al. 2022."""

from collections.abc import Sequence
from typing import Any

from audiostride.tables import Spread

# The columns of `stride_table` that are averaged.
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
    "hop_ms",
    "channels_per_octave",
)

Rows = list[dict[str, Any]]


def group_means(tables: Sequence[tuple[str, Rows]]) -> Rows:
    """Average the stride tables of each group of runs.

    Args:
        tables: for each run the name of its group, and its rows from `stride_table`.

    Returns:
        One row per group, layer and axis, with group, runs (number of runs that have the layer), layer, axis,
        unit, and a `Spread` for each number that the rows have. If an edge does not exist in all runs, it is
        None.
    """
    result = []
    for group in dict.fromkeys(name for name, _ in tables):
        members: dict[tuple[int, str], Rows] = {}
        for row in (row for name, rows in tables if name == group for row in rows):
            members.setdefault((row["layer"], row["axis"]), []).append(row)
        result += [
            {"group": group, "runs": len(rows), "layer": layer, "axis": axis}
            | {name: _spread([row[name] for row in rows]) for name in _AVERAGED if name in rows[0]}
            | {"unit": rows[0]["unit"]}
            for (layer, axis), rows in members.items()
        ]
    return result


def _spread(values: list[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread.of(known) if len(known) == len(values) else None
