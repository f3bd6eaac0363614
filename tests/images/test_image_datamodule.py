"""Batches of images: order, splits, devices, processes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import PIXELS, write_folders

from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import AugmentationSettings, DataSettings, TrainingSettings
from audiostride.data.selection import Batch
from audiostride.errors import UserError
from audiostride.images.datamodule import ImagesModule

SMALL = FrontendSettings(kind="pixels", image_size=(16, 16))
CHANGES: dict[str, Any] = {"crop": 4, "flip": True, "mixup": 0.2}


def module(
    folder: Path, images: Any = "cifar10", augmentation: dict[str, Any] | None = None, **data: Any
) -> ImagesModule:
    return ImagesModule(
        DataSettings(str(folder), images=images, **data),
        TrainingSettings(batch_size=7, seed=3),
        SMALL if images == "folder" else PIXELS,
        AugmentationSettings(**(augmentation or {})),
    )


def same(a: Batch, b: Batch) -> bool:
    draws = [batch.get("draws", {}) for batch in (a, b)]
    return (
        torch.equal(a["waveform"], b["waveform"])
        and torch.equal(a["recording"], b["recording"])
        and draws[0].keys() == draws[1].keys()
        and all(torch.equal(value, draws[1][name]) for name, value in draws[0].items())
    )


def test_every_image_is_drawn_once_before_any_is_repeated(cifar: Path) -> None:
    batches = module(cifar, holdout=0).training_batches(1, 0)
    drawn = np.concatenate([batches[number]["recording"].numpy() for number in range(100)])
    for epoch in range(7):
        assert sorted(drawn[epoch * 100 : (epoch + 1) * 100]) == list(range(100))
    assert drawn[:100].tolist() != drawn[100:200].tolist()


def test_images_and_labels_of_a_batch_belong_together(cifar: Path) -> None:
    data = module(cifar, holdout=0)
    (store,) = data.stores
    batch = data.training_batches(1, 0)[5]
    positions = data.select("train").recordings[batch["recording"].numpy()]
    assert np.array_equal(batch["waveform"].numpy(), store.load(positions, (32, 32), 3).numpy())
    assert batch["labels"]["cifar10"].tolist() == store.labels["cifar10"][positions].tolist()
    assert batch["waveform"].dtype == torch.uint8


@pytest.mark.parametrize("images", ["cifar10", "folder"])
def test_batch_depends_on_seed_and_number_alone(images: str, cifar: Path, folders: Path) -> None:
    folder = folders if images == "folder" else cifar
    first, again = (module(folder, images, CHANGES).training_batches(1, 0) for _ in range(2))
    later = [again[number] for number in (9, 4, 8)]
    assert all(same(first[number], batch) for number, batch in zip((9, 4, 8), later, strict=True))
    assert not same(first[4], first[8])
    other = module(folder, images, CHANGES)
    other.training.seed = 4
    assert not same(first[4], other.training_batches(1, 0)[4])


@pytest.mark.parametrize("images", ["cifar10", "folder"])
def test_devices_share_the_batch_of_one(images: str, cifar: Path, folders: Path) -> None:
    folder = folders if images == "folder" else cifar
    data = module(folder, images, CHANGES)
    whole = data.training_batches(1, 0)[3]
    changed = data.augment.augment(whole["waveform"], whole["draws"])
    for device in range(2):
        part = data.training_batches(2, device)[3]
        ours = data.augment.augment(part["waveform"], part["draws"])
        assert torch.equal(ours, changed[device::2])
        count = len(ours)
        assert torch.equal(part["recording"][:count], whole["recording"][device::2])


@pytest.mark.parametrize("images", ["cifar10", "folder"])
def test_workers_load_the_same_batches(images: str, cifar: Path, folders: Path) -> None:
    folder = folders if images == "folder" else cifar
    plain, parallel = (module(folder, images, CHANGES, workers=workers) for workers in (0, 2))
    loaders = [data._loader(data.training_batches(1, 0), range(2, 6)) for data in (plain, parallel)]
    for a, b in zip(*loaders, strict=True):
        assert same(a, b)


def test_training_continues_with_the_next_batch(cifar: Path) -> None:
    data = module(cifar)
    data.training.steps, data.training.validate_every = 6, 4
    for step, expected in ((0, [0, 1, 2, 3]), (4, [4, 5])):
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            accumulate_grad_batches=1, world_size=1, global_step=step, global_rank=0
        )
        assert list(data.train_dataloader().sampler) == expected


def test_validation_is_held_out_of_training_evenly(cifar: Path) -> None:
    data = module(cifar, holdout=0.2)
    train, valid, test = (data.select(split) for split in ("train", "valid", "test"))
    assert not set(train.recordings) & set(valid.recordings)
    assert np.bincount(valid.labels["cifar10"]).tolist() == [5, 5, 5, 5]
    assert (len(train.recordings), len(test.recordings)) == (80, 20)
    assert len(module(cifar, holdout=0).select("valid").recordings) == 0
    again = module(cifar, holdout=0.2).select("valid")
    assert np.array_equal(again.recordings, valid.recordings)
    assert data.split("cifar10", "valid") == "official train, held out"


def test_folders_keep_their_validation_split(tmp_path: Path) -> None:
    data = module(write_folders(tmp_path, ("train", "val", "test")), "folder", holdout=0.5)
    assert [len(data.select(split).recordings) for split in ("train", "valid", "test")] == [18, 18, 18]


def test_evaluation_has_every_image_once_in_its_order(cifar: Path) -> None:
    data = module(cifar)
    batches = list(data.evaluation_dataloader("test"))
    assert [len(batch["waveform"]) for batch in batches] == [7, 7, 6]
    assert torch.cat([batch["recording"] for batch in batches]).tolist() == list(range(20))
    assert all("draws" not in batch for batch in batches)
    images = data.images("test", np.array([19, 2]))
    assert images.dtype == torch.float32
    assert torch.equal((255 * images[0]).round().to(torch.uint8), batches[2]["waveform"][5])


def test_labels_and_their_number_can_be_limited(cifar: Path) -> None:
    data = module(cifar, labels=["dog", "apple"], per_label=3, holdout=0)
    assert data.labels == {"cifar10": ["dog", "apple"]}
    assert np.bincount(data.select("train").labels["cifar10"]).tolist() == [3, 3]
    assert np.bincount(data.select("test").labels["cifar10"]).tolist() == [5, 5]


def test_unknown_label_reports_a_clear_error(cifar: Path) -> None:
    with pytest.raises(UserError, match=r"has no label dgo for cifar10: did you mean dog\?"):
        module(cifar, labels=["dgo", "apple"]).select("train")


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_image_reports_a_clear_error(workers: int, tmp_path: Path) -> None:
    write_folders(tmp_path)
    bad = tmp_path / "val/bee/3.png"
    bad.write_bytes(b"no image")
    data = module(tmp_path, "folder", workers=workers)
    with pytest.raises(UserError) as raised:
        list(data.evaluation_dataloader("test"))
    expected = f"{bad} cannot be read (it is no image, or a damaged one): replace it, or remove it"
    assert str(raised.value) == expected


def test_batch_that_exceeds_the_memory_reports_a_clear_error(
    cifar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audiostride.images.datamodule.total_memory", lambda: 1000.0)
    with pytest.raises(UserError, match=r"7 images of 32 × 32 pixels \(training.batch_size, frontend.image"):
        module(cifar)
