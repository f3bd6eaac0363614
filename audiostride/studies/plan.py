"""What a study file says: which runs there are, and which tables to make of them.

recipe: speech_commands_small               a recipe's name, or a file, beside the study or not
settings:                                   over the recipe, for all runs
  training: {steps: 600}
grid:                                       every combination is a run: OUT/usual-strided-0
  initial:                                  from names to settings
    usual: {}
    poor: {model.strides: [[3, 3], …]}
  model.downsampling: [strided, diffstride] a setting with its values
  training.seed: [0, 1, 2]
tables:                                     what --summary shows, see `Table`
  - {title: Poor strides, where: {initial: [poor]}, over: [training.seed]}

Settings may be written as model.smoothness: 4 or, as in a recipe, model: {smoothness: 4}.

Kept free of torch, so that mistakes are told at once.
"""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from audiostride.config import recipe as recipes
from audiostride.config.arguments import instantiate, make_parser, parse_settings
from audiostride.config.messages import check_keys
from audiostride.config.settings import Recipe
from audiostride.errors import UserError

SEED = "training.seed"

# What may be part of a folder's name on any system, and of an unquoted word in a shell.
_NAME = re.compile(r"\w[\w.+=,-]*")


@dataclass
class Table:
    """One table of a study's results, with a row per combination of the axes that are not averaged over."""

    title: str = ""
    """Shown above it; by default Accuracy or Learned strides."""
    show: Literal["accuracy", "strides"] = "accuracy"
    """Accuracy on the test split and multiplications, per task; or strides and their cut-offs, per layer."""
    over: list[str] | None = None
    """Axes of the grid to average over, by default training.seed."""
    where: dict[str, list[Any]] = field(default_factory=dict)
    """Of an axis these values only."""
    layers: list[int] | None = None
    """Strides of these layers only, counted from 1."""
    frames: int | None = None
    """Length of the spectrogram that the cut-offs are told for, 100 to the second; by default that
    of the runs' windows."""

    def __post_init__(self) -> None:
        self.title = self.title or {"accuracy": "Accuracy", "strides": "Learned strides"}[self.show]
        self.where = {axis: [_name(value) for value in values] for axis, values in self.where.items()}
        if self.frames is not None and self.frames < 1:
            raise ValueError(f"frames must be at least 1, but is {self.frames}")

    def takes(self, run: "Run") -> bool:
        """Whether a run is among those that it shows."""
        return all(run.values[axis] in names for axis, names in self.where.items())


@dataclass(frozen=True)
class Study:
    """A grid over one recipe.

    Attributes:
        file: where it was read.
        recipe: a name or file, as `audiostride train` takes it.
        settings: over the recipe, for all runs.
        grid: from each axis to the names of its values, and from those to settings.
        tables: of its results.
    """

    file: Path
    recipe: str
    settings: dict[str, Any]
    grid: dict[str, dict[str, dict[str, Any]]]
    tables: list[Table]


@dataclass(frozen=True)
class Run:
    """One combination of a grid: what to train, and where.

    Attributes:
        name: the names of its values, joined by "-".
        values: from each axis to the name of the value.
    """

    name: str
    values: dict[str, str]
    recipe: Recipe
    folder: Path

    @property
    def steps(self) -> int:
        return self.recipe.training.steps


@dataclass
class _File:
    """The keys of a study file."""

    recipe: str
    grid: dict
    settings: dict
    tables: list


def read(file: Path, recipe: str | None = None) -> Study:
    """Read a study file and check all of it but the values of settings.

    Args:
        file: YAML.
        recipe: to take instead of the file's own, as `audiostride train` takes it.

    Raises:
        UserError: where it cannot be read, or has something else than what belongs in it.
    """
    content = recipes.read_yaml(file, "study")
    check_keys(content, _File, file)
    own, grid = content.get("recipe"), content.get("grid")
    if not isinstance(own, str):
        raise UserError(f"{file} must name the recipe that it is over, as in 'recipe: speech_commands_small'")
    if not isinstance(grid, dict) or not grid:
        raise UserError(f"{file} must have a grid of settings, as in 'grid: {{training.seed: [0, 1, 2]}}'")
    beside = file.parent / own
    axes = {str(axis): _axis(str(axis), values, file) for axis, values in grid.items()}
    _check_apart(axes, file)
    return Study(
        file,
        recipe or (str(beside) if beside.is_file() else own),
        _settings(content.get("settings", {}), f"{file}: settings"),
        axes,
        _tables(content.get("tables", [{}]), axes, file),
    )


def expand(study: Study, out: Path, build: Callable[[dict[str, Any]], Recipe]) -> list[Run]:
    """Every run of a study, the last axis changing first.

    Args:
        study: what was read.
        out: the folder for their folders.
        build: checks settings and makes a recipe of them, perhaps with others on top.

    Raises:
        UserError: for a value of the wrong kind or out of range, or a combination that contradicts itself;
            where two runs would have the same name.
    """
    base = recipes.merge(recipes.read(recipes.find(study.recipe)), study.settings)
    runs: dict[str, Run] = {}
    for names in itertools.product(*study.grid.values()):
        values = dict(zip(study.grid, names, strict=True))
        settings = base
        for axis, value in values.items():
            settings = recipes.merge(settings, study.grid[axis][value])
        name = "-".join(names)
        if name.casefold() in runs:  # some file systems do not tell capital letters
            raise UserError(
                f"{study.file}: two runs of the grid would be called {name}: give their values other names"
            )
        try:
            recipe = build(settings)
        except UserError as error:
            raise UserError(f"{study.file}: {error} (in its run {name})") from error
        runs[name.casefold()] = Run(name, values, recipe, out / name)
    return list(runs.values())


def refuse(study: Study, given: dict[str, Any]) -> None:
    """Raise `UserError` where a setting given for all runs is one that the grid gives to each."""
    groups = {group: settings for group, settings in given.items() if isinstance(settings, dict)}
    for axis, values in study.grid.items():
        for name in sorted(_named(values) & _named({"": groups})):
            raise UserError(f"{study.file}: grid: {axis} sets {name}: leave --{name} out, or change the grid")


def _axis(axis: str, values: Any, file: Path) -> dict[str, dict[str, Any]]:
    """From the name of each value of an axis to its settings."""
    place, example = f"{file}: grid: {axis}", f"'{axis}: {{NAME: {{model.smoothness: 4}}, …}}'"
    if not isinstance(values, list | dict) or not values:
        raise UserError(f"{place} must be a list of values, or names with settings, as in {example}")
    if isinstance(values, list) and "." not in axis:
        raise UserError(
            f"{place} has values but is no setting: give each a name and settings, as in {example}"
        )
    pairs = [(v, {axis: v}) for v in values] if isinstance(values, list) else list(values.items())
    named: dict[str, dict[str, Any]] = {}
    for value, settings in pairs:
        name = _name(value)
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{place}: {name} cannot be part of a folder's name: give each value a name and settings, as "
                f"in '{axis}: {{NAME: {{{axis if '.' in axis else 'model.smoothness'}: …}}, …}}'"
            )
        if name in named:
            raise UserError(f"{place} has the value {name} twice: leave one out")
        named[name] = _settings(settings, f"{file}: grid" if isinstance(values, list) else f"{place}: {name}")
    return named


def _name(value: Any) -> str:
    """A value as part of a run's name: text as it is, 4.0 as 4, the rest as in YAML."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value)


def _settings(content: Any, place: str) -> dict[str, Any]:
    """Settings group by group, as in a recipe."""
    if not isinstance(content, dict):
        raise UserError(f"{place} must hold settings, as in '{{model.smoothness: 4}}'")
    grouped: dict[str, Any] = {}
    for name, value in content.items():
        group, dot, setting = str(name).partition(".")
        grouped = recipes.merge(grouped, {group: {setting: value} if dot else value})
    check_keys(grouped, Recipe, place)
    return grouped


def _named(values: dict[str, dict[str, Any]]) -> set[str]:
    """The settings that an axis sets, by their dotted names."""
    return {f"{group}.{name}" for one in values.values() for group in one for name in one[group]}


def _check_apart(grid: dict[str, dict[str, dict[str, Any]]], file: Path) -> None:
    for one, other in itertools.combinations(grid, 2):
        for name in sorted(_named(grid[one]) & _named(grid[other])):
            raise UserError(
                f"{file}: grid: both {one} and {other} set {name}: give it to one of them, or leave it out"
            )


def _tables(content: Any, grid: dict[str, Any], file: Path) -> list[Table]:
    if not isinstance(content, list) or not content or not all(isinstance(table, dict) for table in content):
        raise UserError(f"{file}: tables must be a list, as in '[{{over: [{SEED}], show: accuracy}}]'")
    tables: list[Table] = []
    for number, keys in enumerate(content, 1):
        place = f"{file}: tables: number {number}"
        table = _table(keys, place)
        table = replace(table, over=[SEED] if table.over is None and SEED in grid else table.over or [])
        for axis in (*(table.over or ()), *table.where):
            if axis not in grid:
                raise UserError(f"{place}: {axis} is no axis of the grid: there are {', '.join(grid)}")
        for axis, names in table.where.items():
            for name in names:
                if name not in grid[axis]:
                    raise UserError(f"{place}: {axis} has no value {name}: there are {', '.join(grid[axis])}")
        if table.title in (other.title for other in tables):
            raise UserError(f"{place} is called {table.title} like one before it: give it another title")
        tables.append(table)
    return tables


def _table(keys: dict[str, Any], place: str) -> Table:
    check_keys(keys, Table, place)
    checker = make_parser()
    checker.add_class_arguments(Table, None)
    try:
        return instantiate(Table, checker, parse_settings(checker, keys))
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
