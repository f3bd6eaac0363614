"""The benchmark of predicting labels the same sound in both ways."""

from pathlib import Path

import pytest
from helpers.predictions import LABELS, save_run, small_classifier, write_noise

from audiostride.bench.predict import _plain_label, bench_predict
from audiostride.bench.settings import PredictBench


def test_plain_loop_gives_the_labels_of_predict(tmp_path: Path) -> None:
    classifier = small_classifier()
    files = [write_noise(tmp_path / f"{length}.wav", length) for length in (100, 12345, 40000)]
    rows = classifier.predict(files)
    expected = [{task: rows.pop(0)["label"] for task in LABELS} for _ in files]
    assert [_plain_label(classifier, file) for file in files] == expected


def test_both_methods_and_every_length_are_measured(tmp_path: Path) -> None:
    run = str(save_run(small_classifier(), tmp_path / "run"))
    rows = bench_predict(PredictBench([run], files=4, seconds=0.5, rounds=1, minutes=[0.1]))
    sounds = ["4 × 0.5 s", "4 × 0.5 s", "1 × 0.1 min"]
    assert [row["sound"] for row in rows] == sounds
    assert rows[1]["to_loop"] == pytest.approx(rows[1]["hours_per_minute"] / rows[0]["hours_per_minute"])
    assert rows[2]["peak_mb"] > 50
