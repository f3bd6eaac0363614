"""The layers' competitors give the same numbers or sizes as the layers; ratios follow from the medians."""

from pathlib import Path

import numpy as np
import pytest
import torch

from audiostride.bench import layers
from audiostride.bench.drift import bench_drift
from audiostride.bench.figure import cost_figure
from audiostride.bench.layers import _METHODS, FftDiffStride, FreeCrop, bench_layer, bench_layers
from audiostride.bench.settings import DriftBench, LayerBench, LayersBench, StepBench
from audiostride.bench.step import bench_step
from audiostride.config import yaml
from audiostride.layers.diffstride import DiffStride1d, DiffStride2d


@pytest.mark.parametrize("stride", [1.1, 1.3, 2.0, 3.7])
@pytest.mark.parametrize("smoothness", [1.0, 4.0])
@pytest.mark.parametrize("n", [16, 33, 64])
def test_fft_form_equals_diffstride_on_one_axis(n: int, stride: float, smoothness: float) -> None:
    for dim in (-1, -2):
        layer = DiffStride1d(stride, smoothness=smoothness, dim=dim).double()
        shape = (2, 3, n, 5) if dim == -2 else (2, 3, 5, n)
        x = torch.randn(shape, dtype=torch.float64)
        ours, fft = layer(x), FftDiffStride(layer)(x)
        torch.testing.assert_close(ours, fft, atol=1e-12, rtol=0)
        g = torch.randn_like(ours)
        gradients = [torch.autograd.grad((y * g).sum(), layer.stride)[0] for y in (ours, fft)]
        torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("sizes", [(16, 21), (33, 64), (64, 101)])
def test_fft_form_equals_diffstride_on_two_axes(sizes: tuple[int, int]) -> None:
    layer = DiffStride2d((2.3, 1.7), smoothness=2.0).double()
    x = torch.randn(2, 3, *sizes, dtype=torch.float64)
    ours, fft = layer(x), FftDiffStride(layer)(x)
    torch.testing.assert_close(ours, fft, atol=1e-12, rtol=0)


def test_free_crop_has_the_sizes_of_diffstride() -> None:
    layer = DiffStride1d(2.3, smoothness=4.0)
    assert FreeCrop(layer)(torch.ones(2, 100)).shape == layer(torch.ones(2, 100)).shape


def test_ratios_are_to_crop_and_fft_of_the_same_smoothness() -> None:
    rows = bench_layers(LayersBench(batch_size=1, frames=20, smoothness=[1.0, 2.0], rounds=1))
    assert [(row["method"], row["smoothness"]) for row in rows] == [
        (method, smoothness) for smoothness in (1.0, 2.0) for method in _METHODS
    ]
    for first in (0, len(_METHODS)):
        group = {row["method"]: row for row in rows[first : first + len(_METHODS)]}
        for row in group.values():
            assert row["to_crop"] == pytest.approx(row["training_ms"] / group["free crop"]["training_ms"])
            assert row["to_fft"] == pytest.approx(row["training_ms"] / group["fft"]["training_ms"])
            assert row["to_strided"] == pytest.approx(row["training_ms"] / group["strided"]["training_ms"])
            assert row["kept_to_crop"] == pytest.approx(row["kept_mb"] / group["free crop"]["kept_mb"])


def test_networks_have_the_channels_that_are_given() -> None:
    """Strided convolution keeps its feature maps: half of them with half of the channels."""
    narrow, wide = (
        bench_layers(LayersBench(batch_size=4, smoothness=[1.0], rounds=1, channels=[n] * 6))[0]["kept_mb"]
        for n in (16, 32)
    )
    assert wide / narrow == pytest.approx(2, rel=0.1)


def test_diffstride_keeps_as_much_memory_as_a_free_crop_and_half_as_much_as_fft() -> None:
    """Bytes are counted, so the test does not depend on the machine."""
    rows = bench_layers(LayersBench(batch_size=2, smoothness=[4.0, 1.0], rounds=1))
    for row in rows:
        if row["method"] == "diffstride":
            assert row["kept_to_crop"] < 1.15
            assert row["kept_to_fft"] < 0.55


def test_single_layer_is_compared_with_its_fft_form() -> None:
    rows = bench_layer(LayerBench((2, 3, 16, 20), rounds=2, smoothness=[1.0]))
    assert [row["form"] for row in rows] == ["fft", "matrices"]
    assert rows[1]["times_fft"] == pytest.approx(rows[0]["ms"] / rows[1]["ms"])


def test_every_method_counts_in_its_faster_memory_format(monkeypatch: pytest.MonkeyPatch) -> None:
    def times(work: dict, rounds: int) -> dict:
        """Let the FFT form and the free crop be faster contiguous, and all others channels-last."""
        slow = {"fft": "channels-last", "free crop": "channels-last"}
        return {key: 2.0 if key[-1] == slow.get(key[0], "contiguous") else 1.0 for key in work}

    monkeypatch.setattr(layers, "in_turns", times)
    rows = bench_layers(LayersBench(batch_size=1, frames=20, smoothness=[1.0]))
    assert len(rows) == len(_METHODS)
    for row in rows:
        expected = "contiguous" if row["method"] in ("fft", "free crop") else "channels-last"
        assert row["training_format"] == row["inference_format"] == expected
        assert row["training_ms"] == row["inference_ms"] == row["to_crop"] == 1
    formats = {row["form"]: row["format"] for row in bench_layer(LayerBench((2, 3, 16, 20)))}
    assert formats == {"fft": "contiguous", "matrices": "channels-last"}


def test_networks_are_measured_in_the_format_that_is_named() -> None:
    for kind, memory_format in layers._FORMATS.items():
        network = layers._in_format(_METHODS["diffstride"]([4] * 6, 1.0), kind)
        weight = next(block for block in network.separable_blocks()).frequency.conv.weight
        assert weight.is_contiguous(memory_format=memory_format)


def test_figure_shows_the_ratio_of_every_method(tmp_path: Path) -> None:
    rows = bench_layers(
        LayersBench(batch_size=1, frames=20, smoothness=[2.0, 1.0], rounds=1, plot=str(tmp_path / "plots"))
    )
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["layers.png", "layers.svg"]
    figure = cost_figure(rows)
    training = figure.figure.axes[0]
    drawn = [
        np.asarray(line.get_xdata()) for line in training.get_lines()[:-1]
    ]  # the last is that of the crop
    for smoothness, values in zip((2.0, 1.0), drawn, strict=True):
        assert list(values) == [row["to_crop"] for row in rows if row["smoothness"] == smoothness]
    (ratio, _) = [row["to_crop"] for row in rows if row["method"] == "diffstride"]
    assert f"{ratio:.2f}" in figure.alt


def test_drifting_strides_change_sizes_unless_rounded_or_frozen() -> None:
    settings = DriftBench(1, [2] * 6, multiples=[1, 16], drift=0.02, steps=6, compile=False)
    rows = {row["lengths"]: row for row in bench_drift(settings)}
    assert list(rows) == ["not rounded", "multiples of 16", "frozen"]
    assert rows["not rounded"]["sizes_seen"] > rows["multiples of 16"]["sizes_seen"]
    assert rows["frozen"]["sizes_seen"] == 1
    for row in rows.values():
        assert row["to_first"] == pytest.approx(row["median_ms"] / rows["not rounded"]["median_ms"])


@pytest.mark.parametrize("kind", ["log_mel", "learned_resolution"])
def test_parts_of_a_step_are_percentages_of_the_whole(kind: str, tmp_path: Path) -> None:
    recipe = {
        "model": {"channels": [4, 4], "strides": [[2, 2], [2, 2]]},
        "frontend": {"kind": kind, "sample_rate": 8000},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.dump(recipe))
    settings = StepBench(str(tmp_path / "tiny.yaml"), batch_size=2, steps=14)
    rows = {row["part"]: row for row in bench_step(settings)}
    assert list(rows) == [
        "windows", "frontend", "network, forward and backward", "optimiser", "logging", "whole step",
        "optimiser, not fused", "whole step, freed memory given back",
    ]  # fmt: skip
    for row in rows.values():
        assert row["percent"] == pytest.approx(100 * row["ms"] / rows["whole step"]["ms"])
        assert row["ms"] > 0
    whole = [row for part, row in rows.items() if part.startswith("whole step")]
    for row in rows.values():
        assert row.keys() == {"part", "ms", "percent", "page_faults", "system_percent", "peak_mb"}
        assert (row["page_faults"] is None) == (row not in whole)
    for row in whole:
        assert row["page_faults"] >= 0
        assert 0 <= row["system_percent"] <= 100
        assert 100 < row["peak_mb"] < 10_000
