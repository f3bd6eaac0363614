"""Recipes: YAML files with the settings that differ from the paper's defaults, possibly over a `base`.

A recipe's name becomes a `Recipe` in three steps: `find` its file, `read` the file and its bases as plain
settings, `build` the dataclass. `load` does all three.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from audiostride.config import yaml
from audiostride.config.arguments import (
    flatten,
    given_values,
    instantiate,
    parse,
    parse_settings,
    recipe_parser,
)
from audiostride.config.differences import FREE, flat
from audiostride.config.messages import check_keys, did_you_mean
from audiostride.config.run_folder import CONFIG, check_model, is_model_folder
from audiostride.config.settings import ModelSettings, Recipe
from audiostride.errors import UserError


def load(name: str) -> Recipe:
    """Return the recipe of this name or file.

    Raises:
        UserError: there is no such recipe, or something in its file or its bases is wrong.
    """
    file = find(name)
    return build(read(file), file)


def load_with_options(
    parser: ArgumentParser,
    arguments: Sequence[str],
    read_network: Callable[[str, Namespace], dict[str, Any]] | None = None,
) -> tuple[Path, Recipe, Namespace]:
    """Read the recipe that a command names as its argument `recipe`, and put the command's options on top.

    Args:
        parser: the command's parser, which knows all settings of a recipe.
        arguments: the arguments of the command.
        read_network: see `with_network`; its second argument is the parsed arguments. Without it, the network
            is that of the recipe and the options alone.

    Returns:
        The recipe's file, the recipe with the options, and the parsed arguments of the command.

    Raises:
        UsageError: an argument is wrong.
        UserError: the recipe is wrong, with or without the options.
    """
    args = parse(parser, arguments)
    file = find(args.recipe)
    settings = read(file)
    if source := args.get("init_from"):
        settings = merge(settings, {"training": {"init_from": source}})
    below = settings
    if read_network is not None:
        given = given_values(parser, arguments)
        below = with_network(settings, given, lambda source: read_network(source, args))
    if below is settings:
        build(settings, file)  # a mistake in the file is no mistake in the arguments
    recipe = build_with_options(parser, arguments, {"recipe": str(file), **below})
    return file, recipe, args


def with_network(
    settings: dict[str, Any], given: Mapping[str, Any], read_network: Callable[[str], dict[str, Any]]
) -> dict[str, Any]:
    """Return settings with network and frontend of `training.init_from`, if there is one, below them.

    Args:
        settings: groups of settings.
        given: the settings that go on top of them later, in groups.
        read_network: returns the groups `model` and `frontend` of a trained model, from its folder or file.

    Raises:
        UserError: if the settings ask for another shape than that of the network.
    """
    merged = merge(settings, dict(given))
    source = (merged.get("training") or {}).get("init_from")
    if not source:
        return settings
    network = read_network(source)
    check_network(merged.get("model") or {}, network["model"], source)
    return merge(network, settings)


def check_network(model: Mapping[str, Any], trained: Mapping[str, Any], source: str) -> None:
    """Raise `UserError` if the weights of a trained network have other shapes than those of a network.

    The network, its options and its numbers of channels decide on these shapes.

    Args:
        model: settings of the network, those that are given.
        trained: settings of the trained network.
        source: where that was read.
    """
    trained = {"network": ModelSettings.network, "options": {}} | dict(trained)  # up to version 0.5.0
    for name in ("network", "channels", "options"):
        value, before = model.get(name), trained.get(name)
        if isinstance(value, list | tuple) and isinstance(before, list | tuple):
            value, before = list(value), list(before)
        if value not in (None, {}, before):
            raise UserError(
                f"model.{name} is {value}, but {source} has {before}: leave model.{name} out (the recipe "
                "fine_tune does), or give that of the model to train further"
            )


def build_with_options(parser: ArgumentParser, arguments: Sequence[str], settings: dict[str, Any]) -> Recipe:
    """Return the recipe that has these settings, with the options of a command on top.

    Args:
        parser: the command's parser, which knows all settings of a recipe.
        arguments: the arguments of the command.
        settings: groups of settings, and the values of other arguments of the command.

    Raises:
        UsageError: an argument is wrong.
        UserError: a setting is wrong, with or without the options.
    """
    parse(parser, arguments)  # what is wrong with the arguments is reported first
    settings = without_other_network(settings, given_values(parser, arguments))
    return instantiate(Recipe, parser, parse(parser, arguments, parse_settings(parser, settings)))


def read_config(run: Path) -> Recipe:
    """Return the recipe that a run was trained with.

    Raises:
        UserError: the folder is missing, is not a run, or was written by another version of audiostride.
    """
    if not run.is_dir():
        raise UserError(f"there is no run at {run}: give the folder that audiostride train made")
    if not (run / CONFIG).is_file():
        raise UserError(f"{run} is no run, {CONFIG} is missing: give the folder that audiostride train made")
    try:
        return build(read(run / CONFIG), run / CONFIG)
    except UserError as error:
        raise UserError(f"{error}; if another version of audiostride wrote it, train again") from error


def check_trained(model: Path) -> None:
    """Raise an error if a path cannot be a trained model, before torch is imported.

    Args:
        model: a run folder, a checkpoint file or a model folder.

    Raises:
        UserError: it is none of them, or the run's recipe cannot be read.
    """
    check_model(model)
    if model.is_dir() and not is_model_folder(model):
        read_config(model)


def recipe_of(model: Path, saved: Mapping[str, Any]) -> Recipe | None:
    """Return the recipe that a model was trained with, or None if it is not known.

    Args:
        model: a run folder, a checkpoint file or a model folder.
        saved: the content of the checkpoint or model folder.

    Raises:
        UserError: the config.yaml of a run cannot be read, or is not that of the checkpoint.
    """
    run = model if model.is_dir() else model.parent.parent
    if (run / CONFIG).is_file():
        recipe = read_config(run)
        check_config(recipe, saved, run)
        return recipe
    try:
        return build(saved["recipe"]) if saved.get("recipe") else None
    except UserError:  # a recipe of another version of audiostride
        return None


def find(name: str, kind: Literal["recipe", "study"] = "recipe") -> Path:
    """Return the file of a recipe or a study.

    Args:
        name: a path, or the name of a file that comes with audiostride.
        kind: what to look for.

    Raises:
        UserError: there is no such file.
    """
    if Path(name).is_file():
        return Path(name)
    installed = Path(__file__).parents[1] / "recipes"
    folder = installed if installed.is_dir() else Path(__file__).parents[2] / "recipes"
    folder = folder / "studies" if kind == "study" else folder
    if (folder / f"{name}.yaml").is_file():
        return folder / f"{name}.yaml"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    hint = did_you_mean(name, known, otherwise="give a YAML file or one of")
    raise UserError(f"there is no {kind} {name}: {hint}")


def read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the settings in a recipe file on top of those of its bases.

    The key `base` holds a recipe, or a list of recipes each of which goes on top of those before it. A base
    is a file in the same folder, or what `find` finds.

    Args:
        path: the recipe file.
        above: the recipes whose bases led to this one.

    Raises:
        UserError: a file cannot be read, a key is no setting, or a recipe is its own base.
    """
    return _on_bases(read_yaml(path), path, above)


def from_python(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that a Python program gives, on top of those of their `base`.

    Args:
        settings: what a recipe file may hold. A setting may also be written with its group, as
            {"training.steps": 500}, and a group as a dataclass.

    Raises:
        UserError: a key is no setting, or a base is wrong.
    """
    plain = {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in settings.items()
    }
    return _on_bases(grouped(plain), Path("the settings"), ())


def grouped(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in groups, as in a recipe: {"model": {"smoothness": 4}} for {"model.smoothness": 4}."""
    groups: dict[str, Any] = {}
    for name, value in settings.items():
        group, dot, setting = str(name).partition(".")
        groups = merge(groups, {group: {setting: value} if dot else value})
    return groups


def _on_bases(settings: dict[str, Any], path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Return settings on top of those of their bases, see `read`."""
    bases = settings.pop("base", None) or []
    bases = bases if isinstance(bases, list) else [bases]
    if not all(isinstance(base, str) for base in bases):
        raise UserError(f"{path}: base must be a recipe's name or file, or a list of them")
    check_keys(settings, Recipe, path)
    if path.resolve() in above:
        raise UserError(f"{path} is its own base: give it another base, or none")
    below: dict[str, Any] = {}
    for base in bases:
        neighbour = path.parent / base
        file = neighbour if neighbour.is_file() else find(base)
        below = merge(below, read(file, (*above, path.resolve())))
    return merge(below, settings)


def read_yaml(path: Path, kind: Literal["recipe", "study"] = "recipe") -> dict[str, Any]:
    """Return the content of one recipe or study file.

    Raises:
        UserError: the file cannot be read, or does not hold a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YamlError) as error:
        raise UserError(f"the {kind} {path} cannot be read: {error}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        example = {"recipe": "training: {steps: 1000}", "study": "grid: {training.seed: [0, 1]}"}[kind]
        raise UserError(f"the {kind} {path} must hold settings, as in '{example}'")
    return content


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return the settings `below`, with those of `above` replacing them group by group.

    If `above` chooses another network, the shape of the network below is dropped.
    """
    below = without_other_network(below, above)
    both = below.keys() & above.keys()
    groups = {k for k in both if isinstance(below[k], dict) and isinstance(above[k], dict)}
    return below | above | {k: merge(below[k], above[k]) for k in groups}


# Settings of `model` that describe one network, and mean nothing for another one.
_SHAPE = ("channels", "strides", "options")


def without_other_network(settings: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in groups, without the shape of their network if the settings above choose another."""
    model, chosen = settings.get("model"), above.get("model")
    if not isinstance(model, dict) or not isinstance(chosen, dict):
        return settings
    before = model.get("network", ModelSettings.network)
    if chosen.get("network", before) == before:
        return settings
    return settings | {"model": {name: value for name, value in model.items() if name not in _SHAPE}}


def build(settings: dict[str, Any], source: Path | None = None) -> Recipe:
    """Return the recipe that has these settings.

    Args:
        settings: groups of settings, as `read` returns them.
        source: the file that they were read from, for messages.

    Raises:
        UserError: a value has the wrong type, is out of range, or contradicts another one.
    """
    try:
        return instantiate(Recipe, _checker(), parse_settings(_checker(), settings))
    except UserError as error:
        raise UserError(f"{source}: {error}" if source else str(error)) from error


@cache
def _checker() -> ArgumentParser:
    return recipe_parser()  # making one takes longer than using it


def base_of(recipe: Recipe) -> tuple[str, Recipe]:
    """Return the recipe of the paper that a recipe is nearest to: its name and its content.

    Commands that repeat a run name it, with options for all that differs.
    """
    name = {None: "speech_commands", "folder": "imagenet"}.get(recipe.data.images, recipe.data.images)
    assert name is not None
    return name, load(name)


def check_config(recipe: Recipe, checkpoint: Mapping[str, Any], run: Path) -> None:
    """Raise an error if a run's config.yaml is not the recipe that its checkpoint was trained with.

    Args:
        recipe: what `read_config` returns.
        checkpoint: the content of the checkpoint. Those of earlier versions hold no recipe.
        run: the run folder, for the message.

    Raises:
        UserError: a setting differs that cannot change when a run is resumed.
    """
    trained, now = flatten(checkpoint.get("recipe", {})), flat(recipe)
    for name in sorted(trained.keys() & now.keys()):
        if trained[name] != now[name] and not name.startswith((*FREE, "training.steps")):
            raise UserError(
                f"{run / CONFIG} says {name} {now[name]}, but the checkpoint was trained with "
                f"{trained[name]}: restore the file"
            )
