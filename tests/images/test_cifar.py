"""Reading CIFAR-10 and CIFAR-100, whole, damaged and hostile."""

import hashlib
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import PIXELS, write_cifar, write_pickle
from torchvision import datasets

from audiostride.config.settings import DataSettings, TrainingSettings
from audiostride.errors import UserError
from audiostride.images.cifar import open_cifar
from audiostride.images.datamodule import ImagesModule, open_images
from audiostride.images.layout import CIFAR


def of_torchvision(folder: Path, name: str, train: bool, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return torchvision's dataset, which must know the MD5 of our files."""
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    inner = folder / kind.base_folder

    def md5(file: str) -> str:
        return hashlib.md5((inner / file).read_bytes()).hexdigest()

    for files in ("train_list", "test_list"):
        monkeypatch.setattr(kind, files, [[file, md5(file)] for file, _ in getattr(kind, files)])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5(kind.meta["filename"])})
    return kind(folder, train=train)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_images_and_labels_are_those_of_torchvision(
    name: str, cifar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_cifar(cifar, name)
    assert store.tasks == {name: ["apple", "bear", "cloud", "dog"]}
    for split, train in ((0, True), (2, False)):
        theirs = of_torchvision(cifar, name, train, monkeypatch)
        chosen = np.flatnonzero(store.splits == split)
        assert len(chosen) == len(theirs) > 0
        images = store.load(chosen)
        for number, (image, label) in enumerate(theirs):
            assert torch.equal(images[number], torch.from_numpy(np.array(image)).permute(2, 0, 1))
            assert store.labels[name][chosen[number]] == label


def test_names_and_identity_do_not_depend_on_the_folder(cifar: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(cifar, tmp_path / "copy")
    here, there = open_cifar(cifar, "cifar10"), open_cifar(copy, "cifar10")
    assert here.names[:2].tolist() == ["data_batch_1/00000", "data_batch_1/00001"]
    assert here.names[-1] == "test_batch/00019"
    assert len(set(here.names)) == 120
    assert here.identity == there.identity
    file = copy / "cifar-10-batches-py" / "data_batch_3"
    content = pickle.loads(file.read_bytes())
    content["data"][0, 0] ^= 1
    write_pickle(file, content)
    assert open_cifar(copy, "cifar10").identity != here.identity


def test_pickled_store_reads_its_files_again(cifar: Path) -> None:
    store = open_cifar(cifar, "cifar10")
    sent = pickle.dumps(store)
    assert len(sent) < 1000 < store.pixels.nbytes
    assert np.array_equal(pickle.loads(sent).pixels, store.pixels)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_of_pickle_is_read(protocol: int, tmp_path: Path) -> None:
    write_cifar(tmp_path)
    before = open_cifar(tmp_path, "cifar10").pixels
    for file in (tmp_path / "cifar-10-batches-py").iterdir():
        file.write_bytes(pickle.dumps(pickle.loads(file.read_bytes()), protocol))
    assert np.array_equal(open_cifar(tmp_path, "cifar10").pixels, before)


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch executed",)


@pytest.mark.parametrize("file", ["data_batch_2", "batches.meta"])
def test_nothing_in_a_file_is_executed(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_cifar(tmp_path)
    write_pickle(tmp_path / "cifar-10-batches-py" / file, {"data": Hostile(), "label_names": Hostile()})
    with pytest.raises(UserError, match=rf"{file} is no file of CIFAR, or a damaged one \(it asks for posix"):
        open_cifar(tmp_path, "cifar10")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Ran out of input"),
        (b"no pickle", ""),
        ([1], "it holds no mapping"),
        ({"labels": [0]}, "its data are not images of 32 × 32 pixels in 3 colours"),
        ({"data": np.zeros((1, 3072)), "labels": [0]}, "its data are not images"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, "it has no labels for its 2 images"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [4]}, "its labels are not numbers from 0 to 3"),
    ],
)
def test_damaged_file_reports_a_clear_error(content: Any, reason: str, tmp_path: Path) -> None:
    file = write_cifar(tmp_path) / "cifar-10-batches-py" / "data_batch_4"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        write_pickle(file, content)
    with pytest.raises(UserError) as raised:
        open_cifar(tmp_path, "cifar10")
    assert f"{file} is no file of CIFAR, or a damaged one ({reason}" in str(raised.value)
    assert "unpack the dataset again" in str(raised.value)


def test_truncated_file_reports_a_clear_error(tmp_path: Path) -> None:
    file = write_cifar(tmp_path) / "cifar-10-batches-py" / "test_batch"
    whole = file.read_bytes()
    for length in (1, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(UserError, match="test_batch is no file of CIFAR, or a damaged one"):
            open_cifar(tmp_path, "cifar10")


def data(folder: Path, **settings: Any) -> DataSettings:
    return DataSettings(str(folder), **({"images": "cifar10"} | settings))


def test_wrong_folder_reports_a_clear_error(cifar: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"there is no CIFAR-10 in data.corpus .*nowhere .*: unpack cifar-10-"
    ):
        open_images(data(tmp_path / "nowhere"))
    with pytest.raises(
        UserError, match=r"cifar-10-batches-py is the folder of CIFAR-10 itself: give the one"
    ):
        open_images(data(cifar / "cifar-10-batches-py"))
    write_cifar(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_5").unlink()
    with pytest.raises(UserError, match=r"cifar-10-batches-py lacks data_batch_5: unpack CIFAR-10 again"):
        open_images(data(tmp_path))
    with pytest.raises(UserError, match=r"there is no CIFAR-100 in data.corpus .* --data.download true"):
        open_images(data(tmp_path, images="cifar100"))


def test_other_size_reports_a_clear_error(cifar: Path) -> None:
    module = ImagesModule(data(cifar), TrainingSettings(), PIXELS)
    settings = type(PIXELS)(kind="pixels", image_size=(64, 32))
    with pytest.raises(UserError, match=r"CIFAR-10 has images of 32 × 32 pixels .* is 64 × 32, and frontend"):
        module.check_frontend(settings)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_download_is_torchvisions(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def kind(root: Path, download: bool) -> None:
        calls.append((root, download))
        write_cifar(root, name)

    monkeypatch.setattr(datasets, {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}[name], kind)
    for _ in range(2):
        assert len(open_images(data(tmp_path, images=name, download=True)).splits) > 0
    assert calls == [(tmp_path, True)]  # once


def test_failed_download_reports_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kind(root: Path, download: bool) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "CIFAR10", kind)
    with pytest.raises(UserError, match=r"CIFAR-10 cannot be downloaded to .*: no route to host"):
        open_images(data(tmp_path, download=True))


def test_missing_torchvision_reports_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UserError, match=r"need torchvision, .*: run pip install 'audiostride\[images\]'"):
        open_images(data(tmp_path, download=True))


def test_cifar_is_read_without_torchvision(cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert len(open_images(data(cifar)).splits) == 120


def test_layouts_are_those_of_torchvision() -> None:
    for name, kind in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        layout = CIFAR[name]
        assert layout.folder == kind.base_folder
        assert layout.archive == kind.filename
        assert list(layout.train) == [file for file, _ in kind.train_list]
        assert list(layout.test) == [file for file, _ in kind.test_list]
        assert (layout.meta, layout.names) == (kind.meta["filename"], kind.meta["key"])
