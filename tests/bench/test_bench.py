"""Benchmarks of reading and preparing measure what they claim to; no test depends on the speed itself."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audiostride.bench.data import FileWindows, bench_windows
from audiostride.bench.noise_corpus import noise_corpus
from audiostride.bench.prepare import bench_prepare
from audiostride.bench.settings import PrepareBench, WindowsBench
from audiostride.cli import main


def test_rates_of_windows_are_compared_with_files_and_with_copying() -> None:
    rows = bench_windows(WindowsBench(files=40, corpora=2, batch_size=8, rounds=2))
    rate = {row["source"]: row["windows_per_second"] for row in rows}
    assert list(rate) == [
        "a WAV file per window",
        "prepared corpus",
        "2 prepared corpora",
        "memory copy",
    ]
    for row in rows:
        assert row["times_files"] == pytest.approx(rate[row["source"]] / rate["a WAV file per window"])
        assert row["share_of_memory_copy"] == pytest.approx(rate[row["source"]] / rate["memory copy"])


@pytest.mark.parametrize("rate", [8000, 16000])
def test_file_window_is_one_second_of_its_file(rate: int, tmp_path: Path) -> None:
    corpus = noise_corpus(tmp_path, 10, 1.5, sample_rate=rate)
    files = FileWindows(corpus)
    whole, _ = soundfile.read(corpus.folder / corpus.recordings[3].path, dtype="int16")
    window, label = files[3]
    assert label == 3
    assert window.numpy().tobytes() in whole.tobytes()
    assert (len(window), len(whole)) == (rate, 1.5 * rate)


def test_every_damaged_file_is_left_out_and_counted() -> None:
    rows = bench_prepare(PrepareBench(files=200, seconds=0.05, workers=[1]))
    assert [(row["damaged"], row["left_out"]) for row in rows] == [("none", 0), ("1 of 100", 2)]
    assert all(20 < row["peak_mb"] < 2000 for row in rows)
    assert [row["to_first"] for row in rows] == [1, 1]


def test_noise_files_differ(tmp_path: Path) -> None:
    corpus = noise_corpus(tmp_path, 20, 0.1)
    sounds = {(corpus.folder / recording.path).read_bytes() for recording in corpus.recordings}
    assert len(sounds) == 20
    assert np.unique([recording.split for recording in corpus.recordings]).tolist() == [
        "test",
        "train",
        "valid",
    ]


def test_results_are_printed_as_json_or_table(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["bench", "data", "--files", "40", "--batch_size", "4", "--rounds", "1"]
    assert main([*small, "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4
    assert main([*small, "--corpora", "1"]) == 0
    assert "share of memory copy" in capsys.readouterr().out


def test_saved_result_holds_command_machine_date_and_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results" / "data.json"
    command = ["bench", "data", "--files", "40", "--batch_size", "4", "--rounds", "1", "--save", str(file)]
    assert main([*command, "--format", "json"]) == 0
    result = json.loads(file.read_text())
    assert list(result) == ["command", "machine", "date", "rows"]
    assert result["command"] == " ".join(["audiostride", *command, "--format", "json"])
    assert result["machine"]["threads"] == torch.get_num_threads()
    assert result["machine"]["torch"] == torch.__version__
    assert all(result["machine"][name] for name in ("processor", "cores"))
    assert date.fromisoformat(result["date"]).year >= 2025
    assert result["rows"] == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        (WindowsBench, {"files": 20}, "--files must be at least 40, but is 20"),
        (WindowsBench, {"rounds": 0}, "--rounds must be a whole number, at least 1, but is 0"),
        (WindowsBench, {"seconds": 0.5}, "--seconds must be a finite number, at least 1, but is 0.5"),
        (PrepareBench, {"workers": [0]}, r"--workers\[0\] must be a whole number, at least 1, but is 0"),
        (PrepareBench, {"seconds": 0}, "--seconds must be a finite number, at least 0.01, but is 0"),
    ],
)
def test_setting_out_of_range_reports_a_clear_error(
    kind: Any, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        kind(**settings)
