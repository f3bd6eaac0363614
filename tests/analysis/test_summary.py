"""The summary of a network: sizes, multiply-accumulates, receptive fields and parameters."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import tiny
from torch.utils.flop_counter import FlopCounterMode

from audiostride import Window, load
from audiostride.analysis.summary import summarise_recipe, summary
from audiostride.cli import main
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import ModelSettings, Recipe
from audiostride.data.store import Store
from audiostride.frontends.build import build_sound_frontend
from audiostride.frontends.leaf import Leaf
from audiostride.models.networks.separable import SeparableCNN
from audiostride.training.fit import train

KINDS: Any = ("strided", "max", "average", "spectral", "diffstride")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smoothness", [4.0, 1.0])
def test_macs_agree_with_the_flop_counter_of_torch(kind: Any, smoothness: float) -> None:
    network = SeparableCNN((8, 12, 16), ((2, 2), (1, 1), (2, 3)), kind, Window(smoothness)).eval()
    x = torch.randn(1, 1, 100, 64)
    with torch.no_grad():
        network(x)  # computes the cached operators
        with FlopCounterMode(display=False) as counter:
            network(x)
    assert 2e6 * summary(network)[-1]["mega_macs"] == pytest.approx(counter.get_total_flops(), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_macs_of_long_windows_grow_with_their_length_not_its_square(kind: Any) -> None:
    network = SeparableCNN((8, 12), ((2, 2), (2, 2)), kind, Window(1.0))
    one, two = (summary(network, frames)[-1]["mega_macs"] for frames in (6000, 12_000))
    assert 1.9 < two / one < 2.2


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_equal_those_of_the_feature_maps(kind: Any) -> None:
    network = SeparableCNN((4, 5, 6), ((2, 2), (1, 1), (2, 3)), kind, Window(1.0)).eval()
    rows = summary(network, 98)
    sizes = []
    for block in network.separable_blocks():
        for layer in (block.time, block.frequency):
            layer.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[2:])))
    network(torch.randn(1, 1, 98, 64))
    assert [tuple(map(int, row["output"].split(" × "))) for row in rows[:-1]] == sizes


def test_strided_sizes_follow_the_formula_for_convolutions() -> None:
    """floor((W − F + 2 P) / S) + 1 with F = 3, P = 1."""
    rows = summary(SeparableCNN((4, 4), ((2, 3), (3, 2)), "strided"), 98)
    assert [row["output"] for row in rows] == ["49 × 64", "49 × 22", "17 × 22", "17 × 11", "17 × 11"]


def test_receptive_field_covers_the_inputs_with_a_gradient() -> None:
    """For strided convolution, the gradient of one output sample shows its inputs."""
    network = SeparableCNN((3, 3, 3), ((2, 1), (2, 2), (1, 2)), "strided").eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()  # so that no ReLU blocks a path, and no two paths cancel
    x = torch.ones(1, 1, 120, 64, requires_grad=True)
    network.blocks(x)[0, :, 15, 8].sum().backward()
    assert x.grad is not None
    seen = x.grad[0, 0] != 0
    frames, mels = int(seen.any(1).sum()), int(seen.any(0).sum())
    last = summary(network, 120)[-1]
    assert last["field_ms"] == (frames - 1) * 10 + 25
    assert last["field_mels"] == mels


def test_parameters_of_the_rows_add_up() -> None:
    network = SeparableCNN((4, 5), ((2, 2), (1, 1)))
    rows = summary(network)
    assert rows[-1]["parameters"] == sum(row["parameters"] for row in rows[:-1])
    assert rows[-1]["parameters"] == sum(p.numel() for p in network.parameters())


def of_frontend(kind: Any, **settings: Any) -> dict[str, dict[str, Any]]:
    """Return the rows of a small network with a frontend, by their layers."""
    network = ModelSettings((4, 5), ((2, 2), (1, 2)), downsampling="strided")
    recipe = Recipe(network, frontend=FrontendSettings(kind=kind, **settings))
    return {row["layer"]: row for row in summarise_recipe(recipe)}


@pytest.mark.parametrize("kind", ["log_mel", "pcen", "learned_resolution", "leaf"])
def test_last_row_adds_the_frontend_to_the_network(kind: Any) -> None:
    rows = of_frontend(kind)
    frontend, network, both = rows["frontend"], rows["all"], rows["frontend and all"]
    assert [*rows][-1] == "frontend and all"
    for column in ("parameters", "mega_macs"):
        assert both[column] == pytest.approx(frontend[column] + network[column])
    assert (frontend["input"], frontend["output"]) == ("16000", "100 × 64")
    assert (both["input"], network["input"]) == ("16000", "100 × 64")
    built = build_sound_frontend(FrontendSettings(kind=kind))
    assert frontend["mega_macs"] == built.macs(16_000) / 1e6
    assert frontend["parameters"] == sum(parameter.numel() for parameter in built.parameters())
    assert frontend["channels"] == built.images


def test_receptive_field_follows_from_the_hop_and_windows_of_the_frontend() -> None:
    """The last layer reaches over 1 + 2 + 2 · 2 frames."""
    assert of_frontend("log_mel")["all"]["field_ms"] == 6 * 10 + 25
    half = of_frontend("pcen", hop_ms=5.0, window_ms=20.0, sample_rate=44_100)["all"]
    assert half["field_ms"] == pytest.approx(6 * 1000 * 220 / 44_100 + 20)
    learned = of_frontend("learned_resolution", hop_ms=12.5, windows_ms=(20.0, 80.0))
    assert learned["all"]["field_ms"] == pytest.approx(6 * 12.5 + 80)
    assert learned["frontend"]["field_ms"] == 80
    assert of_frontend("leaf")["frontend"]["field_ms"] == 50  # filters and low-pass of 25 ms each


@pytest.mark.parametrize("kind", ["log_mel", "leaf"])
def test_frame_of_a_frontend_depends_on_its_field(kind: Any) -> None:
    field_ms = of_frontend(kind)["frontend"]["field_ms"]
    frontend = build_sound_frontend(FrontendSettings(kind=kind))
    energy = frontend.energy if isinstance(frontend, Leaf) else frontend.features
    waveform = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    frames = energy(waveform)
    frames[..., frames.shape[-2] // 2, :].sum().backward()
    assert waveform.grad is not None
    samples = int((waveform.grad != 0).sum())
    assert samples / 16 == pytest.approx(field_ms, abs=0.6)


def test_command_summarises_a_recipe_with_changed_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a folder without a prepared corpus
    command = ["summary", "speech_commands_small", "--model.smoothness", "2", "--format", "csv"]
    assert main(command) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["channels"] for row in rows[:4]] == ["32", "32", "64", "64"]
    assert rows[0]["output"] == "50 × 64"
    assert main(["summary", "small", "--data.window_s", "0.5", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split(",")[2] == "50 × 64"
    assert main(["summary", "nothing"]) == 1
    assert "there is no recipe nothing" in capsys.readouterr().err


def test_command_summarises_a_run_with_its_learned_strides(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny(store, stride_learning_rate=0.2), tmp_path / "run")
    capsys.readouterr()
    for given in (tmp_path / "run", tmp_path / "run" / "checkpoints" / "best.ckpt"):
        assert main(["summary", str(given), "--format", "json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        strides = [stride.item() for pair in load(tmp_path / "run").trunk.strides for stride in pair]
        assert [row["stride"] for row in rows[:4]] == pytest.approx(strides, rel=5e-6)
        assert [row["layer"] for row in rows[4:]] == ["all", "frontend", "frontend and all"]
    assert main(["summary", str(tmp_path / "run"), "--model.smoothness", "2"]) == 2
    assert main(["summary"]) == 2
    assert main(["summary", str(tmp_path)]) == 1
    assert "is neither a run nor a model folder" in capsys.readouterr().err
