"""Model folders that are damaged, foreign, exchanged or from another version."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.command_line import fails
from helpers.model_folders import FILES, change_config, change_weights, make

from audiostride import load
from audiostride.errors import UserError

DAMAGED = "is not the config.json of a model of audiostride, or a damaged one"
ANOTHER = r"is damaged or belongs to another config\.json \(its SHA-256 differs\): get the whole folder again"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "m"
    make().save(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of a model folder that a test may change."""
    return shutil.copytree(saved, tmp_path / "m")


def config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda folder: change_config(folder, change)


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    return lambda folder: change_weights(folder, change)


def flip(name: str, place: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)

    return change


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return change


def edit_label(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text().replace('"yes"', '"yas"'))


def other_model(folder: Path) -> None:
    model = make()
    with torch.no_grad():
        model.trunk.blocks[0].time.conv.weight.mul_(2)  # type: ignore[union-attr, index]
    model.save(folder.parent / "other")
    shutil.copy(folder.parent / "other" / "model.safetensors", folder)


def a_setting(name: str, value: Any) -> Callable[[Path], None]:
    return config(lambda content: content["settings"].update({name: value}))


def the_frontend(**settings: Any) -> Callable[[Path], None]:
    return config(lambda content: content["frontend"].update(settings))


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (
        lambda folder: (folder / "config.json").unlink(),
        r"lacks config\.json: get the whole folder",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"lacks model\.safetensors"),
    "text": (write("config.json", b"model"), DAMAGED),
    "empty config": (write("config.json", b""), DAMAGED),
    "list": (write("config.json", b"[1, 2]"), DAMAGED),
    "another library": (write("config.json", b'{"model_type": "bert"}'), DAMAGED),
    "not UTF-8": (write("config.json", b'{"audiostride": "\xff"}'), DAMAGED),
    "nested": (write("config.json", b'{"a":' * 100_000), DAMAGED),
    "long number": (write("config.json", b'{"format": ' + b"9" * 10_000 + b"}"), DAMAGED),
    "not a number": (config(lambda content: content.update(window_s=float("nan"))), DAMAGED),
    "version with a line break": (config(lambda content: content.update(audiostride="1\n2")), DAMAGED),
    "newer": (
        config(lambda content: content.update(format=2, audiostride="9.0.0")),
        r"was written by audiostride 9\.0\.0 in format 2, .* which reads format 1: install version 9\.0\.0",
    ),
    "newer setting": (a_setting("depth", 3), r"does not suit audiostride .*settings\.depth is no setting"),
    "edited": (edit_label, r"is not as it was saved \(its checksum differs\): get it again, or remove"),
    "no labels": (config(lambda content: content.pop("labels")), "labels is missing or wrong"),
    "no task": (config(lambda content: content.update(labels={})), "at least one task"),
    "labels as text": (config(lambda content: content["labels"].update(word="yes")), "those of word"),
    "labels as numbers": (
        config(lambda content: content["labels"].update(word=[1, 2])),
        "those of word are not",
    ),
    "a label twice": (
        config(lambda content: content["labels"].update(word=["a", "a"])),
        "the task word has the label a more than once",
    ),
    "another label": (
        config(lambda content: content["labels"]["word"].append("maybe")),
        r"model\.safetensors does not suit its config\.json: heads\.0\..* has the shape \(2",
    ),
    "many tasks": (
        config(lambda content: content.update(labels={str(n): ["a", "b"] for n in range(2000)})),
        "more than 1000 tasks",
    ),
    "many blocks": (
        config(lambda content: content["settings"].update(channels=[4] * 2000, strides=[[2, 2]] * 2000)),
        "the settings of the network have more than 10,000 characters",
    ),
    "enormous width": (a_setting("channels", [4000, 4000]), r"does not suit its config\.json"),
    "width out of range": (a_setting("channels", [4, 1e9]), r"model\.channels"),
    "enormous stride": (a_setting("strides", [[2, 1e9], [2, 2]]), "a stride above 360000"),
    "channels as text": (a_setting("channels", "many"), r"model\.channels must be"),
    "another downsampling": (a_setting("downsampling", "dilated"), r"model\.downsampling must be one of"),
    "less downsampling": (a_setting("downsampling", "strided"), "is no weight of its network"),
    "long window": (config(lambda content: content.update(window_s=1e9)), "window_s is missing or wrong"),
    "window as text": (config(lambda content: content.update(window_s="1")), "window_s is missing or wrong"),
    "another number of mel channels": (
        config(lambda content: content["frontend"].update(mel_channels=80)),
        r"running_(mean|var) has the shape \(64,\) in torch\.float32, but its network needs \(80,\)",
    ),
    "another frontend": (
        config(lambda content: content["frontend"].update(kind="leaf")),
        r"frontend\.log_centres is missing",
    ),
    "unknown frontend": (
        config(lambda content: content["frontend"].update(kind="wavelets")),
        r"frontend\.kind must be one of log_mel",
    ),
    "unknown setting of the frontend": (
        config(lambda content: content["frontend"].update(colour=1)),
        r"frontend\.colour is no setting",
    ),
    "frequencies above half the rate": (
        config(lambda content: content["frontend"].update(f_max=9000)),
        r"frontend\.f_max is 9000 Hz, above half the sample rate",
    ),
    "empty mel channels": (
        config(lambda content: content["frontend"].update(mel_channels=2000)),
        r"no bin of the spectrum of a window of 25 ms lies in \d+ of 2000 mel channels",
    ),
    "enormous tables": (
        config(lambda content: content["frontend"].update(window_ms=10_000, mel_channels=2000)),
        r"make tables of more than 20,000,000 numbers",
    ),
    "many enormous windows": (
        config(
            lambda content: content["frontend"].update(kind="learned_resolution", windows_ms=[9999] * 900)
        ),
        r"make tables of more than 20,000,000 numbers",
    ),
    "frontend as text": (
        config(lambda content: content.update(frontend="log_mel")),
        "frontend is missing or wrong",
    ),
    "rate as text": (the_frontend(sample_rate="16 kHz"), r"frontend\.sample_rate must be a whole number"),
    "no rate": (the_frontend(sample_rate=None), r"frontend\.sample_rate is empty"),
    "windows as a number": (the_frontend(windows_ms=25), r"frontend\.windows_ms must be a list of numbers"),
    "enormous window": (the_frontend(window_ms=1e9), r"frontend\.window_ms must be a number"),
    "enormous ramp": (the_frontend(smoothness=1e300), r"frontend\.smoothness must be a number"),
    "enormous floor": (the_frontend(floor=1e300), r"frontend\.floor must be a number"),
    "many filters": (
        the_frontend(kind="leaf", mel_channels=2048, sample_rate=48_000),
        r"make more than 100,000,000 numbers of each second of sound",
    ),
    "many dense frames": (
        the_frontend(hop_ms=0.1, window_ms=1000),
        r"make more than 100,000,000 numbers of each second of sound",
    ),
    "unknown type": (config(lambda content: content.update(dtype="float8")), "dtype is missing or wrong"),
    "another type": (config(lambda content: content.update(dtype="float16")), "but its network needs"),
    "no hash": (config(lambda content: content.pop("sha256")), "sha256 is missing or wrong"),
    "training as text": (
        config(lambda content: content.update(training="long")),
        "training is missing or wrong",
    ),
    "step as text": (config(lambda content: content["training"].update(step="x")), "training is wrong"),
    "flipped bit": (flip("model.safetensors", -5), ANOTHER),
    "flipped bit in the list": (flip("model.safetensors", 20), ANOTHER),
    "cut short": (write("model.safetensors", b"abc"), ANOTHER),
    "empty weights": (write("model.safetensors", b""), ANOTHER),
    "much longer": (write("model.safetensors", bytes(1 << 25)), ANOTHER),
    "pickle": (write("model.safetensors", pickle.dumps({"a": 1})), ANOTHER),
    "weights of another model": (other_model, ANOTHER),
    "pointer": (
        write("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n"),
        "only a pointer of Git LFS: fetch the file itself with git lfs pull",
    ),
    "missing weight": (weights(lambda tensors: tensors.pop("heads.0.bias")), r"heads\.0\.bias is missing"),
    "weight of another shape": (
        weights(lambda tensors: tensors.update({"heads.0.bias": torch.zeros(3)})),
        r"heads\.0\.bias has the shape \(3,\)",
    ),
    "not finite": (
        weights(lambda tensors: tensors["heads.0.bias"].fill_(float("inf"))),
        r"heads\.0\.bias has values that are not finite",
    ),
    "negative stride": (
        weights(lambda tensors: tensors["trunk.blocks.0.time.pool.stride"].fill_(-3)),
        "is a stride below 1",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_in_a_model_folder_reports_a_clear_error(fault: str, folder: Path) -> None:
    damage, sentence = FAULTS[fault]
    damage(folder)
    with pytest.raises(UserError, match=sentence) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_pickle_with_a_right_hash_is_not_unpickled(folder: Path, tmp_path: Path) -> None:
    import hashlib

    class Planted:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "executed"), "w")

    for content in (pickle.dumps(Planted()), bytes(100), b"\xff" * 200):
        (folder / "model.safetensors").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        change_config(folder, lambda config, digest=digest: config.update(sha256=digest))  # type: ignore[misc]
        with pytest.raises(
            UserError, match=r"model\.safetensors is no file of safetensors, or a damaged one"
        ):
            load(folder)
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"checksum": None}))
    assert not (tmp_path / "executed").exists()


def test_settings_that_this_version_does_not_know_of_may_be_added(folder: Path) -> None:
    change_config(folder, lambda content: content.update(newer_entry=[1, 2]))
    assert load(folder).labels == make().labels


def test_card_of_any_content_does_no_harm(folder: Path) -> None:
    for content in (b"\xff\x00", b"", b"x" * (1 << 21)):
        (folder / "README.md").write_bytes(content)
        assert load(folder).labels == make().labels
    (folder / "README.md").unlink()
    assert load(folder).labels == make().labels


@pytest.mark.parametrize("command", ["strides", "summary", "test", "report"])
def test_commands_report_what_is_wrong_with_a_model(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("model.onnx", "model.int8.onnx", "model.pt2"):
        (folder.parent / name).write_bytes(b"")
        message = fails(capsys, 1, command, str(folder.parent / name))
        assert message.endswith(
            f"{name} is an exported model: give the run or the model folder that it was made from"
        )
    for name in FILES[2:]:
        message = fails(capsys, 1, command, str(folder / name))
        assert message.endswith(f"{name} is one file of a model folder: give the folder {folder}")
    write("model.safetensors", b"")(folder)
    assert "SHA-256 differs" in fails(capsys, 1, command, str(folder))
