"""Study files: a recipe, settings for all runs, a grid of settings, and tables of the results.

recipe: speech_commands_small               name or file of a recipe; a file may be beside the study
settings:                                   settings of all runs, on top of the recipe
  training: {steps: 600}
grid:                                       every combination is a run: OUT/usual-strided-0
  initial:                                  an axis of named values, each with settings
    usual: {}
    poor: {model.strides: [[3, 3], …]}
  model.downsampling: [strided, diffstride] a setting with its values
  training.seed: [0, 1, 2]
tables:                                     what --summary shows, see `Table`
  - {title: Poor strides, where: {initial: [poor]}, over: [training.seed]}

Settings may be written as model.smoothness: 4 or, as in a recipe, model: {smoothness: 4}.
"""

import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostride.config import recipe as recipes
from audiostride.config.arguments import instantiate, make_parser, parse_settings
from audiostride.config.messages import check_keys, did_you_mean
from audiostride.config.settings import Recipe
from audiostride.errors import UserError
from audiostride.studies.plan import SEED, Axis, Grid, Settings, Study, Table, setting_names

# Names that are allowed in a folder's name on any system, and in a word of a shell without quotes.
_NAME = re.compile(r"\w[\w.+=,-]*")


@dataclass
class _Keys:
    """The keys of a study file."""

    recipe: str
    grid: dict
    settings: dict
    tables: list


def read(file: Path, recipe: str | None = None) -> Study:
    """Read a study file and check everything in it except the values of settings.

    Args:
        file: a YAML file.
        recipe: name or file of a recipe to use instead of the study's.

    Raises:
        UserError: if the file cannot be read, or something in it is wrong.
    """
    content = recipes.read_yaml(file, "study")
    check_keys(content, _Keys, file)
    own_recipe = _read_recipe(content.get("recipe"), file)
    grid = _read_grid(content.get("grid"), file)
    settings = _read_settings(content.get("settings", {}), f"{file}: settings")
    return Study(
        file, recipe or own_recipe, settings, grid, _read_tables(content.get("tables", [{}]), grid, file)
    )


def _read_recipe(name: Any, file: Path) -> str:
    if not isinstance(name, str):
        raise UserError(f"{file} must name its recipe, as in 'recipe: speech_commands_small'")
    neighbour = file.parent / name
    return str(neighbour) if neighbour.is_file() else name


def _read_settings(content: Any, place: str) -> Settings:
    """Return settings in groups, as in a recipe."""
    if not isinstance(content, dict):
        raise UserError(f"{place} must hold settings, as in '{{model.smoothness: 4}}'")
    settings = recipes.grouped(content)
    check_keys(settings, Recipe, place)
    return settings


def _read_grid(content: Any, file: Path) -> Grid:
    if not isinstance(content, dict) or not content:
        raise UserError(f"{file} must have a grid of settings, as in 'grid: {{training.seed: [0, 1, 2]}}'")
    grid = {str(axis): _read_axis(str(axis), values, file) for axis, values in content.items()}
    for one, other in itertools.combinations(grid, 2):
        for name in sorted(setting_names(grid[one]) & setting_names(grid[other])):
            raise UserError(f"{file}: grid: both {one} and {other} set {name}: leave it out of one of them")
    return grid


def _read_axis(axis: str, content: Any, file: Path) -> Axis:
    place, example = f"{file}: grid: {axis}", f"'{axis}: {{NAME: {{model.smoothness: 4}}, …}}'"
    if not isinstance(content, list | dict) or not content:
        raise UserError(f"{place} must be a list of values, or names with settings, as in {example}")
    if isinstance(content, list) and "." not in axis:
        raise UserError(
            f"{place} lists values but is no setting: give each value a name and settings, as in {example}"
        )
    values: Axis = {}
    for value in content:
        name = _value_name(value)
        _check_value_name(name, axis, place)
        if name in values:
            raise UserError(f"{place} has the value {name} twice: leave one out")
        if isinstance(content, list):
            values[name] = _read_settings({axis: value}, f"{file}: grid")
        else:
            values[name] = _read_settings(content[value], f"{place}: {name}")
    return values


def _value_name(value: Any) -> str:
    """Return a value as part of a run's name: text as it is, 4.0 as 4, and anything else as in YAML."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value)


def _check_value_name(name: str, axis: str, place: str) -> None:
    if not _NAME.fullmatch(name):
        setting = axis if "." in axis else "model.smoothness"
        raise UserError(
            f"{place}: {name} cannot be part of a folder's name: give each value a name and settings, as in "
            f"'{axis}: {{NAME: {{{setting}: …}}, …}}'"
        )


def _read_tables(content: Any, grid: Grid, file: Path) -> list[Table]:
    if not isinstance(content, list) or not content or not all(isinstance(table, dict) for table in content):
        raise UserError(f"{file}: tables must be a list, as in '[{{over: [{SEED}], show: accuracy}}]'")
    tables: list[Table] = []
    for number, keys in enumerate(content, 1):
        place = f"{file}: tables: number {number}"
        table = _read_table(keys, grid, place)
        if table.title in (other.title for other in tables):
            raise UserError(f"{place} has the title {table.title} of an earlier table: give it another title")
        tables.append(table)
    return tables


def _read_table(keys: dict[str, Any], grid: Grid, place: str) -> Table:
    check_keys(keys, Table, place)
    parser = make_parser()
    parser.add_class_arguments(Table, None)
    try:
        table = instantiate(Table, parser, parse_settings(parser, keys))
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    if table.over is None:
        table.over = [SEED] if SEED in grid else []
    _check_axes(table, grid, place)
    table.where = {
        axis: [_named_value(value, axis, grid, place) for value in values]
        for axis, values in table.where.items()
    }
    table.against = {axis: _named_value(value, axis, grid, place) for axis, value in table.against.items()}
    for axis, value in table.against.items():
        if value not in table.where.get(axis, [value]):
            raise UserError(f"{place}: against asks for {value} of {axis}, which where leaves out")
    return table


def _check_axes(table: Table, grid: Grid, place: str) -> None:
    assert table.over is not None
    of_rows = {"against": [*table.against]}
    of_rows |= {key: [axis] for key in ("lines", "across") if (axis := getattr(table, key)) is not None}
    for axis in (*table.over, *table.where, *itertools.chain(*of_rows.values())):
        if axis not in grid:
            hint = did_you_mean(axis, grid, otherwise="it has")
            raise UserError(f"{place}: {axis} is no axis of the grid, {hint}")
    for key, axes in of_rows.items():
        for axis in axes:
            if axis in table.over:
                raise UserError(f"{place}: {key} needs a row for each value of {axis}: leave it out of over")
    if table.lines is not None and table.lines == table.across:
        raise UserError(f"{place}: lines and across both name {table.lines}: leave one out")


def _named_value(value: Any, axis: str, grid: Grid, place: str) -> str:
    """Return the name of a value of an axis, or raise `UserError` if the axis has no such value."""
    name = _value_name(value)
    if name not in grid[axis]:
        raise UserError(
            f"{place}: {axis} has no value {name}, {did_you_mean(name, grid[axis], otherwise='it has')}"
        )
    return name
