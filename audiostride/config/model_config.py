"""config.json in a model folder: labels, settings and origin of a model, checked before anything is built.

The file may come from a stranger, so every value is compared with its type and range.
"""

import hashlib
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import audiostride
from audiostride.config import recipe as recipes
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.messages import check_keys
from audiostride.config.ranges import fits
from audiostride.config.run_folder import MODEL_CONFIG
from audiostride.config.settings import Count, ModelSettings, Recipe, WindowSeconds
from audiostride.errors import UserError

FORMAT = 1
DType = Literal["float16", "bfloat16", "float32", "float64"]
# No model comes near these limits; without them reading a file could exhaust the memory or take minutes.
_MAX_BYTES, _MAX_CHARACTERS, _MAX_TASKS, _MAX_STRIDE = 1 << 26, 10_000, 1000, 360_000
_VERSION = re.compile(r"[\w.+-]{1,40}")


@dataclass(frozen=True)
class ModelConfig:
    """The content of config.json.

    Attributes:
        labels: labels of each task, in the order of its logits.
        settings: settings of the network, by name.
        window_s: length in seconds of the windows that the model was trained on.
        frontend: settings of the frontend, by name. Up to version 0.4.0, only those of `LogMel`.
        dtype: type of the weights.
        strides: strides over time and frequency, for readers of the file: those of the frontend, if it learns
            its hop, and of each block.
        strides_frozen: whether the strides are constants.
        sha256: hash of model.safetensors.
        training: what is known about the training: step, recipe, corpora and groups (see
            `CorpusModule.state_dict`). Empty if nothing is known.
        audiostride: version that wrote the file.
    """

    labels: dict[str, list[str]]
    settings: dict[str, Any]
    window_s: float
    frontend: dict[str, Any]
    dtype: str
    strides: list[list[float]]
    strides_frozen: bool
    sha256: str
    training: dict[str, Any] = field(default_factory=dict)
    audiostride: str = audiostride.__version__

    def text(self) -> str:
        """Return the content of the file, with its format and a checksum."""
        content = {"format": FORMAT, "audiostride": self.audiostride} | asdict(self)
        content = json.loads(json.dumps(content))  # tuples become lists
        return json.dumps(content | {"checksum": _checksum(content)}, indent=2) + "\n"


_TYPES: dict[str, Any] = {
    "audiostride": str,
    "window_s": WindowSeconds,
    "dtype": DType,
    "strides": list[list[float]],
    "strides_frozen": bool,
    "sha256": str,
}
# Types of what `ModelConfig.training` may hold besides the recipe.
TRAINING: dict[str, Any] = {"step": Count, "corpora": list[str], "groups": list[str]}


def read_model_config(folder: Path) -> ModelConfig:
    """Read config.json of a model folder.

    Raises:
        UserError: it is missing or damaged, is not from audiostride, or was written by another version.
    """
    path = folder / MODEL_CONFIG
    content = _read(path)
    version = content["audiostride"]
    if content["format"] != FORMAT:
        raise UserError(
            f"{path} was written by audiostride {version} in format {content['format']}, but this is "
            f"audiostride {audiostride.__version__}, which reads format {FORMAT}: install version {version}"
        )
    checksum = content.pop("checksum", None)
    if checksum not in (None, _checksum(content)):
        raise UserError(
            f"{path} is not as it was saved (its checksum differs): get it again, or remove the entry "
            '"checksum" if you changed the file yourself'
        )
    try:
        _check(content)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} does not suit audiostride {audiostride.__version__}: {reason}") from error
    return ModelConfig(**{known.name: content[known.name] for known in fields(ModelConfig)})


def is_model_config(path: Path) -> bool:
    """Return whether a file is the config.json of a model of audiostride."""
    try:
        return bool(_read(path))
    except UserError:
        return False


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that names a version of audiostride and a format."""
    content: Any = None
    try:
        if path.stat().st_size <= _MAX_BYTES:
            content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        pass
    match content:
        case {"audiostride": str(version), "format": int()} if _VERSION.fullmatch(version):
            return content
    raise UserError(f"{path} is not the {MODEL_CONFIG} of a model of audiostride, or a damaged one")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check(content: dict[str, Any]) -> None:
    """Raise `ValueError` or `TypeError` if a value has another type or range."""
    for name, hint in _TYPES.items():
        if not fits(content.get(name), hint):
            raise ValueError(f"{name} is missing or wrong")
    for name in ("labels", "settings", "frontend", "training"):
        if not isinstance(content.get(name), dict):
            raise ValueError(f"{name} is missing or wrong")
    check_labels(content["labels"])
    check_keys(content["frontend"], FrontendSettings, MODEL_CONFIG, "frontend.")
    check_keys(content["settings"], ModelSettings, MODEL_CONFIG, "settings.")
    recipe = content["training"].get("recipe", {})
    if not isinstance(recipe, dict):
        raise ValueError("training.recipe is wrong")
    settings = (content["settings"], content["frontend"], recipe.get("model"), recipe.get("frontend"))
    if max(len(str(group)) for group in settings) > _MAX_CHARACTERS:
        raise ValueError(f"the settings of the network have more than {_MAX_CHARACTERS:,} characters")
    if len(content["labels"]) > _MAX_TASKS:
        raise ValueError(f"it has more than {_MAX_TASKS} tasks")
    network = model_recipe(content["settings"], content["frontend"]).model
    if max(map(max, network.strides or [(1, 1)])) > _MAX_STRIDE:
        raise ValueError(f"settings.strides has a stride above {_MAX_STRIDE}")
    training = content["training"]
    if not all(fits(training[name], hint) for name, hint in TRAINING.items() if name in training):
        raise ValueError("training is wrong")


def model_recipe(settings: dict[str, Any], frontend: dict[str, Any]) -> Recipe:
    """Return a recipe with the checked settings of a network and its frontend, from plain values.

    Raises:
        UserError: a value has the wrong type, is out of range, or contradicts another one.
    """
    # Up to version 0.4.0, there was one frontend, and normalisation had no floor.
    return recipes.build({"model": settings, "frontend": {"floor": 0.0} | frontend})


def check_labels(labels: dict[str, list[str]]) -> None:
    """Raise an error unless there is a task, and each task has labels that are texts and differ.

    Raises:
        ValueError: saying what is wrong.
    """
    if not labels or not all(labels.values()):
        raise ValueError("a classifier needs at least one task, each with labels")
    for task, names in labels.items():
        if not fits(names, list[str]) or not isinstance(task, str):
            raise ValueError(f"labels must be a list of texts for each task, but those of {task} are not")
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise ValueError(f"the task {task} has the label {repeated[0]} more than once")
