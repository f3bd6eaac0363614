"""The resolution of frontends in physical units: hop, overlap of windows, mel channels per octave."""

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from statistics import fmean
from typing import Any

from audiostride.analysis.cutoffs import channels_per_octave
from audiostride.analysis.strided_layers import frontend_strides
from audiostride.frontends.build import build_frontend
from audiostride.frontends.frontend import Frontend, SoundFrontend
from audiostride.frontends.leaf import Leaf
from audiostride.frontends.log_mel import LogMel
from audiostride.models.classifier import Classifier
from audiostride.tables import Spread

Rows = list[dict[str, Any]]
# Octaves around which channels are counted, as far as a frontend has channels there.
OCTAVES_HZ = tuple(125 * 2**octave for octave in range(11))
# The quantities in the order of tables. # stands for a number.
_ORDER = (
    "hop_ms", "nominal_hop_ms", "overlap_#_ms", "mel_channels", "nominal_mel_channels",
    "channels_per_octave_#_hz", "lowest_centre_hz", "highest_centre_hz", "narrowest_band_hz",
    "widest_band_hz",
)  # fmt: skip


def learns_resolution(frontend: Frontend) -> bool:
    """Return whether a frontend learns its hop, or its hop and its mel channels."""
    return frontend.strides is not None


def windows_ms(frontend: SoundFrontend) -> tuple[float, ...]:
    """Return the lengths of a frontend's analysis windows in milliseconds; of LEAF, that of its filters."""
    settings = frontend.configuration()
    return tuple(settings["windows_ms"]) if "windows_ms" in settings else (settings["window_ms"],)


def resolution(frontend: SoundFrontend, seconds: float = 1.0) -> dict[str, float]:
    """Return what a frontend resolves at present, in physical units.

    Args:
        frontend: any frontend, trained or not.
        seconds: length of the sound. A learned hop depends on it a little, since frames are whole.

    Returns:
        From the name of each quantity to its value:

        - hop_ms: distance between the frames of the network's input;
        - nominal_hop_ms: stride times the dense hop, where the hop is learned. The hop is a little longer,
          because the number of frames is rounded down;
        - overlap_25_ms and so on: length of each window divided by the hop;
        - mel_channels: number of channels of the network's input; of LEAF, of its filters;
        - nominal_mel_channels: dense channels divided by the stride, where mel channels are learned;
        - channels_per_octave_1000_hz and so on: channels of the network's input in an octave around a
          frequency, see `channels_per_octave`;
        - lowest_centre_hz, highest_centre_hz, narrowest_band_hz and widest_band_hz: range of the centre
          frequencies and of the bandwidths of LEAF's filters.
    """
    samples = frontend.samples(seconds)
    frames, (time, mel) = frontend.frames(samples), frontend.size(samples)
    time_stride, mel_stride = frontend_strides(frontend)
    dense_hop = 1000 * frontend.hop / frontend.sample_rate
    hop = dense_hop * frames / time
    found: dict[str, float] = {"hop_ms": hop, "mel_channels": mel}
    found |= {f"overlap_{window:g}_ms": window / hop for window in windows_ms(frontend)}
    if time_stride is not None:
        found["nominal_hop_ms"] = dense_hop * time_stride
    if mel_stride is not None:
        found["nominal_mel_channels"] = frontend.channels / mel_stride
    for hertz in OCTAVES_HZ:
        with suppress(ValueError):  # there are no channels around this frequency
            per_octave = channels_per_octave(frontend, hertz) * mel / frontend.channels
            found[f"channels_per_octave_{hertz}_hz"] = per_octave
    if isinstance(frontend, Leaf):
        centres, bands = (values.tolist() for values in frontend.bands())
        found |= {"lowest_centre_hz": min(centres), "highest_centre_hz": max(centres)}
        found |= {"narrowest_band_hz": min(bands), "widest_band_hz": max(bands)}
    return {name: found[name] for name in sorted(found, key=_place)}


def resolution_table(classifier: Classifier) -> Rows:
    """Return what a classifier's frontend resolves, beside where training began and what is usual.

    Returns:
        Rows with quantity (see `resolution`), value (at present), at_start (of the same settings untrained)
        and usual (of the paper's log-mel spectrograms: a hop of 10 ms, windows of 25 ms and 64 channels at
        16 kHz). A quantity that a frontend does not have is None. There are no rows for images.

    >>> resolution_table(Classifier({"word": ["yes", "no"]}))[0]
    {'quantity': 'hop_ms', 'value': 10.0, 'at_start': 10.0, 'usual': 10.0}
    """
    seconds, untrained = classifier.window_s, build_frontend(classifier.frontend_settings)
    if not isinstance(untrained, SoundFrontend):
        return []
    start, usual = resolution(untrained, seconds), _usual()
    return [
        {"quantity": name, "value": value, "at_start": start.get(name), "usual": usual.get(name)}
        for name, value in resolution(classifier.sound_frontend, seconds).items()
    ]


def side_by_side(tables: Sequence[tuple[str, Rows]]) -> Rows:
    """Return the rows of several runs together, those of the same quantity below each other.

    Args:
        tables: for each run its name, and its rows from `resolution_table`.
    """
    rows = [
        {"quantity": row["quantity"], "run": name, **_without_quantity(row)}
        for name, table in tables
        for row in table
    ]
    return sorted(rows, key=lambda row: _place(row["quantity"]))


def resolution_means(tables: Sequence[tuple[str, Rows]]) -> Rows:
    """Average the resolutions of each group of runs.

    Args:
        tables: for each run the name of its group, and its rows from `resolution_table`.

    Returns:
        One row per quantity and group: quantity, group, runs (number of runs that have the quantity), value
        (a `Spread`), at_start (a mean) and usual.
    """
    members: dict[tuple[str, str], Rows] = {}
    for group, table in tables:
        for row in table:
            members.setdefault((row["quantity"], group), []).append(row)
    groups = list(dict.fromkeys(group for group, _ in tables))
    return [
        {
            "quantity": quantity,
            "group": group,
            "runs": len(rows),
            "value": Spread.of(row["value"] for row in rows),
            "at_start": _mean([row["at_start"] for row in rows]),
            "usual": rows[0]["usual"],
        }
        for (quantity, group), rows in sorted(
            members.items(), key=lambda item: (_place(item[0][0]), groups.index(item[0][1]))
        )
    ]


def column_per_group(means: Rows) -> Rows:
    """Return the rows of `resolution_means` as one row per quantity, for people to read.

    Returns:
        Rows with quantity (see `quantity_text`), a column for each group by its name, and usual.
    """
    groups = list(dict.fromkeys(row["group"] for row in means))
    rows: dict[str, dict[str, Any]] = {}
    for mean in means:
        name = mean["quantity"]
        row = rows.setdefault(name, {"quantity": quantity_text(name), **dict.fromkeys(groups)})
        row[mean["group"]] = mean["value"]
        row["usual"] = mean["usual"]
    return list(rows.values())


def as_text(rows: Rows) -> Rows:
    """Return rows for people to read: with `quantity_text`, and without the names of runs if there is one."""
    several = len({row.get("run") for row in rows}) > 1
    shown = rows if several else [{k: v for k, v in row.items() if k != "run"} for row in rows]
    return [row | {"quantity": quantity_text(row["quantity"])} for row in shown]


def quantity_text(quantity: str) -> str:
    """Return the name of a quantity as people read it.

    >>> quantity_text("hop_ms"), quantity_text("channels_per_octave_125_hz")
    ('hop in ms', 'channels per octave at 125 Hz')
    """
    text = re.sub(r"overlap_([\d.]+)_ms", r"overlap of windows of \1 ms", quantity)
    text = re.sub(r"octave_(\d+)_hz", r"octave at \1 Hz", text)
    return text.replace("_ms", " in ms").replace("_hz", " in Hz").replace("_", " ")


@cache
def _usual() -> dict[str, float]:
    return resolution(LogMel())


def _place(quantity: str) -> tuple[int, float]:
    """Return the place of a quantity in tables: that of its kind, and its number."""
    number = re.search(r"_([\d.]+)_", quantity)
    kind = quantity.replace(number[1], "#") if number else quantity
    return _ORDER.index(kind), float(number[1]) if number else 0.0


def _without_quantity(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "quantity"}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None
