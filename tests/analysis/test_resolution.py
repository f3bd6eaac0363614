"""The resolution of frontends in physical units, against values by hand, librosa and a plain count."""

import json
import math
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch

from audiostride import Classifier
from audiostride.analysis.cutoffs import channels_per_octave, stride_table
from audiostride.analysis.resolution import (
    column_per_group,
    quantity_text,
    resolution,
    resolution_means,
    resolution_table,
    side_by_side,
)
from audiostride.cli import main
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import ModelSettings
from audiostride.frontends.build import build_sound_frontend
from audiostride.frontends.leaf import Leaf
from audiostride.frontends.learned_resolution import LearnedResolution
from audiostride.frontends.log_mel import LogMel
from audiostride.tables import Spread


def learned(time: float = 4.0, mel: float = 2.0, **settings: Any) -> LearnedResolution:
    """Make a frontend with dense frames every 2.5 ms and 128 dense channels, and with these strides."""
    frontend = LearnedResolution(**settings)
    frontend.resampling.stride.data = torch.tensor([time, mel])
    return frontend


def classifier(kind: Any, strides: tuple[float, ...] = (), task: str = "word", **frontend: Any) -> Classifier:
    made = Classifier(
        {task: ["a", "b"]},
        ModelSettings((4, 6), ((2, 2), (2, 2))),
        frontend=FrontendSettings(kind=kind, **frontend),
    )
    if strides:
        made.frontend.resampling.stride.data = torch.tensor(strides)  # type: ignore[union-attr]
    return made.eval()


@pytest.mark.parametrize(
    ("stride", "hop_ms", "overlaps"), [(4.0, 10.0, (2.5, 5, 10)), (5.0, 12.5, (2, 4, 8))]
)
def test_learned_hop_is_the_stride_times_the_dense_hop(
    stride: float, hop_ms: float, overlaps: tuple[float, ...]
) -> None:
    found = resolution(learned(stride))
    assert found["hop_ms"] == found["nominal_hop_ms"] == hop_ms
    assert [found[f"overlap_{window}_ms"] for window in (25, 50, 100)] == pytest.approx(overlaps)


def test_hop_is_longer_than_the_nominal_one_where_frames_are_rounded_down() -> None:
    """400 / 4.03 is 99.3, so a second has 99 frames."""
    found = resolution(learned(4.03, 128 / 80.5))
    assert found["nominal_hop_ms"] == pytest.approx(2.5 * 4.03)
    assert found["hop_ms"] == pytest.approx(1000 / 99)
    assert (found["mel_channels"], found["nominal_mel_channels"]) == (80, pytest.approx(80.5))


def test_hop_depends_on_the_length_of_the_sound_by_less_than_a_frame() -> None:
    frontend = learned(4.03)
    for seconds in (0.5, 1.0, 3.0, 10.0):
        found = resolution(frontend, seconds)
        assert 0 <= found["hop_ms"] / found["nominal_hop_ms"] - 1 < 0.01 / seconds


@pytest.mark.parametrize("mel_stride", [1.0, 1.25, 2.0])
def test_channels_per_octave_agree_with_librosa(mel_stride: float) -> None:
    """Learned channels lie evenly on the mel scale: count those in the octave around a frequency."""
    found = resolution(learned(mel=mel_stride))
    count = int(128 / mel_stride)
    low, high = librosa.hz_to_mel([60, 7800], htk=True)
    dense_step = (high - low) / 129
    mels = low + dense_step * (1 + np.arange(count) * 128 / count)
    for hertz in (250, 500, 1000, 2000, 4000):
        octave = np.log2(librosa.mel_to_hz(mels, htk=True) / hertz)
        assert found[f"channels_per_octave_{hertz}_hz"] == pytest.approx((np.abs(octave) <= 0.5).sum(), abs=1)
        above, below = librosa.mel_to_hz(
            librosa.hz_to_mel(hertz, htk=True) + dense_step * 128 / count * np.array([0.5, -0.5]), htk=True
        )
        expected = 1 / math.log2(above / below)
        assert found[f"channels_per_octave_{hertz}_hz"] == pytest.approx(expected, rel=1e-3)


def test_fixed_resolution_is_that_of_the_settings() -> None:
    """Channels are counted where there are any: from 60 Hz to 21.5 kHz."""
    settings = FrontendSettings(kind="pcen", sample_rate=44_100, hop_ms=5.0, window_ms=20.0, mel_channels=96)
    found = resolution(build_sound_frontend(settings))
    assert found["hop_ms"] == pytest.approx(1000 * 220 / 44_100)  # a whole number of samples
    assert found["overlap_20_ms"] == pytest.approx(20 / found["hop_ms"])
    assert found["mel_channels"] == 96
    octaves = [name for name in found if name.startswith("channels_per_octave")]
    assert [int(name.split("_")[3]) for name in octaves] == [125, 250, 500, 1000, 2000, 4000, 8000, 16_000]
    assert not any(name.startswith("nominal") for name in found)


def test_bands_of_leaf_are_those_of_the_spectra_of_its_filters() -> None:
    frontend = Leaf()
    frontend.log_centres.data[10] += math.log(1.7)
    frontend.log_widths.data[20] -= math.log(1.5)
    centres, bands = (values.detach() for values in frontend.bands())
    real, imaginary = frontend.filters().detach().double().chunk(2)
    size = 2**16
    spectra = torch.fft.fft(torch.complex(real, imaginary), size).abs()
    hertz = torch.fft.fftfreq(size, 1 / 16_000)
    for number in (10, 20, 40, 63):
        spectrum = spectra[number]
        assert float(hertz[spectrum.argmax()]) == pytest.approx(float(centres[number]), abs=1)
        # The window of 25 ms cuts the narrow filters off, which widens their band a little.
        width = int((spectrum >= spectrum.max() / 2).sum()) * 16_000 / size
        assert width == pytest.approx(float(bands[number]), rel=0.1 if number == 10 else 0.03)


def test_channels_of_leaf_are_counted_where_its_filters_are() -> None:
    frontend = Leaf()
    centres = librosa.mel_frequencies(66, fmin=60, fmax=7800, htk=True)[1:-1]
    expected = (np.abs(np.log2(centres / 1000)) <= 0.5).sum()
    assert channels_per_octave(frontend, 1000) == expected
    assert resolution(frontend)["channels_per_octave_1000_hz"] == expected
    frontend.log_centres.data[:] = math.log(2 * math.pi * 1000 / 16_000)
    found = resolution(frontend)
    assert (found["channels_per_octave_1000_hz"], found["channels_per_octave_4000_hz"]) == (64, 0)
    assert found["lowest_centre_hz"] == found["highest_centre_hz"] == pytest.approx(1000)


def test_leaf_learns_its_hop_but_not_the_number_of_its_filters() -> None:
    found = resolution(classifier("leaf", (5.0,)).sound_frontend)
    assert (found["hop_ms"], found["nominal_hop_ms"], found["mel_channels"]) == (12.5, 12.5, 64)
    assert "nominal_mel_channels" not in found


def test_table_compares_with_the_start_and_with_what_is_usual() -> None:
    model = classifier(
        "learned_resolution", (5.0, 1.25), hop_ms=7.5, mel_channels=100, windows_ms=(25.0, 60.0)
    )
    rows = {row["quantity"]: row for row in resolution_table(model)}
    hop = rows["hop_ms"]
    assert (hop["value"], hop["usual"]) == (12.5, 10)
    assert hop["at_start"] == pytest.approx(1000 / 133)  # 400 dense frames by a stride of 3
    mel = rows["mel_channels"]
    assert (mel["value"], mel["at_start"], mel["usual"]) == (102, 100, 64)
    assert [rows[f"overlap_{window}_ms"]["usual"] for window in (25, 60)] == [2.5, None]
    assert rows["channels_per_octave_1000_hz"]["usual"] == pytest.approx(channels_per_octave(LogMel(), 1000))
    assert [*rows][:4] == ["hop_ms", "nominal_hop_ms", "overlap_25_ms", "overlap_60_ms"]


def test_runs_stand_beside_each_other_by_quantity() -> None:
    tables = [
        ("a", resolution_table(classifier("log_mel"))),
        ("b", resolution_table(classifier("learned_resolution", (5.0, 2.0)))),
    ]
    rows = side_by_side(tables)
    assert [(row["quantity"], row["run"]) for row in rows[:5]] == [
        ("hop_ms", "a"),
        ("hop_ms", "b"),
        ("nominal_hop_ms", "b"),
        ("overlap_25_ms", "a"),
        ("overlap_25_ms", "b"),
    ]
    assert len(rows) == len(tables[0][1]) + len(tables[1][1])


def test_group_has_the_mean_and_deviation_of_its_resolutions() -> None:
    first, second = (resolution_table(classifier("learned_resolution", (s, 2.0))) for s in (4.0, 5.0))
    fixed = resolution_table(classifier("log_mel"))
    means = resolution_means([("learned", first), ("fixed", fixed), ("learned", second)])
    assert means[0] == {
        "quantity": "hop_ms",
        "group": "learned",
        "runs": 2,
        "value": (11.25, pytest.approx(2.5 / math.sqrt(2))),
        "at_start": 10.0,
        "usual": 10.0,
    }
    assert means[1]["value"] == Spread(10.0, None)
    rows = column_per_group(means)
    assert rows[0] == {
        "quantity": "hop in ms",
        "learned": means[0]["value"],
        "fixed": Spread(10.0, None),
        "usual": 10.0,
    }
    (nominal,) = (row for row in rows if row["quantity"] == "nominal hop in ms")
    assert (nominal["fixed"], nominal["usual"]) == (None, None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("overlap_12.5_ms", "overlap of windows of 12.5 ms"),
        ("channels_per_octave_16000_hz", "channels per octave at 16000 Hz"),
        ("narrowest_band_hz", "narrowest band in Hz"),
        ("nominal_mel_channels", "nominal mel channels"),
    ],
)
def test_quantities_have_readable_names(name: str, text: str) -> None:
    assert quantity_text(name) == text


def test_frontend_without_channels_at_one_kilohertz_has_tables() -> None:
    """Bats: octaves are counted around the nearest frequency, 10 kHz."""
    bats = classifier("log_mel", sample_rate=250_000, window_ms=4.0, hop_ms=1.0, f_min=10_000.0)
    rows = stride_table(bats)
    around = stride_table(bats, around_hz=10_000.0)
    assert rows == around
    assert (rows[0]["rate"], rows[0]["input_length"]) == (1000.0, 1000)
    octaves = [name for name in resolution(bats.sound_frontend) if name.startswith("channels_per_octave")]
    assert [int(name.split("_")[3]) for name in octaves] == [16_000, 32_000, 64_000]
    with pytest.raises(ValueError, match="mel channels reach from 10000 to 121875 Hz, not to 1000 Hz"):
        stride_table(bats, around_hz=1000.0)


def checkpoint(folder: Path, name: str, model: Classifier) -> str:
    """Write a checkpoint file as training does, but outside a run folder."""
    weights = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    file = folder / f"{name}.ckpt"
    torch.save({"classifier": model.configuration(), "state_dict": weights, "global_step": 0}, file)
    return str(file)


def test_command_shows_each_tasks_own_resolution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        checkpoint(tmp_path, "a", classifier("learned_resolution", (5.0, 2.56), "word")),
        checkpoint(tmp_path, "b", classifier("learned_resolution", (5.0, 1.28), "pitch")),
        checkpoint(tmp_path, "c", classifier("learned_resolution", (8.0, 1.28), "pitch")),
    ]
    command = ["strides", *files, "--group", "task"]
    assert main([*command, "--resolution", "--format", "json"]) == 0
    rows = {(row["quantity"], row["group"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows["hop_ms", "word"]["value"] == 12.5
    assert (rows["hop_ms", "pitch"]["value"], rows["hop_ms", "pitch"]["runs"]) == (16.25, 2)
    assert rows["hop_ms", "pitch"]["value_deviation"] == pytest.approx(7.5 / math.sqrt(2), rel=1e-5)
    assert [rows["mel_channels", task]["value"] for task in ("word", "pitch")] == [50, 100]
    assert main([*command, "--format", "json"]) == 0
    strides = json.loads(capsys.readouterr().out)
    assert [(row["group"], row["axis"], row["stride"]) for row in strides if row["layer"] == 0] == [
        ("word", "time", 5.0),
        ("word", "frequency", pytest.approx(2.56)),
        ("pitch", "time", 6.5),
        ("pitch", "frequency", pytest.approx(1.28)),
    ]


def test_tables_for_people_show_strides_and_resolution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = checkpoint(tmp_path, "a", classifier("log_mel"))
    assert main(["strides", file, "--format", "markdown"]) == 0
    above, title, below = capsys.readouterr().out.split("\n\n")
    assert above.count("\n") == 1 + 4  # head, line, four rows
    assert title == "**Resolution of the frontend**"
    assert "| hop in ms                      |      10 |         10 |      10 |" in below
    assert main(["strides", file, "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 4
    assert main(["strides", file, "--resolution"]) == 0
    assert capsys.readouterr().out.startswith("quantity")
