"""All commands on runs that take images: from the recipe to the exported model."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.command_line import fails
from helpers.images import tiny_images, write_folders
from helpers.report_page import Page, quick_reports
from helpers.tiny_run import assert_same, metrics, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from audiostride import Classifier, load
from audiostride.cli import main
from audiostride.config import recipe as recipes
from audiostride.config.arguments import options
from audiostride.config.differences import flat
from audiostride.config.recipe import read_config
from audiostride.images.cifar import open_cifar
from audiostride.models.loading import read_checkpoint
from audiostride.timing import one_thread
from audiostride.training.evaluate import evaluate
from audiostride.training.fit import train

pytestmark = pytest.mark.usefixtures("working_folder")
TINY = [
    "--model.channels=[4, 4, 8, 8]",
    "--model.options={layers: [1, 1, 1, 1]}",
    "--training.steps=4",
    "--training.validate_every=2",
    "--training.batch_size=8",
]


@pytest.fixture(autouse=True)
def _quick_reports() -> Iterator[None]:
    with quick_reports():
        yield


def rows(capsys: pytest.CaptureFixture[str], *command: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main([*command, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_recipe_trains_and_every_command_reads_the_run(
    cifar: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "cifar10_small", f"--data.corpus={cifar}", *TINY]) == 0
    err = capsys.readouterr().err
    assert "cifar10: 4 labels, 88 images for training, 12 for validation (official train, official" in err
    run = "runs/cifar10_small"
    (row,) = rows(capsys, "test", run)
    assert (row["task"], row["images"], row["classes"], row["split"]) == ("cifar10", 20, 4, "official test")
    assert row["low_percent"] <= row["accuracy_percent"] <= row["high_percent"]
    assert not {"recordings", "groups"} & row.keys()
    strides = rows(capsys, "strides", run)
    assert [(row["layer"], row["axis"]) for row in strides] == [
        (layer, axis) for layer in (1, 2, 3, 4) for axis in ("height", "width")
    ]
    for row in strides:
        assert row["unit"] == "cycles/pixel"
        assert not {"hop_ms", "channels_per_octave", "cycles_per_octave"} & row.keys()
        stride = max(row["stride"], row["input_length"] / (row["input_length"] - 1))
        assert row["pass_band"] == pytest.approx(row["rate"] / (2 * stride), rel=1e-5)
    summary = {row["layer"]: row for row in rows(capsys, "summary", run)}
    assert summary["frontend"]["input"] == "32 × 32"
    assert summary["frontend and all"]["mega_macs"] == summary["all"]["mega_macs"]
    assert summary["first"]["field_height"] == summary["first"]["field_width"] == 3


def test_training_learns_to_tell_images_apart(cifar: Path, tmp_path: Path) -> None:
    recipe = tiny_images(cifar, steps=60, validate_every=30, learning_rate=0.1)
    with one_thread():
        train(recipe, tmp_path / "run")
    (row,) = evaluate(tmp_path / "run", checkpoint="last")
    assert row["accuracy_percent"] >= 75


@pytest.mark.parametrize("images", ["cifar10", "cifar100", "folder"])
def test_resumed_run_equals_an_uninterrupted_one(
    images: str, cifar: Path, folders: Path, tmp_path: Path
) -> None:
    def made(**trainer: Any) -> Any:
        recipe = tiny_images(folders if images == "folder" else cifar, images)
        recipe.trainer = trainer
        recipe.augmentation.crop, recipe.augmentation.flip, recipe.augmentation.mixup = 2, True, 0.2
        return recipe

    with one_thread():
        train(made(), tmp_path / "whole")
        train(made(max_epochs=2), tmp_path / "broken")
        assert metrics(tmp_path / "broken")[-1]["step"] == 4
        train(made(), tmp_path / "broken", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_two_devices_train_as_one(cifar: Path, tmp_path: Path) -> None:
    recipe = tiny_images(cifar, steps=3, validate_every=3, learning_rate=0.01)
    recipe.augmentation.crop, recipe.augmentation.mixup = 4, 0.2
    with one_thread():
        train(recipe, tmp_path / "one")
        recipe.trainer = {"devices": 2, "strategy": "ddp_fork", "accelerator": "cpu"}
        train(recipe, tmp_path / "two")
    two = weights(tmp_path / "two")
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=1e-3)


def test_without_validation_the_last_checkpoint_is_the_best(
    cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_images(cifar, steps=4)
    recipe.data.holdout = 0
    with one_thread():
        train(recipe, tmp_path / "run")
    assert (
        "there are no images for validation: the last checkpoint counts as the best"
        in capsys.readouterr().err
    )
    assert_same(weights(tmp_path / "run", "best"), weights(tmp_path / "run", "last"))


def test_images_in_folders_are_trained_and_tested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folders(tmp_path / "images", ("train", "val", "test"))
    command = ["train", "imagenet", f"--data.corpus={tmp_path / 'images'}", "--data.workers=0", *TINY]
    command += ["--model.options={layers: [1, 1, 1, 1], first_kernel: 7}", "--frontend.image_size=[16, 24]"]
    assert main([*command, "--model.strides=[[2, 2], [1, 1], [2, 2], [2, 2]]"]) == 0
    assert (
        "class: 3 labels, 18 images for training, 18 for validation (given train, given"
        in capsys.readouterr().err
    )
    (row,) = rows(capsys, "test", "runs/imagenet")
    assert (row["task"], row["images"]) == ("class", 18)
    assert load("runs/imagenet").input_size() == (16, 24)


def test_predictions_and_confusion_are_written(cifar: Path, image_run: Path) -> None:
    command = ["test", str(image_run), "--predictions", "p.csv", "--confusion", "c"]
    assert main(command) == 0
    with Path("p.csv").open() as file:
        written = list(csv.DictReader(file))
    store = open_cifar(cifar, "cifar10")
    test = np.flatnonzero(store.splits == 2)
    assert [row["file"] for row in written] == store.names[test].tolist()
    assert [row["label"] for row in written] == [
        store.tasks["cifar10"][label] for label in store.labels["cifar10"][test]
    ]
    classifier = load(image_run)
    with torch.no_grad():
        logits = classifier(store.load(test))["cifar10"]
    assert [row["prediction"] for row in written] == [
        classifier.labels["cifar10"][index] for index in logits.argmax(1)
    ]
    assert Path("c/cifar10.csv").read_text().startswith("label,apple,bear,cloud,dog\n")


def test_report_speaks_of_images(image_run: Path) -> None:
    assert main(["report", str(image_run)]) == 0
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    for word in ("recording", "window of", "second of sound", "Hz", "octave", "mel "):
        assert word not in page.text, word
    (row,) = page.table("Accuracy with its 95 % confidence interval")
    assert row["images"] == "20"
    assert page.table("For images of 32 × 32 pixels in 3 colours.")[0]["layer"] == "1 height"
    assert page.table("Images of each task")[0]["test"] == "20"
    alts = " ".join(image["alt"] for image in page.all("img"))
    assert "cycles per pixel" in alts
    assert "Computing time per image, batches of 1 image" in page.text
    assert "audiostride train cifar10 " in page.text


def test_runs_on_images_are_compared(image_run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(image_run, tmp_path / "other")
    assert main(["report", str(image_run), str(other)]) == 0
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    assert "milliseconds per image, by batch size in images" in page.text
    assert main(["strides", str(image_run), str(other), "--group", "recipe", "--plot", "figures"]) == 0
    names = {file.stem for file in Path("figures").iterdir()}
    assert names == {"trajectories", "windows_1", "windows_2", "cutoffs", "stride_plane", "downsampling"}


def test_runs_on_images_and_on_sound_are_not_compared(
    image_run: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("strides", "report"):
        message = fails(capsys, 1, command, str(image_run), str(trained))
        assert "takes images of 32 × 32 pixels in 3 colours, but" in message
        assert "takes sound at 16000 Hz: compare runs of one kind" in message


def test_tensorboard_has_strides_and_cutoffs_of_both_axes(image_run: Path) -> None:
    events = EventAccumulator(str(image_run))
    events.Reload()
    tags = events.Tags()
    for name in ("height", "width"):
        assert {f"stride/block2/{name}", f"cutoff/block2/{name}"} <= set(tags["scalars"])
    assert {"windows", "confusion/cifar10"} <= set(tags["images"])
    assert "low_pass" not in tags["images"]


def test_study_trains_images_and_shows_its_tables(
    cifar: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("s.yaml").write_text(
        f"""
recipe: cifar10
settings: {{data.corpus: {cifar}, training.schedule: constant}}
grid:
  model.downsampling: [strided, diffstride]
  training.seed: [0, 1]
tables:
  - {{}}
  - {{title: Strides, show: strides, layers: [2]}}
"""
    )
    with one_thread():
        assert main(["study", "s.yaml", *TINY]) == 0
        capsys.readouterr()
        command = ["study", "s.yaml", *TINY, "--summary", "--format", "json", "--plot", "figures"]
        assert main(command) == 0
        tables = json.loads(capsys.readouterr().out)
        assert [row["downsampling"] for row in tables["Accuracy"]] == ["strided", "diffstride"]
        assert not {"hop_ms", "mel_channels"} & tables["Accuracy"][0].keys()
        assert {row["axis"] for row in tables["Strides"]} == {"height", "width"}
        assert Path("figures/accuracy_against_cost.png").is_file()
    monkeypatch.setattr("audiostride.studies.kept_tests.evaluation", None)  # kept results are read
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == tables


def test_onnx_file_computes_the_same_from_an_input_of_fixed_size(
    image_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(image_run), "m.onnx"]) == 0
    assert "compared with PyTorch on noise and 16 test images" in capsys.readouterr().err
    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert (taken.name, taken.shape) == ("image", ["batch", 3, 32, 32])
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    (logits,) = session.run(None, {"image": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, load(image_run)(images)["cifar10"].numpy(), atol=2e-5)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["image_shape"]) == [3, 32, 32]
    assert not {"sample_rate", "window_s"} & about.keys()
    assert json.loads(about["labels"]) == {"cifar10": ["apple", "bear", "cloud", "dog"]}


def test_program_of_torch_computes_the_same(image_run: Path) -> None:
    assert main(["export", str(image_run), "m.pt2"]) == 0
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    logits = torch.export.load("m.pt2").module()(images)["cifar10"]
    torch.testing.assert_close(logits, load(image_run)(images)["cifar10"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_smaller_files_are_written_and_checked(
    precision: str, image_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = rows(capsys, "export", str(image_run), "m.onnx", "--precision", precision)
    assert row["same_label_percent"] > 50
    assert ("int8_percent" in row) == (precision == "int8")


def test_model_folder_says_what_it_takes_and_every_command_reads_it(
    image_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(image_run), "model/"]) == 0
    assert "next: push it to a hub from Python" in capsys.readouterr().err
    card = Path("model/README.md").read_text()
    assert "An image classifier for cifar10" in card
    assert "It takes images of 32 × 32 pixels in 3 colours, and normalises each colour." in card
    assert "pipeline_tag: image-classification" in card
    assert "| CIFAR-10  |" in card
    assert "audiostride train cifar10 " in card
    for word in ("sound", "waveform", "predict", "recording", "Hz"):
        assert word not in card, word
    again = Classifier.from_pretrained("model")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(images)["cifar10"], load(image_run)(images)["cifar10"])
    for command in ("test", "strides", "summary"):
        of_run, of_model = (rows(capsys, command, name) for name in (str(image_run), "model"))
        assert [row | {"run": "", "checkpoint": ""} for row in of_run] == [
            row | {"run": "", "checkpoint": ""} for row in of_model
        ]
    with torch.no_grad():
        next(again.heads.parameters()).mul_(2)  # a model that no card describes
    again.save("plain")
    plain = Path("plain/README.md").read_text()
    assert "images = ...  # (batch, 3, 32, 32) in [0, 1], or uint8" in plain
    assert re.search(r"\| +block \| +height \| +width \|", plain)


REFUSED = "the model takes images of 32 × 32 pixels in 3 colours, but this is for models that take sound"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "RUN", "sound.wav"], REFUSED),
        (["embed", "RUN", "sound.wav", "--out", "e.npz"], REFUSED),
        (["strides", "RUN", "--frames", "100"], f"--frames: {REFUSED}"),
        (["strides", "RUN", "--around", "500"], f"--around: {REFUSED}"),
        (["strides", "RUN", "--plot", "f", "--listen", "sound.wav"], f"--listen: {REFUSED}"),
        (
            ["strides", "RUN", "--resolution"],
            "--resolution: images have no resolution of sound: leave it out",
        ),
        (["export", "RUN", "m.onnx", "--seconds", "1"], REFUSED),
        (["export", "RUN", "m.onnx", "--samples", "int16"], REFUSED),
        (["export", "RUN", "--page", "page"], REFUSED),
        (["bench", "level", "RUN"], "data.images is cifar10, but this needs recordings of sound"),
        (["bench", "predict", "RUN"], REFUSED),
        (["bench", "export", "RUN"], REFUSED),
    ],
)
def test_what_is_for_sound_is_refused(
    arguments: list[str], message: str, image_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sound.wav").write_bytes(b"")
    words = [str(image_run) if word == "RUN" else word for word in arguments]
    assert fails(capsys, 1, *words) == f"audiostride {arguments[0]}: {message}"


def test_run_is_tested_on_other_images(
    cifar: Path, image_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(cifar, tmp_path / "copy")
    assert rows(capsys, "test", str(image_run), "--corpus", str(copy))[0].get("note") is None
    file = copy / "cifar-10-batches-py" / "test_batch"
    shutil.copy(copy / "cifar-10-batches-py" / "data_batch_1", file)
    (row,) = rows(capsys, "test", str(image_run), "--corpus", str(copy))
    trained = read_checkpoint(image_run / "checkpoints/best.ckpt")["ImagesModule"]["trained"]
    store = open_cifar(copy, "cifar10")
    count = int(np.isin(store.keys(np.flatnonzero(store.splits == 2)).view(np.int64), trained).sum())
    assert 10 < count < 20
    assert row["note"] == (
        f"{image_run} was not trained on {copy}, but {count} of the 20 tested images have the pixels or the "
        "name of images that it was trained on"
    )


def test_changed_images_are_not_tested(
    cifar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(cifar, tmp_path / "copy")
    with one_thread():
        train(tiny_images(copy, steps=2), tmp_path / "run")
    shutil.copy(copy / "cifar-10-batches-py" / "data_batch_1", copy / "cifar-10-batches-py" / "test_batch")
    capsys.readouterr()
    message = fails(capsys, 1, "test", str(tmp_path / "run"))
    assert (
        f"the corpus {copy} has changed since {tmp_path / 'run'} was trained on it (other images," in message
    )


def test_training_continues_from_a_model_of_images(
    cifar: Path, image_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "cifar100", "--init_from", str(image_run), f"--data.corpus={cifar}", *TINY[2:]]
    assert main([*command, "--training.learning_rate=0"]) == 0
    assert "took the trunk (4 blocks)" in capsys.readouterr().err
    before, now = load(image_run), load("runs/cifar100")
    assert now.settings.channels == (4, 4, 8, 8)
    for name, parameter in before.trunk.named_parameters():
        assert torch.equal(now.trunk.get_parameter(name), parameter), name


def test_training_on_sound_does_not_begin_with_a_model_of_images(
    image_run: Path, store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails(
        capsys, 1, "train", "speech_commands", "--init_from", str(image_run), f"--data.corpus={store.folder}",
        "--frontend.kind=log_mel",
    )  # fmt: skip
    assert "the frontend is log_mel with 64 channels, but that of" in message


def test_command_of_a_report_repeats_the_run(image_run: Path) -> None:
    recipe = read_config(image_run)
    name, below = recipes.base_of(recipe)
    assert name == "cifar10"
    parser = recipes.recipe_parser()
    parser.add_argument("recipe")
    _, again, _ = recipes.load_with_options(parser, [name, *options(recipe, below)])
    assert flat(again) == flat(recipe)
