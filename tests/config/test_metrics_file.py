"""metrics.jsonl, intact and damaged."""

import json
from pathlib import Path

import pytest
from helpers.tiny_run import metrics

from audiostride.cli import main
from audiostride.config.run_folder import metrics_line, read_metrics

ENTRY = {"step": 2, "seconds": 1.5, "metrics": {"valid/loss": 0.25}, "strides": [[2.0, 2.5], [1.0, 3.0]]}
LINE = metrics_line(ENTRY).encode()
DAMAGED = {
    "not UTF-8": b'{"step": 2, "\xff": 1}',
    "not JSON": b"{",
    "no object": b"[1, 2]",
    "a number": b"7",
    "nested": b"[" * 100_000,
    "long number": b'{"step": ' + b"1" * 5000 + b"}",
    "no step": json.dumps({k: v for k, v in ENTRY.items() if k != "step"}).encode(),
    "no strides": json.dumps({k: v for k, v in ENTRY.items() if k != "strides"}).encode(),
    "step as text": json.dumps(ENTRY | {"step": "2"}).encode(),
    "negative step": json.dumps(ENTRY | {"step": -2}).encode(),
    "seconds as a list": json.dumps(ENTRY | {"seconds": []}).encode(),
    "metrics as a list": json.dumps(ENTRY | {"metrics": [1]}).encode(),
    "metric as text": json.dumps(ENTRY | {"metrics": {"valid/loss": "low"}}).encode(),
    "metric that is no number": json.dumps(ENTRY | {"metrics": {"valid/loss": float("nan")}}).encode(),
    "single strides": json.dumps(ENTRY | {"strides": [2.0, 2.5]}).encode(),
    "three strides": json.dumps(ENTRY | {"strides": [[2.0, 2.5, 1.0], [1.0]]}).encode(),
    "single stride of a frontend": json.dumps(ENTRY | {"frontend_strides": 4.0}).encode(),
    "three strides of a frontend": json.dumps(ENTRY | {"frontend_strides": [4.0, 2.0, 1.0]}).encode(),
    "strides of a frontend as text": json.dumps(ENTRY | {"frontend_strides": ["4", "2"]}).encode(),
    "another field": json.dumps(ENTRY | {"stride": 4.0}).encode(),
    "another number": LINE.replace(b"0.25", b"0.26").rstrip(),
    "another step": LINE.replace(b": 2,", b": 6,").rstrip(),
    "another key": LINE.replace(b"crc32", b"crc33").rstrip(),
}


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    assert read_metrics(file) == []
    file.write_bytes(LINE + json.dumps(ENTRY | {"step": 4}).encode() + b"\n" + LINE[:20])
    assert read_metrics(file) == [ENTRY, ENTRY | {"step": 4}]  # the second one has no checksum


def test_strides_of_a_frontend_are_a_pair_of_their_own(tmp_path: Path) -> None:
    file, entry = tmp_path / "metrics.jsonl", ENTRY | {"frontend_strides": [4.1, 2.0]}
    file.write_text(metrics_line(ENTRY) + metrics_line(entry))
    assert read_metrics(file) == [ENTRY, entry]


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_line_is_left_out_with_a_note(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(LINE + DAMAGED[damage] + b"\n" + LINE)
    assert read_metrics(file) == [ENTRY, ENTRY]
    assert capsys.readouterr().err == f"note: {file}: 1 of 3 lines are damaged; left out\n"


def test_commands_survive_a_damaged_metrics_file(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained / "metrics.jsonl"
    logged = metrics(trained)
    damaged = b"".join(line + b"\n" for line in DAMAGED.values())
    file.write_bytes(damaged + file.read_bytes() + damaged)
    for command in (["strides", str(trained)], ["report", str(trained), "--out", str(tmp_path / "r.html")]):
        assert main(command) == 0
        note = f"note: {file}: {2 * len(DAMAGED)} of {2 * len(DAMAGED) + 2} lines are damaged; left out"
        assert note in capsys.readouterr().err
    recipe = str(trained / "config.yaml")
    assert main(["train", recipe, "--training.steps=6", "--out", str(trained), "--resume"]) == 0
    assert [line["step"] for line in metrics(trained)] == [2, 4, 6]
    assert metrics(trained)[:2] == logged
