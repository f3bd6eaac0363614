"""A run that takes seconds, and functions that read its results."""

import json
from pathlib import Path
from typing import Any

import torch

from audiostride import load
from audiostride.config.settings import DataSettings, ModelSettings, Recipe, TrainingSettings
from audiostride.data.store import Store


def tiny(store: Store, **training: Any) -> Recipe:
    settings = {
        "steps": 6,
        "validate_every": 2,
        "batch_size": 6,
        "learning_rate": 3e-3,
        "stride_learning_rate": 0.05,
    }
    return Recipe(
        ModelSettings((4, 6), ((2, 2), (2, 2))),
        DataSettings(str(store.folder)),
        TrainingSettings(**(settings | training)),
    )


def weights(run: Path, checkpoint: str = "last") -> dict[str, torch.Tensor]:
    return load(run, checkpoint).state_dict()


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl without their checksums."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "crc32"} for line in lines]


def without_time(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]
