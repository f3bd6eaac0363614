"""A model as a folder, in the files that the Hugging Face hub knows: saving and reading.

model.safetensors   weights, strides and the statistics of the normalisation
config.json         labels, settings and origin, see `ModelConfig`, with a hash of the weights
README.md           model card

Nothing in these files is ever unpickled or executed. Files that audiostride does not know stay in the folder.
"""

import hashlib
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor

from audiostride.config import recipe as recipes
from audiostride.config.model_config import (
    TRAINING,
    DType,
    ModelConfig,
    is_model_config,
    model_recipe,
    read_model_config,
)
from audiostride.config.ranges import fits
from audiostride.config.run_folder import CARD, MODEL_CONFIG, WEIGHTS
from audiostride.errors import UserError
from audiostride.layers.learned_strides import diffstride_layers
from audiostride.models.classifier import Classifier
from audiostride.models.model_card import model_card

WEIGHT_PREFIX = "classifier."  # of the weights in a checkpoint of training
# The order in which new files replace old ones.
_FILES = (WEIGHTS, MODEL_CONFIG, CARD)
# Most bytes of the list of tensors in model.safetensors, and of a model card.
_LIST_BYTES, _CARD_BYTES = 1 << 24, 1 << 20
_LFS_POINTER = b"version https://git-lfs"


def save_model(classifier: Classifier, folder: Path, card: str | None = None) -> None:
    """Write a classifier to a model folder, see `Classifier.save`."""
    check_target(folder)
    config, weights = describe(classifier)
    text = card or known_card(classifier, config) or model_card(config, folder.resolve().name)
    contents = (weights, config.text().encode(), text.encode(errors="replace"))
    folder.mkdir(parents=True, exist_ok=True)
    _finish_publishing(folder)
    new_files = [_new(folder, name) for name in _FILES]
    try:
        for path, content in zip(new_files, contents, strict=True):
            path.write_bytes(content)
        _publish(folder)
    except OSError as error:
        error.filename = error.filename or str(folder)  # on a full disk, the error of a write names no file
        raise
    finally:
        for path in reversed(new_files):  # see _finish_publishing
            path.unlink(missing_ok=True)


def describe(classifier: Classifier) -> tuple[ModelConfig, bytes]:
    """Return the content of config.json and of model.safetensors for a classifier.

    Raises:
        UserError: if the weights are not those of the classifier's settings, or are not all finite.
    """
    made_of = classifier.configuration()
    dtype = str(classifier.heads[0].weight.dtype).removeprefix("torch.")
    if dtype not in get_args(DType):
        raise UserError(f"a classifier with weights of the type {dtype} cannot be saved: convert it first")
    weights = _weights(classifier)
    blank = _blank(made_of["labels"], made_of["settings"], made_of["frontend"], dtype)
    if problem := _problem(weights, blank.state_dict()):
        raise UserError(f"the classifier cannot be saved: {problem}")
    content = serialise(weights, {"format": "pt"})
    sha256 = hashlib.sha256(content).hexdigest()
    layers = list(diffstride_layers(classifier))
    config = ModelConfig(
        labels=made_of["labels"],
        settings=made_of["settings"],
        window_s=made_of["window_s"],
        frontend=made_of["frontend"],
        dtype=dtype,
        strides=classifier.strides.tolist(),
        strides_frozen=bool(layers) and all(layer.frozen for layer in layers),
        sha256=sha256,
        training=_training(classifier.origin) if classifier.origin.get("sha256") == sha256 else {},
    )
    return config, content


def known_card(classifier: Classifier, config: ModelConfig) -> str | None:
    """Return the model card that a classifier was loaded with, if its weights are still the same."""
    return classifier.origin.get("card") if classifier.origin.get("sha256") == config.sha256 else None


def _training(origin: dict[str, Any]) -> dict[str, Any]:
    """Return what config.json says about the training. A recipe of another version is left out."""
    known: dict[str, Any] = {
        name: origin[name] for name in TRAINING if fits(origin.get(name), TRAINING[name])
    }
    with suppress(UserError):
        if origin.get("recipe"):
            known["recipe"] = asdict(recipes.build(origin["recipe"]))
    return known


def fingerprint(classifier: Classifier) -> str:
    """Return the hash of a classifier's weights: that of model.safetensors, if it were saved."""
    return hashlib.sha256(serialise(_weights(classifier), {"format": "pt"})).hexdigest()


def _weights(classifier: Classifier) -> dict[str, Tensor]:
    """Return copies of the weights on the CPU, each with memory of its own, also those of shared strides."""
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in classifier.state_dict().items()
    }


def _blank(
    labels: dict[str, list[str]], settings: dict[str, Any], frontend: dict[str, Any], dtype: str
) -> Classifier:
    """Return a classifier whose weights have shapes and types, but take no memory."""
    recipe = model_recipe(settings, frontend)
    with torch.device("meta"):
        return Classifier(labels, recipe.model, frontend=recipe.frontend).to(getattr(torch, dtype))


def _problem(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> str | None:
    """Return what is wrong with weights, or None."""
    for name in sorted(weights.keys() ^ expected.keys()):
        return f"{name} is missing" if name in expected else f"{name} is no weight of its network"
    for name, value in weights.items():
        if value.shape != expected[name].shape or value.dtype != expected[name].dtype:
            found, right = (f"{tuple(t.shape)} in {t.dtype}" for t in (value, expected[name]))
            return f"{name} has the shape {found}, but its network needs {right}"
        if not value.isfinite().all():
            return f"{name} has values that are not finite numbers: training has diverged"
        if name.endswith(".stride") and value.min() < 1:
            return f"{name} is a stride below 1"
    return None


def check_target(folder: Path) -> None:
    """Raise an error unless a folder is new, empty or a model folder; hidden files, such as git's, may stay.

    Raises:
        UserError: saying what the folder is.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: give the name of a folder")
    unfinished = {_new(folder, name) for name in _FILES}
    files = [path for path in folder.iterdir() if not path.name.startswith(".") and path not in unfinished]
    if files and not is_model_config(folder / MODEL_CONFIG):
        raise UserError(f"{folder} is not empty and no model folder: give the name of a new folder")


def _new(folder: Path, name: str) -> Path:
    return folder / f"{name}.new"


def _publish(folder: Path) -> None:
    """Let complete new files replace the old ones, the weights first."""
    for name in _FILES:
        with suppress(FileNotFoundError):  # a process that reads the folder may have done it
            _new(folder, name).replace(folder / name)


def _finish_publishing(folder: Path) -> None:
    """Complete the renamings of a process that was killed between them.

    New weights are the first file to be written and to be renamed, and the last to be removed. So if only
    they are gone, all new files were complete.
    """
    rest = [_new(folder, name) for name in _FILES[1:]]
    if not _new(folder, WEIGHTS).exists() and any(path.exists() for path in rest):
        _publish(folder)


def read_model(folder: Path) -> dict[str, Any]:
    """Read and check a model folder.

    Returns:
        The same as `read_checkpoint` of a checkpoint file, and under "folder" the type of the weights,
        whether strides are frozen, the hash of the weights and the model card.

    Raises:
        UserError: a file is missing, is damaged, does not belong to the others, or was written by another
            version of audiostride.
    """
    _finish_publishing(folder)
    for name in (MODEL_CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"the model folder {folder} lacks {name}: get the whole folder again")
    config = read_model_config(folder)
    blank = _blank(config.labels, config.settings, config.frontend, config.dtype)
    weights = _read_weights(folder / WEIGHTS, config.sha256, blank.state_dict())
    training, card = config.training, folder / CARD
    return {
        "classifier": {
            "labels": config.labels,
            "settings": config.settings,
            "window_s": config.window_s,
            "frontend": config.frontend,
        },
        "state_dict": {f"{WEIGHT_PREFIX}{name}": value for name, value in weights.items()},
        "global_step": training.get("step"),
        "recipe": training.get("recipe", {}),
        "WindowsModule": {name: training[name] for name in ("corpora", "groups") if name in training},
        "folder": {
            "dtype": getattr(torch, config.dtype),
            "strides_frozen": config.strides_frozen,
            "sha256": config.sha256,
            "card": _read_card(card) if card.is_file() else None,
        },
    }


def _read_weights(path: Path, sha256: str, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Read and check model.safetensors.

    Raises:
        UserError: it is not the file with this hash, or its weights are not the expected ones.
    """
    size = path.stat().st_size
    least = sum(value.numel() * value.element_size() for value in expected.values())
    content = path.read_bytes() if size <= least + _LIST_BYTES else b""
    if content.startswith(_LFS_POINTER):
        raise UserError(f"{path} is only a pointer of Git LFS: fetch the file itself with git lfs pull")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{path} is damaged or belongs to another {MODEL_CONFIG} (its SHA-256 differs): "
            "get the whole folder again"
        )
    try:
        weights = parse(content)
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is no file of safetensors, or a damaged one") from error
    if problem := _problem(weights, expected):
        raise UserError(f"{path} does not suit its {MODEL_CONFIG}: {problem}")
    return weights


def _read_card(path: Path) -> str | None:
    if path.stat().st_size > _CARD_BYTES:
        return None
    return path.read_text(encoding="utf-8", errors="replace")
