"""Both forms of a long axis are compared with the matrix in float64, as far as it fits."""

from pathlib import Path

import numpy as np
import pytest

from audiostride.bench import long_axes
from audiostride.bench.figure import long_axes_figure
from audiostride.bench.long_axes import FORMS, bench_long_axes
from audiostride.bench.settings import LongAxesBench

SMALL = LongAxesBench(lengths=[64, 700, 3000], lines=4, largest_matrix_mb=5.0, rounds=1)


def test_differences_are_those_of_rounding_and_missing_where_the_matrix_is_too_large() -> None:
    rows = {row["samples"]: row for row in bench_long_axes(SMALL)}
    assert [row["taken"] for row in rows.values()] == ["matrix", "fft", "fft"]
    for samples in (64, 700):
        row = rows[samples]
        assert row["matrix_to_fft"] == pytest.approx(row["matrix_ms"] / row["fft_ms"])
        for part in ("output", "input_gradient", "stride_gradient"):
            assert row[f"fft_float64_{part}"] < 1e-12
            assert row[f"fft_float32_{part}"] < 1e-4
            assert row[f"matrix_float32_{part}"] < 1e-4
    too_large = rows[3000]
    assert too_large["fft_float32_output"] < 1e-4
    for name in (
        "matrix_ms",
        "matrix_kept_mb",
        "matrix_to_fft",
        "fft_float64_output",
        "matrix_float32_output",
    ):
        assert too_large[name] is None


def test_the_matrix_is_kept_and_the_fft_keeps_little() -> None:
    """A matrix of 700 × 312 numbers of 4 bytes, and the coefficients on the ramp."""
    row = bench_long_axes(SMALL)[1]
    assert 0.873 < row["matrix_kept_mb"] < 0.9
    assert row["fft_kept_mb"] < 0.01


def test_a_wrong_form_shows_in_the_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    right = FORMS["fft"]
    monkeypatch.setattr(long_axes, "by_fft", lambda x, axis: 1.001 * right(x, axis))
    row = bench_long_axes(SMALL)[0]
    assert row["fft_float64_output"] == pytest.approx(1e-3, rel=0.01)
    assert row["fft_float64_stride_gradient"] == pytest.approx(2e-3, rel=0.01)


def test_figure_shows_both_forms(tmp_path: Path) -> None:
    settings = LongAxesBench([64, 700, 3000], 4, largest_matrix_mb=5.0, rounds=1, plot=str(tmp_path))
    rows = bench_long_axes(settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long_axes.png", "long_axes.svg"]
    drawn = long_axes_figure(rows, settings)
    time = drawn.figure.axes[0]
    matrix, fft = (np.asarray(line.get_ydata()) for line in time.get_lines()[:2])
    assert list(matrix) == [row["matrix_ms"] for row in rows[:2]]
    assert list(fft) == [row["fft_ms"] for row in rows]
    assert "at 700 samples" in drawn.alt
