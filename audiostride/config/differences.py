"""In which settings recipes differ, and which of these differences matter."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from audiostride.config.arguments import flatten
from audiostride.config.settings import Recipe

# Settings that may change when a run is resumed. Corpora are compared by their contents, not their folders.
FREE = ("trainer.", "data.corpus", "data.workers")

# Settings that cannot change the result of a run, apart from chance and rounding. Everything else does, also
# arguments of the Trainer such as the precision or the clipping of gradients.
_IRRELEVANT = {
    "training.seed",
    "data.workers",
    "trainer.accelerator",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.enable_autolog_hparams",
    "trainer.profiler",
    "trainer.detect_anomaly",
}


def flat(recipe: Recipe) -> dict[str, Any]:
    """Return every setting of a recipe by its dotted name, as on the command line."""
    return flatten(asdict(recipe))


def changed(before: Recipe, now: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which two recipes differ: from names to both values."""
    old, new = flat(before), flat(now)
    names = sorted(old.keys() | new.keys())
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def differences(recipes: Sequence[Recipe]) -> list[dict[str, Any]]:
    """Return for each recipe its values of the settings that are not the same in all of them.

    The seed and settings that cannot change the result, such as the number of workers, are left out.
    """
    all_settings = [flat(recipe) for recipe in recipes]
    names = dict.fromkeys(name for settings in all_settings for name in settings)
    differing = [
        name
        for name in names
        if name not in _IRRELEVANT
        and any(settings.get(name) != all_settings[0].get(name) for settings in all_settings)
    ]
    return [{name: settings.get(name) for name in differing} for settings in all_settings]
