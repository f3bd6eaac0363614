"""The settings of frontends: what is refused, in which words, and how they are given."""

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.command_line import fails

from audiostride import FrontendSettings
from audiostride.cli import main
from audiostride.config import recipe as recipes

WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"f_max": 9000},
        "frontend.f_max is 9000 Hz, above half the sample rate of 16000 Hz: lower it to at most 8000, or "
        "leave it out",
    ),
    (
        {"f_min": 3950, "sample_rate": 8000},
        "frontend.f_min is 3950 Hz, but the highest frequency is 3900 Hz: lower frontend.f_min",
    ),
    ({"hop_ms": 0.05}, "frontend.hop_ms is 0.05, less than a sample at 16000 Hz: raise it"),
    (
        {"kind": "leaf", "dense_hop_ms": 0.05},
        "frontend.dense_hop_ms is 0.05, less than a sample at 16000 Hz: raise it",
    ),
    ({"hop_ms": 200}, "frontend.hop_ms must be a number from 0.001 to 100, but is 200"),
    (
        {"window_ms": 5},
        "frontend.window_ms: a window of 5 ms leaves out sound between frames that are 10 ms apart: lengthen "
        "it, or lower frontend.hop_ms",
    ),
    (
        {"kind": "learned_resolution", "windows_ms": (2, 50)},
        "frontend.windows_ms: a window of 2 ms leaves out sound between frames that are 2.5 ms apart: "
        "lengthen it, or lower frontend.dense_hop_ms",
    ),
    (
        {"kind": "learned_resolution", "dense_hop_ms": 12},
        "frontend.dense_hop_ms is 12, but frontend.hop_ms, where the learned hop begins, is 10: lower "
        "frontend.dense_hop_ms",
    ),
    (
        {"kind": "learned_resolution", "dense_channels": 32},
        "frontend.dense_channels is 32, but frontend.mel_channels, where the learned ones begin, is 64: "
        "raise frontend.dense_channels",
    ),
    (
        {"mel_channels": 600},
        "frontend.mel_channels: no bin of the spectrum of a window of 25 ms lies in 7 of 600 mel channels, "
        "for example in channel 1 from 63 to 69 Hz: give fewer channels, a longer window or a higher lowest "
        "frequency",
    ),
    (
        {"kind": "learned_resolution", "windows_ms": [3, 50]},
        "frontend.dense_channels: no bin of the spectrum of a window of 3 ms lies in 13 of 128 mel channels, "
        "for example in channel 1 from 74 to 104 Hz: give fewer channels, a longer window or a higher lowest "
        "frequency",
    ),
    (
        {"window_ms": 5000, "mel_channels": 2048, "sample_rate": 48000},
        "frontend.window_ms: windows of together 5000 ms at 48000 Hz with 2048 channels make tables of more "
        "than 20,000,000 numbers: shorten them, or lower frontend.mel_channels",
    ),
    (
        {"kind": "learned_resolution", "windows_ms": [9000] * 20},
        "frontend.windows_ms: windows of together 180000 ms at 16000 Hz with 128 channels make tables of "
        "more than 20,000,000 numbers: shorten them, or lower frontend.dense_channels",
    ),
    ({"windows_ms": []}, "frontend.windows_ms names no window"),
    ({"windows_ms": [25, -1]}, "frontend.windows_ms[1] must be a number from 0.01 to 10000, but is -1"),
    ({"sample_rate": 500}, "frontend.sample_rate must be a whole number from 1000 to 384000, but is 500"),
    ({"mel_channels": 0}, "frontend.mel_channels must be a whole number from 1 to 2048, but is 0"),
    ({"offset": 0}, "frontend.offset must be a number from 1e-12 to 1, but is 0"),
    ({"floor": -1}, "frontend.floor must be a number from 0 to 1000, but is -1"),
    ({"smoothness": -1}, "frontend.smoothness must be a number from 0 to 10000, but is -1"),
]


@pytest.mark.parametrize(("settings", "sentence"), WRONG)
def test_settings_without_sense_report_a_clear_error(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        FrontendSettings(**settings)


@pytest.mark.parametrize("kind", ["log_mel", "pcen", "learned_resolution", "leaf"])
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 250_000, 384_000])
def test_the_defaults_make_sense_at_every_usual_rate(kind: Any, rate: int) -> None:
    settings = FrontendSettings(kind=kind, sample_rate=rate)
    assert settings.highest_hz == pytest.approx(0.4875 * rate)
    assert settings.images == (3 if kind == "learned_resolution" else 1)


def test_settings_of_other_kinds_are_not_checked() -> None:
    FrontendSettings(windows_ms=[1], dense_hop_ms=50, dense_channels=2)
    FrontendSettings(kind="learned_resolution", window_ms=1)
    FrontendSettings(kind="leaf", mel_channels=600)


def test_a_recipe_and_options_set_the_frontend(
    working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bats.yaml").write_text(
        "base: small\nfrontend: {sample_rate: 250000, window_ms: 4, hop_ms: 2, f_min: 15000}\n"
    )
    assert recipes.load("bats.yaml").frontend == FrontendSettings(
        sample_rate=250_000, window_ms=4, hop_ms=2, f_min=15e3
    )
    assert main(["summary", "bats.yaml"]) == 0
    assert "500 × 64" in capsys.readouterr().out
    options = ["--frontend.hop_ms=1", "--frontend.mel_channels", "48", "--frontend.kind", "pcen"]
    assert main(["summary", "bats.yaml", *options]) == 0
    assert "1000 × 48" in capsys.readouterr().out


def test_windows_can_be_given_on_the_command_line(
    working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--frontend.kind=learned_resolution", "--frontend.windows_ms", "[20, 80]"]
    assert main(["summary", "small", *options]) == 0
    assert "100 × 64" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["summary", "train"])
def test_empty_channels_report_a_clear_error_before_anything_is_written(
    command: str, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails(capsys, 1, command, "small", "--frontend.mel_channels=600")
    assert "no bin of the spectrum of a window of 25 ms lies in 7 of 600 mel channels" in message
    assert not list(working_folder.iterdir())


def test_misspelt_settings_get_the_nearest_name(
    working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails(capsys, 2, "summary", "small", "--frontend.mel_chanels", "48")
    assert "did you mean --frontend.mel_channels?" in message
    Path("r.yaml").write_text("frontend: {samplerate: 8000}")
    message = fails(capsys, 1, "summary", "r.yaml")
    assert "frontend.samplerate is no setting, did you mean frontend.sample_rate?" in message
    message = fails(capsys, 2, "summary", "small", "--frontend.kind", "mel")
    assert (
        "frontend.kind must be one of log_mel, pcen, learned_resolution, leaf, pixels, but is mel" in message
    )
