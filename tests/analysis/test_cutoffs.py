"""Cut-off frequencies of strides, and their means over runs."""

import math
from typing import Any

import librosa
import pytest
import torch

from audiostride import Classifier
from audiostride.analysis.cutoffs import cutoffs, octaves_per_channel, stride_table
from audiostride.analysis.groups import group_means
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import ModelSettings
from audiostride.frontends.log_mel import LogMel
from audiostride.layers.functional import resampling_matrix
from audiostride.tables import Spread

# Riad et al. 2022, table 2: first layer's mean stride and cut-off over time (Hz) and over frequency
# (cycles per mel), each a mean over three runs of edges on the grid of DFT bins.
TABLE_2 = {
    "acoustic_scenes": (1.89, 26.25, 1.99, 0.2448),
    "birdsong": (1.91, 25.83, 1.96, 0.25),
    "nsynth_instrument": (1.29, 38.33, 2.12, 0.2292),
    "nsynth_pitch": (1.32, 37.5, 1.61, 0.3021),
    "speech_commands": (1.97, 25.0, 1.95, 0.25),
    "multi_task": (1.46, 34.17, 1.79, 0.2708),
}


@pytest.mark.parametrize("task", TABLE_2)
def test_cutoffs_lie_within_one_bin_of_table_2(task: str) -> None:
    """Each value in the table is the mean of three runs, on the grid of 160 frames and 64 mel channels.

    The cut-off of a mean stride differs from the mean of three cut-offs by up to one bin.
    """
    time_stride, time_hz, mel_stride, cycles = TABLE_2[task]
    for n, rate, stride, printed in ((160, 100.0, time_stride, time_hz), (64, 1.0, mel_stride, cycles)):
        step = rate / n
        cutoff = cutoffs(n, stride, 4.0, rate).pass_band_on_grid
        assert abs(cutoff - printed) <= step


def test_cutoffs_equal_table_2_where_its_three_runs_agree() -> None:
    """Speech commands: 25 Hz at a stride of 1.97, and 0.25 cycles per mel at 1.95."""
    assert cutoffs(160, 1.97, 4.0, 100.0).pass_band_on_grid == 25.0
    assert cutoffs(64, 1.95, 4.0, 1.0).pass_band_on_grid == 0.25


def test_edges_equal_values_computed_by_hand() -> None:
    edges = cutoffs(100, 2.0, 4.0, 100.0)
    assert (edges.pass_band, edges.pass_band_on_grid) == (25.0, 25.0)
    assert (edges.half_amplitude, edges.stop_band) == (27.0, 29.0)
    assert (
        cutoffs(64, 64 / 30, 4.0, 1.0).pass_band_on_grid == 15 / 64
    )  # a whole bin, apart from rounding errors
    assert cutoffs(101, 2.0, 0.0, 101.0).pass_band_on_grid == 25.0


def test_edge_above_the_nyquist_frequency_is_none() -> None:
    edges = cutoffs(16, 1.25, 4.0, 1.0)
    assert edges.pass_band == 0.4
    assert edges.half_amplitude is None
    assert edges.stop_band is None


@pytest.mark.parametrize("smoothness", [1.0, 4.0])
def test_layer_has_a_gain_of_one_half_and_zero_at_its_edges(smoothness: float) -> None:
    """Tones measure the gain of the resampling matrix."""
    n, rate = 400, 100.0
    stride = n / (2 * 60.0)
    edges = cutoffs(n, stride, smoothness, rate)
    matrix = resampling_matrix(n, stride, smoothness)

    def gain(hertz: float) -> float:
        bins = round(hertz * n / rate)
        tone = torch.cos(2 * torch.pi * bins * torch.arange(n, dtype=torch.float64) / n)
        return float((matrix @ tone).square().mean().sqrt() * math.sqrt(2))

    assert gain(edges.pass_band) == pytest.approx(1)
    assert edges.half_amplitude is not None
    assert edges.stop_band is not None
    if smoothness > 1:
        assert gain(edges.half_amplitude) == pytest.approx(0.5)
    assert gain(edges.stop_band) == pytest.approx(0, abs=1e-9)


def classifier(**settings: Any) -> Classifier:
    return Classifier({"word": ["a", "b"]}, ModelSettings((4, 6), ((2, 2), (1, 3)), **settings))


def test_rate_decreases_from_layer_to_layer() -> None:
    rows = stride_table(classifier(smoothness=1.0))
    assert [(row["layer"], row["axis"]) for row in rows] == [
        (1, "time"), (1, "frequency"), (2, "time"), (2, "frequency"),
    ]  # fmt: skip
    first, second = rows[0], rows[2]
    assert (first["input_length"], first["output_length"], first["rate"]) == (100, 52, 100.0)
    assert first["effective_stride"] == pytest.approx(100 / 52)
    assert (first["pass_band"], first["unit"]) == (25.0, "Hz")
    assert (second["input_length"], second["rate"]) == (52, 52.0)
    mel = rows[3]
    assert (mel["input_length"], mel["rate"], mel["unit"]) == (34, pytest.approx(34 / 64), "cycles/mel")
    assert mel["pass_band"] == pytest.approx(34 / 64 / 6)


def test_rate_does_not_depend_on_the_length_of_the_sound() -> None:
    rows = stride_table(classifier(), frames=160)
    assert (rows[0]["input_length"], rows[0]["rate"]) == (160, 100.0)


def test_spectral_pooling_has_one_edge_and_strided_convolution_has_none() -> None:
    row = stride_table(classifier(downsampling="spectral"))[0]
    assert row["pass_band"] == row["half_amplitude"] == row["stop_band"] == 25.0
    row = stride_table(classifier(downsampling="strided"))[0]
    assert row["stride"] == 2.0
    assert row["pass_band"] is None


@pytest.mark.parametrize("task", TABLE_2)
def test_three_strides_with_the_mean_of_table_2_can_have_its_mean_cutoff(task: str) -> None:
    """The table lists means of strides and of cut-offs, both rounded. Construct three such runs."""
    time_stride, time_hz, mel_stride, cycles = TABLE_2[task]
    for n, rate, stride, printed in ((160, 100.0, time_stride, time_hz), (64, 1.0, mel_stride, cycles)):
        low, high = round(3 * printed * n / rate) // 3, -(-round(3 * printed * n / rate) // 3)
        above = round(3 * printed * n / rate) - 3 * low
        bins = [high] * above + [low] * (3 - above)
        # All strides in (n / (2 b + 2), n / (2 b)] have their edge at bin b. Move to the mean in the table.
        most, least = [n / (2 * b) for b in bins], [n / (2 * b + 2) + 1e-9 for b in bins]
        share = (3 * stride - sum(least)) / (sum(most) - sum(least))
        slack = 3 * 0.005 / (sum(most) - sum(least))
        assert -slack <= share <= 1 + slack
        share = min(max(share, 0.0), 1.0)
        strides = [a + share * (b - a) for a, b in zip(least, most, strict=True)]
        edges = [cutoffs(n, s, 4.0, rate).pass_band_on_grid for s in strides]
        assert sum(strides) / 3 == pytest.approx(stride, abs=0.00501)
        digits = 2 if rate == 100 else 4
        assert round(sum(edges) / 3, digits) == pytest.approx(printed, abs=0.6 * 10**-digits)


def test_octaves_per_channel_agree_with_librosa() -> None:
    """The reference is half the distance between the two neighbours of a mel channel, in octaves."""
    frontend = LogMel()
    centres = librosa.mel_frequencies(66, fmin=60, fmax=7800, htk=True)
    for channel in (5, 20, 60):
        octaves = math.log2(centres[channel + 1] / centres[channel - 1]) / 2
        assert octaves_per_channel(frontend, centres[channel]) == pytest.approx(octaves, rel=0.01)
    with pytest.raises(ValueError, match="mel channels reach from 60 to 7800 Hz, not to 20 Hz"):
        octaves_per_channel(frontend, 20.0)


def test_cumulated_pass_band_is_the_lowest_up_to_a_layer() -> None:
    deep = ModelSettings((4, 4, 4), ((2, 2), (1, 1), (2, 4)), smoothness=4.0)
    rows = [row for row in stride_table(Classifier({"word": ["a", "b"]}, deep)) if row["axis"] == "time"]
    bands = [row["pass_band"] for row in rows]
    assert [row["cumulated_pass_band"] for row in rows] == [bands[0], min(bands[:2]), min(bands)]
    assert bands[1] > bands[0]  # the ramp of the first layer keeps more than its pass band


def test_group_has_mean_and_deviation_unless_a_run_lacks_the_edge() -> None:
    tables = [stride_table(classifier(smoothness=1.0)) for _ in range(3)]
    for table, stride in zip(tables, (1.9, 2.0, 2.1), strict=True):
        table[0]["stride"] = stride
    tables[1][1]["stop_band"] = None
    rows = group_means([("ours", tables[0]), ("other", tables[2]), ("ours", tables[1])])
    assert [(row["group"], row["layer"], row["axis"], row["runs"]) for row in rows[:2]] == [
        ("ours", 1, "time", 2), ("ours", 1, "frequency", 2),
    ]  # fmt: skip
    assert rows[0]["stride"] == (pytest.approx(1.95), pytest.approx(0.1 / math.sqrt(2)))
    assert rows[1]["stop_band"] is None
    assert rows[4]["group"] == "other"
    assert rows[4]["stride"] == Spread(2.1, None)


def learned(kind: Any, strides: tuple[float, ...], window_s: float = 1.0, **settings: Any) -> Classifier:
    """Make a classifier whose frontend has these strides, on dense frames every 2.5 ms."""
    made = Classifier(
        {"word": ["a", "b"]},
        ModelSettings((4, 6), ((2, 2), (1, 3)), **settings),
        window_s,
        FrontendSettings(kind=kind),
    )
    made.frontend.resampling.stride.data = torch.tensor(strides)  # type: ignore[union-attr]
    return made


def test_table_begins_with_the_layer_of_a_frontend_that_learns_its_resolution() -> None:
    """400 dense frames in a second, a stride of 5, and a ramp of 4 bins that ends half a bin above 40."""
    rows = stride_table(learned("learned_resolution", (5.0, 2.0), smoothness=1.0))
    assert [(row["layer"], row["axis"]) for row in rows[:3]] == [(0, "time"), (0, "frequency"), (1, "time")]
    time, mel, layer_1, layer_1_mel = rows[:4]
    assert (time["input_length"], time["output_length"], time["rate"]) == (400, 80, 400.0)
    assert (time["pass_band"], time["pass_band_on_grid"], time["stop_band"]) == (36.5, 36.0, 40.5)
    assert (time["hop_ms"], time["unit"], time["effective_stride"]) == (12.5, "Hz", 5.0)
    assert (mel["input_length"], mel["output_length"], mel["rate"]) == (128, 64, 1.0)
    assert (mel["pass_band"], mel["unit"]) == (28.5 / 128, "cycles/mel")
    assert (layer_1["input_length"], layer_1["rate"], layer_1["pass_band"]) == (80, 80.0, 20.0)
    assert (layer_1_mel["input_length"], layer_1_mel["rate"], layer_1_mel["pass_band"]) == (64, 0.5, 0.125)
    assert layer_1["hop_ms"] == 1000 / 42  # 80 / 2 frames and two bins of ramp
    assert layer_1["cumulated_pass_band"] == 20.0


def test_cycles_per_octave_do_not_depend_on_the_density_of_the_channels() -> None:
    """A stride of 2 on 64 mel channels passes nearly the same patterns as one of 4 on 128."""
    fixed = stride_table(classifier(downsampling="spectral"))[1]
    dense = learned("learned_resolution", (4.0, 2.0), downsampling="spectral")
    (row,) = (row for row in stride_table(dense) if (row["layer"], row["axis"]) == (1, "frequency"))
    assert row["cycles_per_octave"] == pytest.approx(fixed["cycles_per_octave"], rel=0.01)
    assert row["channels_per_octave"] == pytest.approx(fixed["channels_per_octave"], rel=0.01)
    assert row["pass_band"] == fixed["pass_band"] / 2


def test_leaf_has_a_stride_over_time_and_cutoffs_in_cycles_per_filter() -> None:
    rows = stride_table(learned("leaf", (5.0,)))
    assert [(row["layer"], row["axis"]) for row in rows[:3]] == [(0, "time"), (1, "time"), (1, "frequency")]
    assert (rows[0]["hop_ms"], rows[1]["rate"]) == (12.5, 80.0)
    assert (rows[2]["input_length"], rows[2]["unit"]) == (64, "cycles/filter")


def test_cutoffs_are_those_of_the_windows_that_a_classifier_is_trained_on() -> None:
    model = learned("learned_resolution", (4.0, 2.0), window_s=0.5)
    assert stride_table(model)[0]["input_length"] == 200
    assert stride_table(model, frames=640)[0]["input_length"] == 640


def test_learned_frontend_has_edges_before_a_network_without() -> None:
    rows = stride_table(learned("learned_resolution", (4.0, 2.0), downsampling="strided"))
    assert [row["pass_band"] is None for row in rows] == [False, False, True, True, True, True]
