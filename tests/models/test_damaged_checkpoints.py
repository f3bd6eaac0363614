"""Checkpoint files that are cut short, changed, or written by something else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from helpers.command_line import fails
from helpers.tiny_run import assert_same, weights

from audiostride import load
from audiostride.cli import main
from audiostride.errors import UserError
from audiostride.models.loading import read_checkpoint

DAMAGED = r"best\.ckpt is not a checkpoint of audiostride, or a damaged one"


def change(file: Path, *keys: str, value: Any = None) -> None:
    """Replace what a checkpoint holds under nested keys, or remove it, and save it with right checksums."""
    content = torch.load(file, weights_only=True)
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner.pop(keys[-1], None)
    if value is not None:
        inner[keys[-1]] = value
    torch.save(content, file)


MALFORMED: dict[str, Callable[[Path], None]] = {
    "no weights": lambda file: change(file, "state_dict"),
    "weights in a list": lambda file: change(file, "state_dict", value=[1]),
    "weight as text": lambda file: change(file, "state_dict", "classifier.normalise.running_mean", value="a"),
    "weight missing": lambda file: change(file, "state_dict", "classifier.normalise.running_mean"),
    "larger weight": lambda file: change(
        file, "state_dict", "classifier.normalise.running_mean", value=torch.zeros(65)
    ),
    "no classifier": lambda file: change(file, "classifier"),
    "classifier as text": lambda file: change(file, "classifier", value="small"),
    "no labels": lambda file: change(file, "classifier", "labels"),
    "labels in a list": lambda file: change(file, "classifier", "labels", value=["yes", "no"]),
    "labels as text": lambda file: change(file, "classifier", "labels", "speech_commands", value="yes"),
    "labels as numbers": lambda file: change(
        file, "classifier", "labels", "speech_commands", value=[1, 2, 3]
    ),
    "no settings": lambda file: change(file, "classifier", "settings"),
    "unknown setting": lambda file: change(file, "classifier", "settings", "ramps", value=1),
    "channels as text": lambda file: change(file, "classifier", "settings", "channels", value="many"),
    "another width": lambda file: change(file, "classifier", "settings", "channels", value=(5, 6)),
    "enormous width": lambda file: change(file, "classifier", "settings", "channels", value=(4000, 4000)),
    "another depth": lambda file: change(file, "classifier", "settings", "channels", value=(4,)),
    "another downsampling": lambda file: change(file, "classifier", "settings", "downsampling", value=3),
    "step as text": lambda file: change(file, "global_step", value="four"),
    "a list": lambda file: torch.save([1, 2], file),
    "a tensor": lambda file: torch.save(torch.zeros(3), file),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_checkpoint_reports_a_clear_error(
    fault: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained / "checkpoints" / "best.ckpt"
    MALFORMED[fault](file)
    for command in ("strides", "test", "summary"):
        message = fails(capsys, 1, command, str(trained))
        assert str(file) in message
        assert "not a checkpoint of audiostride" in message or "written by another version" in message


@pytest.mark.parametrize("kept", [0, 1, 4, 100, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_truncated_checkpoint_reports_a_clear_error(
    kept: float, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained / "checkpoints" / "best.ckpt"
    whole = file.read_bytes()
    file.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(UserError, match=DAMAGED):
        read_checkpoint(file)
    with pytest.raises(UserError, match=DAMAGED):
        load(trained)
    assert str(file) in fails(capsys, 1, "strides", str(trained))


def test_flipped_bit_in_weights_is_noticed(trained: Path) -> None:
    file = trained / "checkpoints" / "best.ckpt"
    whole, intact = file.read_bytes(), weights(trained, "best")
    noticed = 0
    for place in np.random.default_rng(0).integers(0, 8 * len(whole), 300).tolist():
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        file.write_bytes(changed)
        try:
            assert_same(weights(trained, "best"), intact)
        except UserError:
            noticed += 1
    assert noticed > 100  # the others are in the padding between tensors


def test_weights_marked_as_a_folder_are_noticed(trained: Path) -> None:
    """torch gives such weights the content of its memory, and their checksum stays right."""
    file = trained / "checkpoints" / "best.ckpt"
    changed = bytearray(file.read_bytes())
    entries = ZipFile(file).infolist()
    largest = max(entries, key=lambda entry: entry.file_size)
    # The bit is in the entry of the directory at the end of the file, 8 bytes before the name.
    changed[changed.rindex(largest.filename.encode()) - 8] |= 0x10
    file.write_bytes(changed)
    with pytest.raises(UserError, match=DAMAGED):
        weights(trained, "best")


def test_flipped_bit_in_the_optimiser_stops_a_resume(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained / "checkpoints" / "last.ckpt"
    whole = bytearray(file.read_bytes())
    state = torch.load(file, weights_only=True)["optimizer_states"][0]["state"]
    largest = max((weight["exp_avg"] for weight in state.values()), key=torch.Tensor.numel)
    place = whole.index(bytes(largest.untyped_storage().tolist()))
    whole[place + 2] ^= 1
    file.write_bytes(whole)
    arguments = [str(trained / "config.yaml"), "--training.steps=6", "--out", str(trained), "--resume"]
    assert fails(capsys, 1, "train", *arguments).endswith("or a damaged one")


def test_damaged_run_is_left_out_with_a_note(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad"
    (bad / "checkpoints").mkdir(parents=True)
    (bad / "config.yaml").write_bytes((trained / "config.yaml").read_bytes())
    whole = (trained / "checkpoints" / "best.ckpt").read_bytes()
    assert main(["strides", str(trained), "--format", "csv"]) == 0
    alone = capsys.readouterr().out
    for content in (whole[:-100], whole[: len(whole) // 2], b"", b"text"):
        (bad / "checkpoints" / "best.ckpt").write_bytes(content)
        assert main(["strides", str(bad), str(trained), "--format", "csv"]) == 0
        out, err = capsys.readouterr()
        assert out == alone
        sentence = "is not a checkpoint of audiostride, or a damaged one; left out"
        assert f"note: {bad}/checkpoints/best.ckpt {sentence}" in err
