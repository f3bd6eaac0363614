"""The network that settings describe, found by its name."""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from inspect import signature
from typing import Any, get_type_hints

import torch

from audiostride.config.network_names import NETWORKS, network_names
from audiostride.config.ranges import fits
from audiostride.config.settings import ModelSettings, Recipe
from audiostride.errors import UserError
from audiostride.frontends.build import build_frontend
from audiostride.layers import Window
from audiostride.models.trunk import Trunk

# The arguments that every network takes. All others of its constructor are its own options.
_COMMON = ("channels", "strides", "downsampling", "window", "shared", "in_channels")


def build_trunk(settings: ModelSettings, images: int = 1) -> Trunk:
    """Build the untrained network that the settings describe, for so many spectrograms of the same sound.

    Raises:
        UserError: if the network refuses the settings.
    """
    try:
        return build_network(
            settings.network,
            settings.options,
            channels=settings.channels,
            strides=settings.strides,
            downsampling=settings.downsampling,
            window=Window(settings.smoothness, settings.ramp, settings.multiple),
            shared=settings.shared,
            in_channels=images,
        )
    except ValueError as error:
        raise UserError(f"model.network {settings.network}: {error}") from error


def with_defaults(settings: ModelSettings, trunk: Trunk) -> ModelSettings:
    """Return the settings of a network, with its own defaults in place of those that are not given."""
    return replace(settings, channels=trunk.channels, strides=trunk.initial_strides)


def with_network(recipe: Recipe) -> Recipe:
    """Return a recipe in which nothing depends on the defaults of its network.

    Raises:
        UserError: if the network refuses its settings.
    """
    images = build_frontend(recipe.frontend).images
    with torch.device("meta"):
        trunk = build_trunk(recipe.model, images)
    return replace(recipe, model=with_defaults(recipe.model, trunk))


def network_class(name: str) -> type[Trunk]:
    """Return the class of the network with this name, that of its file in `audiostride.models.networks`.

    Raises:
        ValueError: if there is no such network.
    """
    if name not in network_names():
        raise ValueError(f"there is no network {name}: give one of {', '.join(network_names())}")
    module = import_module(f"{NETWORKS}.{name}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Trunk) and value.__module__ == module.__name__
    )
    return found


def build_network(name: str, options: Mapping[str, Any], **arguments: Any) -> Trunk:
    """Build an untrained network by its name.

    Args:
        name: its name.
        options: its own options, as plain values.
        **arguments: what `Trunk` takes; None for the network's default.

    Raises:
        ValueError: if there is no such network or option, or if a value is wrong.
    """
    network = network_class(name)
    check_options(name, network, options)
    given = {argument: value for argument, value in arguments.items() if value is not None}
    return network(**given, **options)


def check_options(name: str, network: type[Trunk], options: Mapping[str, Any]) -> None:
    """Raise `ValueError` if a network has no such option, or if its value has another type or range."""
    own = [parameter for parameter in signature(network).parameters if parameter not in _COMMON]
    hints = get_type_hints(network.__init__, include_extras=True)
    for option, value in options.items():
        if option not in own:
            known = f"its options are {', '.join(own)}" if own else "it has none"
            raise ValueError(f"model.options.{option}: the network {name} has no such option, {known}")
        if not fits(value, hints[option]):
            raise ValueError(
                f"model.options.{option} of the network {name} cannot be {value!r}: see {network.__name__} "
                "in the reference of networks"
            )
