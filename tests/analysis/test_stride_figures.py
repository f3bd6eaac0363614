"""Figures of strides agree with the logs of runs and with what the layers do."""

import json
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from audiostride import Classifier
from audiostride.analysis.cutoffs import cutoffs, gains
from audiostride.analysis.figures import figure_style, save_figures, svg
from audiostride.analysis.filter_figure import draw_filters
from audiostride.analysis.learning_figures import draw_trajectories
from audiostride.analysis.resolution_figure import draw_resolution
from audiostride.analysis.stride_figures import SPEECH_HZ, draw_cutoffs, stride_figures
from audiostride.analysis.trained import TrainedRun, titles
from audiostride.analysis.window_figure import draw_windows
from audiostride.cli import main
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import ModelSettings, Recipe
from audiostride.frontends.leaf import Leaf
from audiostride.layers import Window
from audiostride.layers.functional import resampling_matrix
from audiostride.layers.learned_strides import diffstride_layers

INITIAL = ((2, 2), (1, 3))
TRAINED = ((1.6, 1.9), (1.2, 2.7))


def classifier(
    strides: tuple[tuple[float, float], ...] = TRAINED,
    task: str = "word",
    initial: tuple[tuple[float, float], ...] | None = None,
    **settings: Any,
) -> Classifier:
    """Make a classifier with these strides. They were the initial ones, unless they are learned."""
    begin = initial if initial and "downsampling" not in settings else strides
    made = Classifier({task: ["a", "b"]}, ModelSettings([4] * len(begin), begin, **settings))
    set_strides(made, strides)
    return made.eval()


@torch.no_grad()
def set_strides(model: Classifier, strides: Any) -> None:
    """Give the blocks of a classifier strides, if they are learned."""
    if model.trunk.downsampling == "diffstride":
        for layer, stride in zip(diffstride_layers(model.trunk), np.ravel(strides).tolist(), strict=True):
            layer.stride.fill_(stride)


def trained(
    strides: tuple[tuple[float, float], ...] = TRAINED,
    initial: tuple[tuple[float, float], ...] = INITIAL,
    steps: tuple[int, ...] = (50, 100),
    name: str = "runs/a",
    **settings: Any,
) -> TrainedRun:
    """Make a run whose strides changed linearly from the initial ones to these."""
    model = classifier(strides, initial=initial, **settings)
    begin, end = np.array(initial), np.array(strides)
    log = [{"step": step, "strides": (begin + (end - begin) * step / max(steps)).tolist()} for step in steps]
    settings.pop("task", None)
    return TrainedRun(name, model, Recipe(ModelSettings([4] * len(initial), initial, **settings)), log, [])


def figures(runs: list[TrainedRun], names: list[str] | None = None) -> dict[str, Figure]:
    return {drawn.name: drawn.figure for drawn in stride_figures(runs, names)}


def grid(figure: Figure, layers: int = 2) -> Any:
    """Return the panels, (axes, layers)."""
    return np.array(figure.axes).reshape(2, layers)


def points(line: Any) -> Any:
    return np.asarray(line.get_xydata())


def gain_of_tones(n: int, stride: float, window: Window) -> torch.Tensor:
    """Return the amplitude of each DFT tone after the layer's resampling matrix."""
    matrix = resampling_matrix(n, stride, window).to(torch.complex128)
    phase = torch.outer(torch.arange(n), torch.arange(n // 2 + 1)).double() * (2 * math.pi / n)
    return (matrix @ torch.exp(1j * phase)).abs().square().mean(0).sqrt()


WINDOWS = [
    {"smoothness": 4.0},
    {"smoothness": 1.0},
    {"smoothness": 4.0, "ramp": "inside"},
    {"smoothness": 0.25, "ramp": "relative"},
    {"smoothness": 1.0, "multiple": 8},
    {"downsampling": "spectral"},
]


@pytest.mark.parametrize("settings", WINDOWS, ids=str)
def test_window_curves_equal_the_gain_of_the_layers_for_tones(settings: dict[str, Any]) -> None:
    """They have a point for each DFT bin of the layer's input, up to its Nyquist frequency."""
    frames = 61
    trained_classifier = classifier(initial=INITIAL, **settings)
    panels = grid(draw_windows(trained_classifier, frames).figure)
    begin = trained_classifier.trunk.initial_strides
    for line, model in enumerate((classifier(begin, **settings), trained_classifier)):
        sizes = model.trunk.sizes(frames, 64)
        for axis, layer in np.ndindex(panels.shape):
            n, stride = sizes[layer][axis], model.trunk.strides[layer][axis].item()
            x, y = points(panels[axis, layer].lines[line]).T
            rate = (100.0, 1.0)[axis] * n / sizes[0][axis]
            np.testing.assert_allclose(x, np.arange(n // 2 + 1) * rate / n)
            np.testing.assert_allclose(y, gain_of_tones(n, stride, model.trunk.window), atol=1e-6)


def test_gains_have_the_edges_of_the_cutoffs() -> None:
    edges, gain = cutoffs(400, 3.3, 8.0, 400.0), gains(400, 3.3, 8.0)
    bins = torch.arange(201)
    assert edges.stop_band is not None
    assert (gain[bins <= edges.pass_band] == 1).all()
    assert (gain[bins >= edges.stop_band] == 0).all()
    on_ramp = (bins > edges.pass_band) & (bins < edges.stop_band)
    assert ((gain[on_ramp] > 0) & (gain[on_ramp] < 1)).all()


def test_drawing_windows_of_a_network_without_low_pass_raises() -> None:
    with pytest.raises(ValueError, match="strided downsampling has no low-pass window"):
        draw_windows(classifier(((2, 2),), downsampling="strided"))


def test_trajectories_begin_at_the_recipe_and_follow_the_log() -> None:
    run = trained(steps=(10, 20, 30))
    drawn = draw_trajectories([run], ["a"])
    assert drawn is not None
    panels = grid(drawn.figure)
    for axis, layer in np.ndindex(panels.shape):
        (line,) = panels[axis, layer].lines
        assert line.get_xdata().tolist() == [0, 10, 20, 30]
        logged = [entry["strides"][layer][axis] for entry in run.log]
        assert line.get_ydata().tolist() == [INITIAL[layer][axis], *logged]


def with_frontend(
    kind: Any, strides: tuple[float, ...], network: Any = TRAINED, **settings_of_network: Any
) -> TrainedRun:
    """Make a run whose frontend went from its initial strides, (4, 2) or (4,), to these."""
    settings = ModelSettings([4, 4], network, **settings_of_network)
    frontend = FrontendSettings(kind=kind)
    model = Classifier({"word": ["a", "b"]}, settings, frontend=frontend).eval()
    model.frontend.resampling.stride.data = torch.tensor(strides)  # type: ignore[union-attr]
    pair = [*strides, 1.0][:2]
    log = [{"step": step, "strides": network, "frontend_strides": pair} for step in (50, 100)]
    return TrainedRun("runs/learned", model, Recipe(settings, frontend=frontend), log, [])


def test_windows_of_a_learned_frontend_come_before_those_of_the_layers() -> None:
    """The layers of the network share an axis up to the Nyquist frequency of its input."""
    run = with_frontend("learned_resolution", (5.0, 2.5))
    drawn = draw_windows(run.classifier)
    panels = grid(drawn.figure, 3)
    assert [panel.get_title() for panel in panels[0]] == ["frontend", "layer 1", "layer 2"]
    window = Window(4.0, "inside")
    for axis, (n, rate, strides) in enumerate([(400, 400.0, (4.0, 5.0)), (128, 1.0, (2.0, 2.5))]):
        for line, stride in zip(panels[axis, 0].lines, strides, strict=True):
            x, y = points(line).T
            np.testing.assert_allclose(x, np.arange(n // 2 + 1) * rate / n)
            np.testing.assert_allclose(y, gain_of_tones(n, stride, window), atol=1e-6)
    # At the start the network's input has 100 frames per second and 64 of 128 channels.
    assert [panel.get_xlim()[1] for panel in panels[0]] == [200, 50, 50]
    assert [panel.get_xlim()[1] for panel in panels[1]] == [0.5, 0.25, 0.25]
    x, y = points(panels[0, 1].lines[1]).T
    np.testing.assert_allclose(x, np.arange(41))  # 80 frames
    np.testing.assert_allclose(y, gain_of_tones(80, TRAINED[0][0], Window(4.0)), atol=1e-6)
    assert "the frontend's trained ones are 1 up to 36.5 Hz of modulation and" in drawn.alt


def test_frontend_before_a_network_without_windows_is_drawn_alone() -> None:
    run = with_frontend("learned_resolution", (5.0, 2.5), INITIAL, downsampling="blur")
    assert [panel.get_title() for panel in grid(figures([run])["windows"], 1)[0]] == ["frontend"]


def test_stride_that_leaf_does_not_have_is_named_as_such() -> None:
    run = with_frontend("leaf", (5.0,))
    drawn = figures([run])
    for name in ("windows", "trajectories"):
        panels = grid(drawn[name], 3)
        assert not panels[1, 0].lines
        assert [text.get_text() for text in panels[1, 0].texts] == ["not learned"]
        assert panels[0, 0].lines
    assert grid(drawn["windows"], 3)[1, 1].get_xlabel() == "cycles/filter"
    assert [panel.get_title() for panel in drawn["stride_plane"].axes] == ["layer 1", "layer 2"]


def test_trajectory_of_a_learned_frontend_is_drawn_beside_runs_without() -> None:
    runs = [with_frontend("learned_resolution", (5.0, 2.5)), trained()]
    panels = grid(figures(runs, ["learned", "fixed"])["trajectories"], 3)
    assert [len(panel.lines) for panel in panels.flat] == [1, 2, 2] * 2
    (line,) = panels[0, 0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 50, 100], [4.0, 5.0, 5.0])
    (line,) = panels[1, 0].lines
    assert list(line.get_ydata()) == [2.0, 2.5, 2.5]


def test_resolution_is_drawn_beside_the_start_and_the_usual_one() -> None:
    runs = [with_frontend("learned_resolution", (stride, 2.56)) for stride in (4.0, 5.0)]
    drawn = draw_resolution([*runs, trained()], ["learned", "learned", "fixed"])
    assert drawn is not None
    panels: Any = drawn.figure.axes
    hop, mel = panels
    learned, fixed = hop.containers
    assert learned.lines[0].get_xdata() == pytest.approx([11.25])
    (bar,) = learned.lines[2]
    ends = 11.25 + 2.5 / math.sqrt(2) * np.array([-1, 1])
    np.testing.assert_allclose(bar.get_segments()[0][:, 0], ends)
    assert fixed.lines[0].get_xdata() == pytest.approx([10])
    assert [line.lines[0].get_xdata()[0] for line in mel.containers] == [50, 64]
    assert [list(panel.lines[-1].get_xdata()) for panel in (hop, mel)] == [[10, 10], [64, 64]]
    starts = [line.get_xdata()[0] for line in mel.lines if line.get_marker() == "+"]
    assert starts == [64, 64]
    assert "11.25 ± 1.8 ms and 50 ± 0 mel channels (learned)" in drawn.alt
    assert draw_resolution([trained()], ["fixed"]) is None


def test_titles_name_the_frontends_in_which_runs_differ() -> None:
    runs = [with_frontend("leaf", (5.0,)), trained(TRAINED, TRAINED)]
    assert titles(runs) == ["frontend leaf", "frontend log_mel"]
    runs[0].recipe.frontend.hop_ms = 5.0
    runs[0].recipe.model.smoothness = 1.0
    assert titles(runs) == [
        "smoothness 1, frontend leaf, frontend hop_ms 5",
        "smoothness 4, frontend log_mel, frontend hop_ms 10",
    ]


def test_filters_of_leaf_are_drawn_where_they_were_and_where_they_are() -> None:
    run = with_frontend("leaf", (4.0,))
    assert isinstance(run.classifier.frontend, Leaf)
    run.classifier.frontend.log_centres.data -= math.log(1.1)
    drawn = draw_filters(run.classifier, "runs/learned")
    assert drawn is not None
    (panel,) = drawn.figure.axes
    *moves, start, now = panel.lines
    assert len(moves) == 64
    np.testing.assert_allclose(1.1 * points(now)[:, 0], points(start)[:, 0], rtol=1e-5)
    np.testing.assert_allclose(points(now)[:, 1], points(start)[:, 1], rtol=1e-5)
    np.testing.assert_allclose(points(moves[3]), [points(start)[3], points(now)[3]])
    assert "half of them have moved by at least 0.14 octaves" in drawn.alt
    assert draw_filters(trained().classifier) is None


def test_cutoffs_of_different_mel_channels_are_compared_in_cycles_per_octave() -> None:
    """The same strides on twice the channels pass the same patterns."""
    runs = [with_frontend("learned_resolution", (4.0, 2.0)), trained()]
    drawn = draw_cutoffs(runs, ["dense", "usual"])
    assert drawn is not None
    frequency: Any = drawn.figure.axes[1]
    assert frequency.get_xlabel() == "cut-off over frequency,\ncycles per octave around 1 kHz"
    dense, usual = (container.lines[0].get_xdata()[0] for container in frequency.containers)
    assert dense == pytest.approx(usual, rel=0.01)
    alone = draw_cutoffs(runs[1:], ["usual"])
    assert alone is not None
    assert alone.figure.axes[1].get_xlabel() == "cut-off over frequency,\ncycles per mel channel"


def test_downsampling_begins_at_the_networks_input() -> None:
    run = with_frontend("learned_resolution", (4.0, 2.0))
    (panel,) = figures([run])["downsampling"].axes
    (same,) = figures([trained(TRAINED, TRAINED)])["downsampling"].axes
    for line, other in zip(panel.lines, same.lines, strict=True):
        np.testing.assert_allclose(points(line), points(other))


def test_runs_of_a_group_look_alike_and_groups_look_different() -> None:
    drawn = draw_trajectories([trained(), trained(steps=(40,)), trained()], ["one", "one", "other"])
    assert drawn is not None
    first, second, other = drawn.figure.axes[0].lines
    assert first.get_color() == second.get_color() != other.get_color()
    (legend,) = drawn.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "other"]


def test_runs_of_different_depth_share_panels() -> None:
    shallow = trained(TRAINED[:1], INITIAL[:1], name="runs/b")
    drawn = figures([trained(), shallow], ["deep", "shallow"])
    assert [len(panel.lines) for panel in drawn["trajectories"].axes] == [2, 1] * 2
    assert [len(drawn[f"windows_{number}"].axes) for number in (1, 2)] == [4, 2]
    first, second = drawn["stride_plane"].axes
    assert len(first.lines) - len(second.lines) == 3  # line, start and end of one group
    assert len(figures([shallow])["stride_plane"].axes) == 1


def test_run_without_low_pass_appears_only_in_figures_of_strides() -> None:
    strided = trained(INITIAL, downsampling="strided")
    assert list(figures([strided])) == ["trajectories", "stride_plane", "downsampling"]
    drawn = figures([strided, trained()], ["strided", "learned"])
    assert list(drawn) == ["trajectories", "windows", "cutoffs", "stride_plane", "downsampling"]
    assert [label.get_text() for label in drawn["cutoffs"].axes[0].get_yticklabels()] == ["learned"]
    assert "windows" in figures([trained(INITIAL, downsampling="spectral")])


def test_run_without_a_log_has_no_trajectory() -> None:
    silent = trained(steps=())
    assert "trajectories" not in figures([silent])
    drawn = figures([silent, trained()], ["silent", "logged"])
    assert len(drawn["trajectories"].axes[0].lines) == 1


def test_cutoff_figure_shows_mean_deviation_and_speech_modulation() -> None:
    strides = (1.6, 1.8, 2.0)
    runs = [trained(((stride, 2.0),), ((2, 2),), smoothness=1.0) for stride in strides]
    drawn = draw_cutoffs(runs, ["a"] * 3)
    assert drawn is not None
    panel: Any = drawn.figure.axes[0]
    edges = [50 / stride for stride in strides]
    mean, deviation = np.mean(edges), np.std(edges, ddof=1)
    (container,) = panel.containers
    marker, _, (bar,) = container.lines
    assert marker.get_xdata() == pytest.approx([mean])
    np.testing.assert_allclose(bar.get_segments()[0][:, 0], [mean - deviation, mean + deviation])
    stop, speech = panel.lines[1:]
    assert stop.get_xdata() == pytest.approx([mean, mean + 1])  # the ramp is one bin, 1 Hz, wide
    assert list(speech.get_xdata()) == [SPEECH_HZ, SPEECH_HZ] == [25, 25]
    assert any("25 Hz: speech modulation" in text.get_text() for text in panel.texts)
    assert panel.get_xlim()[0] < 25 < panel.get_xlim()[1]
    assert f"{mean:.4g} ± {deviation:.2g} Hz" in drawn.alt


def test_edge_above_the_nyquist_frequency_is_not_drawn() -> None:
    drawn = draw_cutoffs([trained(((1.0, 2.0),), ((2, 2),))], ["a"])
    assert drawn is not None
    time, frequency = drawn.figure.axes
    assert (len(time.lines), len(frequency.lines)) == (
        2,
        2,
    )  # marker and line of speech; marker and stop-band edge


def test_line_in_stride_plane_leads_from_the_start_to_the_trained_mean() -> None:
    runs = [trained(((stride, 3.0),), ((2, 2),)) for stride in (1.5, 2.5)]
    (panel,) = figures(runs, ["a", "a"])["stride_plane"].axes
    line, start, end = panel.lines[:3]
    np.testing.assert_allclose(points(line), [(2, 2), (2, 3)])
    np.testing.assert_allclose(points(start), [(2, 2)])
    np.testing.assert_allclose(points(end), [(2, 3)])
    assert panel.get_xlim() == panel.get_ylim()


def test_downsampling_equals_that_of_the_feature_maps() -> None:
    run = trained()
    time, frequency = run.classifier.trunk.sizes(100, 64)[-1]
    (panel,) = figures([run])["downsampling"].axes
    _, nominal, effective = panel.lines
    assert effective.get_xdata() == pytest.approx([100 * 64 / (time * frequency)])
    assert nominal.get_xdata() == pytest.approx([np.prod(TRAINED)], rel=1e-6)
    assert len(panel.get_xticks()) > 0


def test_files_of_the_same_figure_are_identical(tmp_path: Path) -> None:
    run = trained(TRAINED[:1], INITIAL[:1])
    drawn = stride_figures([run])[:2]
    first, again = (
        save_figures(drawn, tmp_path / "a"),
        save_figures(stride_figures([run])[:2], tmp_path / "b"),
    )
    assert [file.name for file in first] == [
        "trajectories.png", "trajectories.svg", "windows.png", "windows.svg",
    ]  # fmt: skip
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.suffix == ".svg" or one.read_bytes().startswith(b"\x89PNG")
    assert svg(drawn[0].figure) == first[1].read_text()


def test_svg_has_no_references_and_needs_no_fonts() -> None:
    document = ElementTree.fromstring(svg(stride_figures([trained(TRAINED[:1], INITIAL[:1])])[0].figure))
    for element in document.iter():
        assert not element.tag.endswith("}text")  # which would need a font
        for name, value in element.attrib.items():
            assert not name.endswith("href") or value.startswith(("#", "data:"))


def test_dark_style_is_light_on_dark_and_ends_with_its_context(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for dark in (False, True):
        for drawn in stride_figures([trained()], dark=dark):
            label = drawn.figure.axes[0].xaxis.label.get_color()
            ink, background = (sum(to_rgb(colour)) / 3 for colour in (label, drawn.figure.get_facecolor()))
            assert ink - background > 0.7 if dark else background - ink > 0.7
    assert dict(matplotlib.rcParams) == before


def test_many_groups_have_different_styles() -> None:
    with figure_style():
        looks = [tuple(look.values()) for look in matplotlib.rcParams["axes.prop_cycle"]]
    assert len(set(looks)) == len(looks) >= 50
    names = [f"a recipe with a long name, number {number}" for number in range(20)]
    drawn = figures([trained(TRAINED[:1], INITIAL[:1], steps=()) for _ in names], names)
    drawn["stride_plane"].draw_without_rendering()
    assert drawn["stride_plane"].legends[0].get_window_extent().width < 700


def test_dollar_signs_in_names_are_no_formula() -> None:
    drawn = figures([trained(name=r"runs/$\a$"), trained()], [r"$\b$", "other"])
    for figure in drawn.values():
        figure.draw_without_rendering()
    assert drawn["windows_1"].get_suptitle() == r"Low-pass windows of runs/$\a$"


def test_every_figure_has_a_description_with_numbers() -> None:
    alts = {drawn.name: drawn.alt for drawn in stride_figures([trained(smoothness=1.0)])}
    assert alts["trajectories"].endswith("the first layer's (time × frequency) end at 1.6 × 1.9.")
    assert "1 up to 31.25 Hz of modulation and 0.2632 cycles per mel channel" in alts["windows"]
    assert alts["stride_plane"].endswith("the first layer's are 1.6 × 1.9.")
    assert alts["downsampling"].startswith("Global downsampling: ")
    assert all(alt.endswith(".") for alt in alts.values())


def checkpoint(folder: Path, model: Classifier) -> str:
    """Write a checkpoint file as training does, but outside a run folder."""
    weights = {f"classifier.{name}": value for name, value in model.state_dict().items()}
    torch.save(
        {"classifier": model.configuration(), "state_dict": weights, "global_step": 0}, folder / "a.ckpt"
    )
    return str(folder / "a.ckpt")


def test_command_writes_figures_and_the_same_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = checkpoint(tmp_path, classifier(TRAINED[:1])), tmp_path / "plots"
    assert main(["strides", file, "--format", "json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert main(["strides", file, "--format", "json", "--plot", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == table
    written = sorted(path.name for path in folder.iterdir())
    assert err.startswith(f"{folder}: windows.png, windows.svg, cutoffs.png")
    assert sorted(err.split(": ")[1].strip().split(", ")) == written
