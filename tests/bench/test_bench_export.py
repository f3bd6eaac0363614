"""The benchmark of exported models."""

from pathlib import Path

import pytest

from audiostride.bench.export import bench_export
from audiostride.bench.settings import ExportBench
from audiostride.training.evaluate import evaluate


def test_every_form_is_timed_and_tested(trained: Path) -> None:
    rows = bench_export(ExportBench([str(trained)], rounds=1))
    forms = [(row["runtime"], row["precision"], row["length"]) for row in rows]
    assert forms == [
        ("PyTorch", "float32", "any"),
        ("torch.export", "float32", "any"),
        ("ONNX Runtime", "float32", "any"),
        ("ONNX Runtime", "float32", "1 s"),
        ("ONNX Runtime", "float16", "1 s"),
        ("ONNX Runtime", "int8", "1 s"),
    ]
    assert rows[0]["times_torch"] == 1
    assert rows[0]["logit_difference"] == 0
    accuracy = evaluate(trained)[0]["accuracy_percent"]
    for row in rows[:4]:
        assert row["ms_per_second"] > 0
        assert row["logit_difference"] < 1e-4
        assert row["same_label_percent"] == 100
        assert row["accuracy_percent"] == pytest.approx(accuracy)
    assert rows[4]["megabytes"] < rows[3]["megabytes"]
