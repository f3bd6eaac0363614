"""Classifiers with frontends of every kind, as model folders with their cards."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.exported import untrained

from audiostride import Classifier, freeze_, load
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.frontends.build import build_sound_frontend
from audiostride.models.frontend_text import frontend_text

SMALL: dict[str, Any] = {"channels": (2,), "strides": ((2, 2),)}
FRONTENDS: list[dict[str, Any]] = [
    {"compression": "root", "sample_rate": 44_100, "floor": 0.1},
    {"kind": "pcen", "f_max": 7000.0},
    {"kind": "pcen", "pcen_learned": False},
    {"kind": "learned_resolution", "windows_ms": (25.0, 50.0), "smoothness": 3.0},
    {"kind": "leaf", "mel_channels": 20},
]


def card_of(frontend: FrontendSettings, folder: Path) -> str:
    classifier = untrained(frontend, **SMALL)
    classifier.save(folder)
    return (folder / "README.md").read_text()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("frontend", FRONTENDS, ids=str)
@torch.no_grad()
def test_saved_model_loads_bit_for_bit(frontend: dict[str, Any], dtype: torch.dtype, tmp_path: Path) -> None:
    model = untrained(FrontendSettings(**frontend), **SMALL).to(dtype)
    model.save(tmp_path / "m")
    loaded = load(tmp_path / "m")
    assert loaded.frontend_settings == model.frontend_settings
    assert loaded.sample_rate == model.sample_rate
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(after[name].dtype == value.dtype for name, value in before.items())
    sound = 0.1 * torch.randn(2, model.sample_rate, generator=torch.Generator().manual_seed(0))
    again = loaded(sound)
    assert all(torch.equal(again[task], logits) for task, logits in model(sound).items())


def test_frozen_hop_stays_frozen(tmp_path: Path) -> None:
    model: Classifier = untrained(FrontendSettings("leaf"), **SMALL)
    freeze_(model)
    model.save(tmp_path / "m")
    assert load(tmp_path / "m").frontend.resampling.frozen  # type: ignore[union-attr]


def test_card_tells_rate_windows_and_learned_resolution(tmp_path: Path) -> None:
    card = card_of(FrontendSettings("learned_resolution", 44_100), tmp_path / "m")
    assert "It takes sound at 44100 Hz in windows of 1 s. Its frontend makes log-mel spectrograms" in card
    # The strides begin at 441 / 110 and 2, and are 1.13 times as large here.
    assert "of 56.6 channels (learned, 64 at first) from 60 to 21498.8 Hz" in card
    assert "windows of 25, 50 and 100 ms and a frame every 11.3 ms (learned, 10 at first)." in card
    (row,) = [line for line in card.splitlines() if line.startswith("| frontend")]
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["4.53", "2.26"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "pcen"}, "mel spectrograms with per-channel energy normalisation of 64 channels from 60"),
        ({"compression": "root"}, "cube roots of mel spectrograms of 64 channels from 60 to 7800 Hz, with"),
        ({"kind": "leaf"}, "energies of 64 learned filters of 25 ms, normalised per channel, with a frame"),
    ],
)
def test_every_kind_has_its_words(settings: dict[str, Any], words: str) -> None:
    assert frontend_text(FrontendSettings(**settings)).startswith(words)


def test_hop_of_leaf_is_told_in_whole_steps_of_its_low_pass() -> None:
    settings = FrontendSettings("leaf", 44_100)
    frontend = build_sound_frontend(settings)
    assert frontend.hop != round(2.5 * 44.1), (
        "LEAF rounds its dense hop to steps, otherwise this tests nothing"
    )
    text = frontend_text(settings, (40.0, 1.0))
    assert f"a frame every {40_000 * frontend.hop / 44_100:.3g} ms (learned" in text
