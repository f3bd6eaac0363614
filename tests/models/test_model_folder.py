"""A model as a folder: what is saved, loaded again, replaced and refused."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.model_folders import FILES, LABELS, make, sound
from safetensors.torch import load_file

from audiostride import Classifier, freeze_, load
from audiostride.config import yaml
from audiostride.errors import UserError
from audiostride.layers.learned_strides import diffstride_layers


def assert_equal(loaded: Classifier, saved: Classifier) -> None:
    """Everything that users read from a classifier is the same, and logits are equal bit for bit."""
    assert not loaded.training
    assert loaded.labels == saved.labels
    assert list(loaded.labels) == list(saved.labels)
    assert loaded.settings == saved.settings
    assert (loaded.window_s, loaded.sample_rate) == (saved.window_s, saved.sample_rate)
    before, after = saved.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name].dtype == value.dtype
        assert torch.equal(after[name], value), name
    with torch.no_grad():
        logits, again = saved(sound()), loaded(sound())
    assert all(torch.equal(again[task], values) for task, values in logits.items())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"shared": True},
        {"downsampling": "strided"},
        {"downsampling": "spectral"},
        {"ramp": "relative", "smoothness": 0.1},
        {"ramp": "inside", "multiple": 4},
        {"level": "rms"},
    ],
    ids=lambda settings: " ".join(settings) or "paper",
)
def test_saved_model_loads_bit_for_bit(settings: dict[str, Any], tmp_path: Path) -> None:
    model = make(**settings)
    model.save(tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == FILES
    assert_equal(load(tmp_path / "m"), model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_load_bit_for_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    model = make().to(dtype)
    model.save(tmp_path / "m")
    assert_equal(load(tmp_path / "m"), model)
    assert load(tmp_path / "m").heads[0].weight.dtype == dtype


def test_strides_stay_frozen(tmp_path: Path) -> None:
    model = make()
    model.save(tmp_path / "free")
    freeze_(model)
    model.save(tmp_path / "frozen")
    assert_equal(load(tmp_path / "frozen"), model)
    assert all(layer.frozen for layer in diffstride_layers(load(tmp_path / "frozen")))
    assert not any(layer.frozen for layer in diffstride_layers(load(tmp_path / "free")))


def test_other_programs_read_weights_and_settings(tmp_path: Path) -> None:
    model = make()
    model.save(tmp_path / "m")
    weights = load_file(tmp_path / "m" / "model.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["labels"] == LABELS
    assert config["window_s"] == 1.5
    assert config["frontend"]["sample_rate"] == 16000
    assert config["strides"] == model.trunk.strides.tolist()


def test_card_has_metadata_for_the_hub(tmp_path: Path) -> None:
    make().save(tmp_path / "my words")
    _, metadata, card = (tmp_path / "my words" / "README.md").read_text().split("---\n", 2)
    about = yaml.load(metadata)
    assert about["library_name"] == "audiostride"
    assert about["pipeline_tag"] == "audio-classification"
    assert "diffstride" in about["tags"]
    assert "# my words" in card
    assert r"- **speaker ü\|\***, 3 labels: a, b, c d" in card


def test_labels_of_any_characters_survive(tmp_path: Path) -> None:
    names = ["ü", "犬", "a\nb", "", '"', "\udcff", "```", "---"]
    model = make({"x": names, "y.z/w": ["1", "2"]})
    model.save(tmp_path / "m")
    assert_equal(load(tmp_path / "m"), model)
    assert "\n---\n" not in (tmp_path / "m" / "README.md").read_text().split("---\n", 2)[2]


def test_model_of_a_run_keeps_what_is_known_of_its_training(trained: Path, tmp_path: Path) -> None:
    model = load(trained)
    model.save(tmp_path / "m")
    loaded = load(tmp_path / "m")
    assert_equal(loaded, model)
    assert loaded.origin["step"] == model.origin["step"] > 0
    assert loaded.origin["corpora"] == model.origin["corpora"]
    assert "audiostride train speech_commands" in (tmp_path / "m" / "README.md").read_text()
    loaded.save(tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "m" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_changed_weights_lose_the_card_and_the_training_of_the_old_ones(
    trained: Path, tmp_path: Path
) -> None:
    load(trained).save(tmp_path / "m", card="# Accuracy 99 %\n")
    model = load(tmp_path / "m")
    model.save(tmp_path / "same")
    assert (tmp_path / "same" / "README.md").read_text() == "# Accuracy 99 %\n"
    with torch.no_grad():
        next(model.heads.parameters()).mul_(2)
    model.save(tmp_path / "other")
    assert "99 %" not in (tmp_path / "other" / "README.md").read_text()
    assert json.loads((tmp_path / "other" / "config.json").read_text())["training"] == {}


def test_saving_replaces_a_model_and_leaves_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / ".git").mkdir()
    make().save(folder)
    (folder / "LICENSE").write_text("mine")
    model = make({"other": ["a", "b"]})
    model.save(folder)
    assert_equal(load(folder), model)
    assert sorted(path.name for path in folder.iterdir()) == [".git", "LICENSE", *FILES]


def test_saving_over_something_else_reports_a_clear_error(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a")
    (tmp_path / "file").write_text("b")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"model_type": "bert"}')
    (foreign / "model.safetensors").write_bytes(b"weights")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for folder in (trained, tmp_path / "notes", foreign):
        with pytest.raises(
            UserError, match="is not empty and no model folder: give the name of a new folder"
        ):
            make().save(folder)
    with pytest.raises(UserError, match="file is a file: give the name of a folder"):
        make().save(tmp_path / "file")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


class StoppedError(BaseException):
    """Ends a save as a kill does: nothing is cleaned up."""


@pytest.mark.parametrize("steps", range(7))
def test_kill_while_saving_leaves_the_old_model_or_the_new_one(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving writes three files and renames three; a kill comes before any of these."""
    folder, old, new = tmp_path / "m", make(), make({"other": ["a", "b"]})
    old.save(folder)
    cards = {"word": (folder / "README.md").read_text()}
    new.save(tmp_path / "m2" / "m")
    cards["other"] = (tmp_path / "m2" / "m" / "README.md").read_text()
    left = steps

    def counted(function: Any) -> Any:
        def call(path: Path, *arguments: Any) -> Any:
            nonlocal left
            if left == 0:
                if function is write and arguments:
                    write(path, arguments[0][:100])  # half written
                raise StoppedError
            left -= 1
            return function(path, *arguments)

        return call

    write, replace, unlink = Path.write_bytes, Path.replace, Path.unlink

    def unless_killed(path: Path, **options: Any) -> None:
        if left > 0 or steps > 5:
            unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", counted(write))
        patch.setattr(Path, "replace", counted(replace))
        patch.setattr(Path, "unlink", unless_killed)
        if steps < 6:
            with pytest.raises(StoppedError):
                new.save(folder)
        else:
            new.save(folder)
    loaded = load(folder)
    assert_equal(loaded, new if steps > 3 else old)
    assert (folder / "README.md").read_text() == cards[next(iter(loaded.labels))]
    new.save(folder)
    assert_equal(load(folder), new)
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_full_disk_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, old, write = tmp_path / "m", make(), Path.write_bytes
    old.save(folder)

    def full(path: Path, content: bytes) -> int:
        write(path, content[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        make({"other": ["a", "b"]}).save(folder)
    assert caught.value.filename == str(folder)
    assert_equal(load(folder), old)
    assert sorted(path.name for path in folder.iterdir()) == FILES


@pytest.mark.filterwarnings("ignore:Complex modules")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda model: model.heads[0].bias.data.fill_(float("nan")),
            r"heads\.0\.bias has values that are not",
        ),
        (lambda model: model.trunk.half(), "but its network needs"),
        (
            lambda model: model.heads.append(torch.nn.Linear(6, 2)),
            r"heads\.2\.bias is no weight of its network",
        ),
        (lambda model: model.heads.to(torch.complex64), "of the type complex64"),
    ],
)
def test_model_that_could_not_be_loaded_is_not_saved(change: Any, sentence: str, tmp_path: Path) -> None:
    model = make(downsampling="strided")
    change(model)
    with pytest.raises(UserError, match=sentence):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_labels_that_are_no_text_or_repeated_report_a_clear_error() -> None:
    with pytest.raises(
        ValueError, match="labels must be a list of texts for each task, but those of a are not"
    ):
        Classifier({"a": [1, 2]})  # type: ignore[list-item]
    with pytest.raises(ValueError, match="the task a has the label x more than once"):
        Classifier({"a": ["x", "y", "x"]})


def test_folder_moves_and_is_read_through_a_link(tmp_path: Path) -> None:
    """The hub's cache holds links to files elsewhere."""
    model = make()
    model.save(tmp_path / "m")
    shutil.move(tmp_path / "m", tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for name in FILES:
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
    assert_equal(load(tmp_path / "snapshot"), model)
