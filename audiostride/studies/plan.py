"""The runs of a study: every combination of the values in a grid of settings, over one recipe.

This module does not import torch, so that mistakes in a study are reported at once.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from audiostride.config import recipe as recipes
from audiostride.config.arguments import flatten
from audiostride.config.ranges import check_ranges
from audiostride.config.settings import Count, Frames, Recipe
from audiostride.errors import UserError

SEED = "training.seed"

Settings = dict[str, Any]  # in groups, as in a recipe
Axis = dict[str, Settings]  # from the name of each value to its settings
Grid = dict[str, Axis]  # from the name of each axis


@dataclass
class Table:
    """One table of a study's results, with a row per combination of the axes that are not averaged over."""

    title: str = ""
    """Title above the table; by default Accuracy or Learned strides."""
    show: Literal["accuracy", "strides"] = "accuracy"
    """Accuracy on the test split and multiplications, per task; or strides and their cut-offs, per layer.
    Tables of accuracies have the hop and the mel channels if a frontend learns them."""
    over: list[str] | None = None
    """Axes of the grid to average over; by default training.seed."""
    where: dict[str, list[bool | int | float | str | None]] = field(default_factory=dict)
    """Only runs with these values of an axis."""
    against: dict[str, bool | int | float | str | None] = field(default_factory=dict)
    """Of accuracies: compare each row with the one that has this value of an axis and equals it in all other
    axes; by default with the first row."""
    lines: str | None = None
    """Of the figure: the axis whose values are the lines; by default each row is a point with its name."""
    across: str | None = None
    """Of the figure: the axis whose values are side by side; by default rows are drawn against their cost."""
    layers: list[Count] | None = None
    """Only strides of these layers, counted from 1. 0 is a frontend that learns its resolution."""
    frames: Frames | None = None
    """Number of frames for which cut-offs are computed; if the hop is learned, of the dense frames that it is
    learned from. By default that of the runs' windows."""

    def __post_init__(self) -> None:
        self.title = self.title or {"accuracy": "Accuracy", "strides": "Learned strides"}[self.show]
        check_ranges(self, "")

    def includes(self, run: "Run") -> bool:
        """Return whether the table shows a run."""
        return all(run.values[axis] in names for axis, names in self.where.items())

    def axes(self, grid: "Grid") -> list[str]:
        """Return the axes of a grid that the table does not average over: they identify its rows."""
        return [axis for axis in grid if axis not in (self.over or ())]


@dataclass(frozen=True)
class Study:
    """A grid over one recipe.

    Attributes:
        file: the file that it was read from.
        recipe: name or file of the recipe, as `audiostride train` takes it.
        settings: settings of all runs, on top of the recipe.
        grid: from each axis to the names of its values, and from those to settings.
        tables: tables of the results.
    """

    file: Path
    recipe: str
    settings: Settings
    grid: Grid
    tables: list[Table]


@dataclass(frozen=True)
class Run:
    """One combination of the values of a grid.

    Attributes:
        name: the names of its values, joined by "-".
        values: from each axis to the name of its value.
        recipe: what to train.
        folder: folder of the run.
    """

    name: str
    values: dict[str, str]
    recipe: Recipe
    folder: Path

    @property
    def steps(self) -> int:
        """Number of steps of the recipe."""
        return self.recipe.training.steps


def expand(
    study: Study,
    out: Path,
    build: Callable[[Settings], Recipe],
    complete: Callable[[Settings, Path], Settings] = lambda settings, folder: settings,
) -> list[Run]:
    """Return every run of a study; the last axis changes first.

    Args:
        study: the study.
        out: folder of the runs' folders.
        build: a function that checks settings and returns a recipe, perhaps with further settings on top.
        complete: a function that returns the settings of the run in a folder with others below them.

    Raises:
        UserError: if a value has the wrong type or is out of range, if two values contradict each other, or
            if two runs would have the same name.
    """
    base = recipes.merge(recipes.read(recipes.find(study.recipe)), study.settings)
    combinations = list(itertools.product(*study.grid.values()))
    _check_names(study, ["-".join(names) for names in combinations])
    runs = []
    for names in combinations:
        values, name = dict(zip(study.grid, names, strict=True)), "-".join(names)
        of_values = (study.grid[axis][value] for axis, value in values.items())
        try:
            recipe = build(complete(reduce(recipes.merge, of_values, base), out / name))
        except UserError as error:
            raise UserError(f"{study.file}: {error} (in run {name})") from error
        runs.append(Run(name, values, recipe, out / name))
    return runs


def _check_names(study: Study, names: Sequence[str]) -> None:
    seen = set()
    for name in names:
        folded = name.casefold()  # some file systems ignore case
        if folded in seen:
            raise UserError(f"{study.file}: two runs of the grid would have the name {name}: rename values")
        seen.add(folded)


def check_options(study: Study, given: Settings) -> None:
    """Raise an error if an option sets for all runs what the grid sets for each.

    Args:
        study: the study.
        given: the options that were given, in groups.

    Raises:
        UserError: with the names of the axis and the option.
    """
    for axis, values in study.grid.items():
        for name in sorted(setting_names(values) & flatten(given).keys()):
            raise UserError(f"{study.file}: grid: {axis} sets {name}: leave --{name} out, or change the grid")


def setting_names(axis: Axis) -> set[str]:
    """Return the dotted names of all settings that an axis sets."""
    return {name for settings in axis.values() for name in flatten(settings)}
