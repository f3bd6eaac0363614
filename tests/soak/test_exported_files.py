"""Damaged exported models where a model is expected: audiostride opens none of them."""

from pathlib import Path

import numpy as np
import pytest
from helpers.exported import untrained
from helpers.soak import Attack

from audiostride import cli
from audiostride.export.onnx import export_onnx


def test_damaged_onnx_files_report_a_clear_error(
    attack: Attack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    intact, file = tmp_path / "intact.onnx", tmp_path / "model.onnx"
    export_onnx(untrained(channels=(2,), strides=((2, 2),), downsampling="strided"), intact, seconds=0.1)
    content = np.frombuffer(intact.read_bytes(), np.uint8)
    for seed in attack.seeds(short=6, full=200):
        rng = np.random.default_rng(seed)
        damaged = content[: rng.integers(len(content))].copy() if seed % 2 else content.copy()
        damaged[rng.integers(len(damaged), size=1 + len(damaged) // 1000)] = rng.integers(256, dtype=np.uint8)
        file.write_bytes(damaged.tobytes())
        command = ("strides", "summary", "test", "export")[seed % 4]
        with attack.trial(seed, command):
            others = [str(tmp_path / "out.onnx")] if command == "export" else []
            assert cli.main([command, str(file), *others]) == 1
            message = capsys.readouterr().err
            assert "is an exported model" in message
            assert message.count("\n") == 1
            attack.count("clear error")
