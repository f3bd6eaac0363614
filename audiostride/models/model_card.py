"""The model card: README.md of a model folder, in Markdown with metadata that the Hugging Face hub reads."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from audiostride.config import recipe as recipes
from audiostride.config import yaml
from audiostride.config.arguments import command_line, options
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.model_config import ModelConfig
from audiostride.errors import UserError
from audiostride.frontends.build import build_frontend
from audiostride.models.frontend_text import frontend_text
from audiostride.tables import render

# The sections of a card in their order.
SECTIONS = ("Labels", "Accuracy", "Data", "Strides and cut-offs", "Use", "Training")
_SHOWN_LABELS = 30


def model_card(
    config: ModelConfig,
    title: str,
    metadata: Mapping[str, Any] | None = None,
    sections: Mapping[str, str] | None = None,
) -> str:
    """Return the text of a model card.

    Args:
        config: the model.
        title: its name.
        metadata: entries of the card's metadata besides those that every model has, such as its license.
        sections: from names in `SECTIONS` to Markdown, in place of the sections that follow from the model
            alone.
    """
    about = {
        "library_name": "audiostride",
        "pipeline_tag": f"{_medium(config)}-classification",
        "tags": [_medium(config), f"{_medium(config)}-classification", "pytorch", *_layer_tags(config)],
        **(metadata or {}),
    }
    texts = {
        "Labels": _labels(config),
        "Strides and cut-offs": _strides(config),
        "Use": _use(config, title),
        "Training": _training(config, title),
        **(sections or {}),
    }
    body = "\n\n".join(f"## {name}\n\n{texts[name]}" for name in SECTIONS if texts.get(name))
    return f"---\n{yaml.dump(about)}---\n\n# {plain(title)}\n\n{_summary(config)}\n\n{body}\n"


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_[]<>#|~" else letter for letter in text)
    return " ".join(escaped.split())


def commands_text(step: int | None, commands: Sequence[str]) -> str:
    """Return the section about the training: the commands that lead to the weights of a step."""
    begin = "The model comes from" if step is None else f"These are the weights of step {step} of"
    lines = "\n".join(commands)
    return f"{begin}\n\n```sh\n{lines}\n```"


def _layer_tags(config: ModelConfig) -> list[str]:
    return ["diffstride"] if config.settings["downsampling"] == "diffstride" else []


def _summary(config: ModelConfig) -> str:
    tasks = ", ".join(map(plain, config.labels))
    settings, own = _frontend(config)
    takes, count = build_frontend(settings).takes, len(config.settings["strides"])
    if settings.kind == "pixels":
        described = f"It takes {takes}, and normalises each colour."
    else:
        described = (
            f"It takes {takes} in windows of {config.window_s:g} s. "
            f"Its frontend makes {frontend_text(settings, own)}."
        )
    return (
        f"An {_medium(config)} classifier for {tasks}, made with audiostride {config.audiostride}. "
        f"{described} The network, {config.settings.get('network', 'separable')}, downsamples them in "
        f"{count} layer{'s' if count > 1 else ''} by {config.settings['downsampling']}."
    )


def _medium(config: ModelConfig) -> str:
    return "image" if config.frontend.get("kind") == "pixels" else "audio"


def _frontend(config: ModelConfig) -> tuple[FrontendSettings, list[float] | None]:
    """Return the settings of the frontend, and the strides that it has learned."""
    settings = FrontendSettings(**config.frontend)
    return settings, config.strides[0] if settings.learns_hop else None


def _labels(config: ModelConfig) -> str:
    lines = []
    for task, names in config.labels.items():
        hidden = len(names) - _SHOWN_LABELS
        more = f" and {hidden} more (see config.json)" if hidden > 0 else ""
        shown = ", ".join(map(plain, names[:_SHOWN_LABELS]))
        lines.append(f"- **{plain(task)}**, {len(names)} labels: {shown}{more}")
    return "\n".join(lines)


def _strides(config: ModelConfig) -> str:
    settings, _ = _frontend(config)
    axes = [axis.name for axis in build_frontend(settings).axes]
    rows = [
        {"block": number or "frontend", **dict(zip(axes, pair, strict=True))}
        for number, pair in enumerate(config.strides, 0 if settings.learns_hop else 1)
    ]
    return (
        f"{render(rows, 'markdown')}\n\n`audiostride strides` prints the cut-off frequencies that they mean."
    )


def _use(config: ModelConfig, title: str) -> str:
    name, task = json.dumps(title), json.dumps(next(iter(config.labels)))
    argument, shape = "waveforms", "(batch, samples) in [-1, 1] at classifier.sample_rate"
    if _medium(config) == "image":
        size = ", ".join(map(str, build_frontend(_frontend(config)[0]).example_shape(config.window_s)))
        argument, shape = "images", f"(batch, {size}) in [0, 1], or uint8"
    in_python = f"""\
In Python, from this folder or from the hub:

```python
from audiostride import Classifier

classifier = Classifier.from_pretrained({name})  # the folder, or USER/NAME on the hub
{argument} = ...  # {shape}
logits = classifier({argument})[{task}]
print([classifier.labels[{task}][index] for index in logits.argmax(1)])
```"""
    if _medium(config) == "image":
        return in_python
    return f"""\
{in_python}

On the command line, with a copy of the folder:

```sh
{command_line("predict", title, "recording.wav")}
```"""


def _training(config: ModelConfig, title: str) -> str:
    """Return the command that trains a model like this one, as far as its recipe is known."""
    try:
        recipe = recipes.build(config.training["recipe"])
    except (KeyError, UserError):
        return ""
    name, below = recipes.base_of(recipe)
    command = command_line("train", name, *options(recipe, below), f"--out={title}")
    return commands_text(config.training.get("step"), [command])
