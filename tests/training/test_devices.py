"""Several devices train as one: the same windows, losses, strides, weights and metrics."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_run import metrics, tiny, weights
from helpers.two_tasks import every, recipe

from audiostride.config import yaml
from audiostride.config.settings import AugmentationSettings, Recipe
from audiostride.data.augmentation import Augmentation, augment
from audiostride.data.store import Store
from audiostride.data.windows import TrainingWindows
from audiostride.errors import UserError
from audiostride.training.fit import train

AUGMENTATION: dict[str, Any] = {"gain_db": 6.0, "mixup": 0.4, "time_masks": 1, "frequency_masks": 2}


def train_in_two_processes(made: Recipe, run: Path, *options: str) -> subprocess.CompletedProcess[str]:
    file = run.with_suffix(".yaml")
    file.write_text(yaml.dump(asdict(made)))
    command = [sys.executable, "-m", "audiostride", "train", str(file), "--out", str(run)]
    devices = ["--trainer.devices", "2", "--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"]
    return subprocess.run([*command, *devices, *options], capture_output=True, text=True)


@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 5e-3), ("64-true", 1e-8)])
def test_two_processes_train_like_one(
    precision: str, tolerance: float, sounds: Store, store: Store, tmp_path: Path
) -> None:
    """Tasks have different numbers of labels in the two halves of a batch, and mixup crosses the halves.

    In float32, rounding grows in every step of Adam, which divides gradients by their size.
    """
    made = recipe(sounds, store, batch_size=10, complexity=0.1, task_weights={"level": 0.5})
    made.augmentation = AugmentationSettings(**AUGMENTATION)
    made.trainer = {"precision": precision, "accelerator": "cpu", "accumulate_grad_batches": 2}
    train(made, tmp_path / "one")
    result = train_in_two_processes(made, tmp_path / "two")
    assert result.returncode == 0, result.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=tolerance, rtol=tolerance, msg=name)
    for a, b in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert (a["step"], a["metrics"].keys()) == (b["step"], b["metrics"].keys())
        assert b["metrics"] == pytest.approx(a["metrics"], abs=tolerance)
        assert np.allclose(a["strides"], b["strides"], atol=tolerance)


def test_devices_share_the_windows_of_a_batch(sounds: Store, store: Store) -> None:
    augmentation = Augmentation(AugmentationSettings(**AUGMENTATION), 16000)

    def batch(devices: int, device: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        windows = TrainingWindows(
            every([sounds, store]), 6, 4000, augmentation=augmentation, devices=devices, device=device
        )
        made = windows[3]
        mixed = augment(made["waveform"], made["draws"])
        of_partner = {f"of partner, {t}": v[made["draws"]["partner"]] for t, v in made["labels"].items()}
        own = {task: values[: len(mixed)] for task, values in made["labels"].items()}
        masks = {name: made["draws"][name] for name in ("weight", "time_masks", "frequency_masks")}
        return mixed, own | of_partner | masks

    whole, details = batch(1, 0)
    for device in range(3):
        part, details_of_part = batch(3, device)
        assert part.equal(whole[device::3])
        for name, values in details_of_part.items():
            assert values.equal(details[name][device::3]), name


def test_batch_that_devices_cannot_share_evenly_reports_a_clear_error(store: Store, tmp_path: Path) -> None:
    made = tiny(store, batch_size=7)
    made.trainer = {"devices": 2, "accelerator": "cpu", "strategy": "ddp"}
    with pytest.raises(UserError, match=r"training\.batch_size is 7, which 2 devices cannot share evenly"):
        train(made, tmp_path / "run")
    assert not (tmp_path / "run").exists()
