"""Begins a training with the weights of a trained model: what is taken over, and what is said about it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.recipe import check_network, read_config
from audiostride.config.run_folder import last_checkpoint
from audiostride.config.settings import Recipe, TrainingSettings
from audiostride.errors import UserError
from audiostride.frontends.build import build_frontend
from audiostride.models.classifier import Classifier
from audiostride.models.loading import load

# The settings that decide with which strides a frontend begins.
_RESOLUTION = ("hop_ms", "mel_channels", "dense_hop_ms", "dense_channels")


def network_settings(source: str, run: Path | None = None) -> dict[str, Any]:
    """Return the settings of `model` and `frontend` that a run has if its recipe does not give them.

    Args:
        source: a run folder, a checkpoint file or a model folder.
        run: folder of the run, if it may be resumed. Its source need not exist any more once it has a
            checkpoint.

    Raises:
        UserError: if the model cannot be read.
    """
    if run is not None and last_checkpoint(run).is_file():
        recipe = read_config(run)
        return {"model": asdict(recipe.model), "frontend": asdict(recipe.frontend)}
    configuration = load(source).configuration()
    return {"model": configuration["settings"], "frontend": configuration["frontend"]}


def check_frozen(settings: TrainingSettings) -> None:
    """Raise `UserError` if settings for a trained trunk are given for one without training."""
    if settings.init_from:
        return
    for name in ("freeze_trunk", "trunk_learning_rate"):
        if getattr(settings, name) not in (False, None):
            raise UserError(
                f"training.{name} is for a network that is trained further: give --init_from RUN, or leave "
                f"training.{name} out"
            )


def load_source(source: str, recipe: Recipe) -> Classifier:
    """Return the classifier to begin with.

    Args:
        source: a run folder (its best checkpoint), a checkpoint file or a model folder.
        recipe: network and frontend that get its weights.

    Raises:
        UserError: if the model cannot be read, or its weights have other shapes than those of the network.
    """
    loaded = load(source)
    check_network(asdict(recipe.model), asdict(loaded.settings), source)
    _check_frontend(recipe.frontend, loaded, source)
    return loaded


def _check_frontend(settings: FrontendSettings, trained: Classifier, source: str) -> None:
    """Raise `UserError` if the network of a trained model cannot follow a frontend."""
    frontend, before = build_frontend(settings), trained.frontend
    shapes = [(one.images, one.channels) for one in (frontend, before)]
    if settings.kind != trained.frontend_settings.kind or shapes[0] != shapes[1]:
        texts = [
            f"{kind} with {channels} channels" + (f" in {images} windows" if images > 1 else "")
            for kind, (images, channels) in zip(
                (settings.kind, trained.frontend_settings.kind), shapes, strict=True
            )
        ]
        raise UserError(
            f"the frontend is {texts[0]}, but that of {source} is {texts[1]}: leave the settings of frontend "
            "out, or give those of the model to train further"
        )


@torch.no_grad()
def take_over(classifier: Classifier, source: Classifier, name: str) -> list[str]:
    """Copy the frontend, the normalisation, the trunk and the heads that agree from a trained classifier.

    A head agrees if both classifiers have its task with the same labels, in any order. Learned strides, of
    the frontend or of the trunk, are copied if both learn them and begin with the same.

    Args:
        classifier: what is trained further, with the shapes of `source`.
        source: the trained classifier.
        name: what to call it in sentences.

    Returns:
        Sentences that say what was taken over, and what differs.
    """
    weights = {
        key: value
        for key, value in source.state_dict().items()
        if key.startswith(("normalise.", "frontend.", "trunk."))
        and (not key.endswith(".stride") or _takes_strides(classifier, source, key.split(".")[0]))
    }
    classifier.load_state_dict(weights, strict=False)
    taken, new = [], []
    for (task, labels), head in zip(classifier.labels.items(), classifier.heads, strict=True):
        before = source.labels.get(task, [])
        if sorted(before) != sorted(labels):
            new.append(f"{task} ({len(labels)} labels)")
            continue
        rows = [before.index(label) for label in labels]
        old = source.heads[list(source.labels).index(task)]
        for parameter, trained in zip(head.parameters(), old.parameters(), strict=True):
            parameter.copy_(trained[rows])
        taken.append(task if before == labels else f"{task} (its labels in another order)")
    return [_summary(classifier, name, taken, new), *_differences(classifier, source, name)]


def _takes_strides(classifier: Classifier, source: Classifier, part: str) -> bool:
    """Return whether learned strides of the trunk or the frontend are the start of those to learn."""
    if part == "frontend":
        frontends = classifier.frontend_settings, source.frontend_settings
        return all(getattr(frontends[0], name) == getattr(frontends[1], name) for name in _RESOLUTION)
    both = classifier.settings, source.settings
    learned = all(settings.downsampling == "diffstride" for settings in both)
    return learned and both[0].strides == both[1].strides and both[0].shared == both[1].shared


def _summary(classifier: Classifier, name: str, taken: Sequence[str], new: Sequence[str]) -> str:
    """Return for example "took the trunk (6 blocks) and the head of a from X; new head: b (10 labels)"."""
    blocks = len(classifier.trunk.initial_strides)
    parts = ["the frontend"] if any(True for _ in classifier.frontend.parameters()) else []
    parts.append(f"the trunk ({blocks} block{'s' * (blocks > 1)})")
    if taken:
        parts.append(f"the head{'s' * (len(taken) > 1)} of {_join(taken)}")
    made = f"; new head{'s' * (len(new) > 1)}: {_join(new)}" if new else ""
    return f"took {_join(parts)} from {name}{made}"


def _differences(classifier: Classifier, source: Classifier, name: str) -> Iterator[str]:
    """Yield a sentence about settings that are not those of the source, if there are any."""
    now, before = (_settings(one) for one in (classifier, source))
    different = [
        f"{key} is {_text(value)}, not {_text(before[key])}"
        for key, value in now.items()
        if value != before[key]
    ]
    if different:
        anew = [
            begin
            for part, begin in (("frontend", "frontend.hop_ms"), ("trunk", "model.strides"))
            if _learns_strides(classifier, part) and not _takes_strides(classifier, source, part)
        ]
        strides = f"; strides begin at {_join(anew)}" if anew else ""
        yield f"not as in {name}: {_join(different)}{strides}"


def _learns_strides(classifier: Classifier, part: str) -> bool:
    if part == "frontend":
        return classifier.frontend.strides is not None
    return classifier.settings.downsampling == "diffstride"


def _settings(classifier: Classifier) -> dict[str, Any]:
    """Return by their names the settings that matter to the weights."""
    made_of = classifier.configuration()
    settings = {f"model.{key}": value for key, value in made_of["settings"].items()}
    frontend = {f"frontend.{key}": value for key, value in made_of["frontend"].items()}
    return {**settings, **frontend, "data.window_s": classifier.window_s}


def _join(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _text(value: Any) -> str:
    """Return a value as in a recipe, where tuples are lists."""
    return str(
        [list(one) if isinstance(one, tuple) else one for one in value] if isinstance(value, tuple) else value
    )
