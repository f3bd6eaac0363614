"""Reads trained classifiers: from run folders, checkpoint files and model folders."""

import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor

from audiostride.config import recipe as recipes
from audiostride.config.model_config import model_recipe
from audiostride.config.run_folder import DATA_STATES, checkpoint_path, data_state
from audiostride.config.settings import Recipe
from audiostride.errors import UserError
from audiostride.layers import freeze_
from audiostride.models.build import build_trunk
from audiostride.models.classifier import Classifier
from audiostride.models.model_folder import WEIGHT_PREFIX, fingerprint, read_model


def load(model: str | os.PathLike[str], checkpoint: str = "best") -> Classifier:
    """Load a trained classifier, in evaluation mode, on the CPU.

    Args:
        model: a run folder, a checkpoint file or a model folder.
        checkpoint: "best" or "last", if the first argument is a run folder.

    Raises:
        UserError: if there is no model, or if its files are damaged or not from audiostride.
    """
    path = checkpoint_path(Path(model), checkpoint)
    return restore(read_checkpoint(path), path)


def restore(saved: Mapping[str, Any], path: Path) -> Classifier:
    """Return the classifier in a checkpoint or a model folder, in evaluation mode, on the CPU.

    Args:
        saved: its content, see `read_checkpoint`.
        path: the checkpoint file or the model folder, for messages.

    Raises:
        UserError: if its weights do not fit its settings.
    """
    weights = {
        name.removeprefix(WEIGHT_PREFIX): value
        for name, value in saved["state_dict"].items()
        if name.startswith(WEIGHT_PREFIX)
    }
    try:
        labels = {
            str(task): [str(label) for label in labels]
            for task, labels in saved["classifier"]["labels"].items()
        }
        made_of = saved["classifier"]
        recipe = model_recipe(made_of["settings"], made_of.get("frontend", {}))
        window_s = _window_length(saved)
        _check_sizes(recipe, weights)
        with torch.random.fork_rng(devices=[]):  # the initial weights are replaced at once
            classifier = Classifier(labels, recipe.model, window_s, recipe.frontend)
        classifier.to(saved.get("folder", {}).get("dtype"))
        classifier.load_state_dict(weights)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} was written by another version of audiostride: train again") from error
    if saved.get("folder", {}).get("strides_frozen"):
        freeze_(classifier)
    classifier.origin = _origin(saved, classifier)
    return classifier.eval()


def _origin(saved: Mapping[str, Any], classifier: Classifier) -> dict[str, Any]:
    """Return what a checkpoint or a model folder says about the training, with a hash of the weights.

    The hash shows later whether the weights are still those.
    """
    folder = saved.get("folder") or {"sha256": fingerprint(classifier), "card": None}
    origin = {
        "step": saved["global_step"],
        "recipe": saved.get("recipe"),
        **data_state(saved),
        "sha256": folder["sha256"],
        "card": folder["card"],
    }
    return {name: value for name, value in origin.items() if value is not None}


def _window_length(saved: Mapping[str, Any]) -> float:
    """Return the length in seconds of the windows that a checkpoint was trained on."""
    recipe = saved.get("recipe", {})  # up to version 0.3.0 only the recipe has it
    window_s = saved["classifier"].get("window_s", recipe.get("data", {}).get("window_s", 1.0))
    return recipes.build({"data": {"window_s": window_s}}).data.window_s


def _check_sizes(recipe: Recipe, weights: Mapping[str, Tensor]) -> None:
    """Raise an error if the weights are not those of a trunk, before memory is allocated for it."""
    with torch.device("meta"):
        trunk = build_trunk(recipe.model, recipe.frontend.images).state_dict()
    if any(weights[f"trunk.{name}"].shape != value.shape for name, value in trunk.items()):
        raise ValueError("the weights do not fit the settings")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a whole checkpoint file or model folder, on the CPU.

    torch does not compare the checksums that it writes for every tensor, so this function does.

    Raises:
        UserError: if it is damaged or not from audiostride.
    """
    if path.is_dir():
        return read_model(path)
    try:
        with ZipFile(path) as archive:
            # torch reads nothing of an entry that is marked as a folder.
            intact = archive.testzip() is None and not any(i.external_attr for i in archive.infolist())
        saved = torch.load(path, map_location="cpu", weights_only=True) if intact else None
    except OSError as error:
        if error.filename:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        saved = None
    except Exception:  # a damaged file can raise almost any error
        saved = None
    if saved is None or not _is_checkpoint(saved):
        raise UserError(f"{path} is not a checkpoint of audiostride, or a damaged one")
    return saved


def _is_checkpoint(saved: Any) -> bool:
    match saved:
        case {
            "classifier": {"labels": dict(labels), "settings": dict()},
            "state_dict": dict(weights),
            "global_step": int(),
        }:
            lists = all(isinstance(names, list) for names in labels.values())
            names = [*labels, *weights, *(chain(*labels.values()) if lists else [None])]
            tensors = all(isinstance(value, Tensor) for value in weights.values())
            state = all(isinstance(saved.get(name, {}), dict) for name in (*DATA_STATES, "recipe"))
            return state and tensors and all(isinstance(name, str) for name in names)
    return False
