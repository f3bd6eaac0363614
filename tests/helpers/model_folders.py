"""Small classifiers that are saved as model folders."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from audiostride import Classifier
from audiostride.config.settings import ModelSettings
from audiostride.layers.learned_strides import diffstride_layers

LABELS = {"word": ["yes", "no"], "speaker ü|*": ["a", "b", "c d"]}
FILES = ["README.md", "config.json", "model.safetensors"]


def make(labels: dict[str, list[str]] | None = None, window_s: float = 1.5, **settings: Any) -> Classifier:
    """Return an untrained classifier in evaluation mode, with statistics that are not the initial ones."""
    torch.manual_seed(0)
    made = Classifier(labels or LABELS, ModelSettings((4, 6), ((2, 2), (2, 2)), **settings), window_s)
    for _ in range(2):
        made(0.1 * sound(4))
    for layer in diffstride_layers(made):
        layer.stride.data.fill_(1.7)
    return made.eval()


def sound(batch: int = 3) -> Tensor:
    return torch.randn(batch, 8000, generator=torch.Generator().manual_seed(1))


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change config.json as someone does who removes its checksum."""
    file = folder / "config.json"
    content = json.loads(file.read_text())
    del content["checksum"]
    change(content)
    file.write_text(json.dumps(content))


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    """Change model.safetensors as someone does who also corrects its hash."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    change_config(folder, lambda content: content.update(sha256=digest))
