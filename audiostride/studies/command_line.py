"""The runs of a study, with the options of a command line on top of its settings."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from audiostride.config import recipe as recipes
from audiostride.config.arguments import given_values
from audiostride.config.settings import Recipe
from audiostride.studies import study_file
from audiostride.studies.plan import Run, Settings, Study, check_options, expand


def plan_runs(
    name: str, recipe: str | None, out: Path | None, parser: ArgumentParser, arguments: Sequence[str]
) -> tuple[Study, list[Run]]:
    """Read a study and return it with its runs.

    Args:
        name: a study file, or the name of a study that comes with audiostride.
        recipe: a recipe to use instead of the study's own, as `audiostride train` takes it.
        out: folder for the runs; by default runs/NAME.
        parser: the command's parser, which knows all settings of a recipe.
        arguments: the arguments of the command.

    Raises:
        UsageError: an argument is wrong.
        UserError: the study is wrong, with or without the options.
    """
    study = study_file.read(recipes.find(name, "study"), recipe)
    given = given_values(parser, arguments)
    check_options(study, given)

    def build(settings: Settings) -> Recipe:
        return recipes.build_with_options(parser, arguments, {"study": name, **settings})

    def complete(settings: Settings, folder: Path) -> Settings:
        return recipes.with_network(settings, given, lambda source: _read_network(source, folder))

    return study, expand(study, out or Path(f"runs/{study.file.stem}"), build, complete)


def _read_network(source: str, folder: Path) -> Settings:
    from audiostride.training.initial_weights import network_settings

    return network_settings(source, folder)
