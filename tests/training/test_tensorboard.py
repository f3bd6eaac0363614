"""What a run writes for TensorBoard."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.tiny_run import assert_same, metrics, tiny, weights
from helpers.two_tasks import recipe
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from audiostride.analysis.cutoffs import cutoffs
from audiostride.analysis.trained import open_run
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.data.store import Store
from audiostride.layers import Window
from audiostride.training import tensorboard
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining


def events(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run), size_guidance={"images": 0})
    accumulator.Reload()
    return accumulator


def test_logged_cutoffs_follow_the_strides(store: Store, tmp_path: Path) -> None:
    train(tiny(store), tmp_path / "run")
    log = events(tmp_path / "run")
    for axis, n, rate in (("time", 100, 100.0), ("frequency", 64, 1.0)):
        strides = log.Scalars(f"stride/block1/{axis}")
        bands = log.Scalars(f"cutoff/block1/{axis}")
        assert [event.step for event in bands] == [2, 4, 6]
        for stride, band in zip(strides, bands, strict=True):
            assert band.value == pytest.approx(cutoffs(n, stride.value, 4.0, rate).pass_band, rel=1e-5)


def test_logged_cutoffs_depend_on_the_length_of_the_windows(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=2)
    recipe.data.window_s, recipe.model.ramp = 0.5, "inside"
    train(recipe, tmp_path / "run")
    log = events(tmp_path / "run")
    (stride,), (band,) = (log.Scalars(f"{quantity}/block1/time") for quantity in ("stride", "cutoff"))
    window = Window(4.0, "inside")
    assert band.value == pytest.approx(cutoffs(50, stride.value, window, 100.0).pass_band, rel=1e-5)


@pytest.mark.parametrize("kind", ["learned_resolution", "leaf"])
def test_learned_resolution_is_logged_in_milliseconds_and_mel_channels(
    kind: Any, store: Store, tmp_path: Path
) -> None:
    """A second has 400 dense frames; the ramp of 4 bins ends half a bin above the cut-off."""
    recipe = tiny(store, stride_learning_rate=0.5)
    recipe.frontend = FrontendSettings(kind=kind)
    train(recipe, tmp_path / "run")
    log = events(tmp_path / "run")
    strides, bands = (log.Scalars(f"{quantity}/frontend/time") for quantity in ("stride", "cutoff"))
    hops, channels = (log.Scalars(f"frontend/{name}") for name in ("hop_ms", "mel_channels"))
    assert len({event.value for event in hops}) > 1, "the hop is learned"
    for stride, band, hop in zip(strides, bands, hops, strict=True):
        assert band.value == pytest.approx(200 / stride.value + 0.5 - 4, rel=1e-5)
        assert hop.value == pytest.approx(1000 / int(400 / stride.value), rel=1e-5)
    logged = [line["frontend_strides"] for line in metrics(tmp_path / "run")]
    assert [event.value for event in strides] == pytest.approx([time for time, _ in logged])
    if kind == "learned_resolution":
        assert [event.value for event in channels] == [int(128 / frequency) for _, frequency in logged]
    else:
        assert [event.value for event in channels] == [64, 64, 64]
        assert "stride/frontend/frequency" not in log.Tags()["scalars"]
    assert [event.step for event in log.Scalars("stride/block1/time")] == [2, 4, 6]
    figures = {"learned_resolution": "low_pass", "leaf": "filters"}
    assert {"windows", figures[kind]} <= set(log.Tags()["images"])
    assert len(open_run(str(tmp_path / "run")).log) == 3


def test_fixed_resolution_is_not_logged(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=2)
    recipe.frontend = FrontendSettings(kind="pcen")
    train(recipe, tmp_path / "run")
    log = events(tmp_path / "run")
    assert not [name for name in log.Tags()["scalars"] if "frontend" in name]
    assert set(log.Tags()["images"]) == {"windows", "confusion/speech_commands"}
    assert all("frontend_strides" not in line for line in metrics(tmp_path / "run"))


def test_figures_are_drawn_at_the_end_of_a_short_run(sounds: Store, tmp_path: Path) -> None:
    train(recipe(sounds), tmp_path / "run")
    log = events(tmp_path / "run")
    assert set(log.Tags()["images"]) == {"windows", "low_pass", "confusion/shape", "confusion/level"}
    for name in log.Tags()["images"]:
        (image,) = log.Images(name)
        assert image.step == 6
        assert min(image.width, image.height) > 200


def test_drawing_takes_at_most_one_percent_of_a_long_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validations are 100 s apart, and drawing takes 1.5 s."""
    clock, drawn = [0.0], []

    def draw(self: Any, trainer: Any, pl_module: Any) -> None:
        drawn.append(trainer.global_step)
        self.drawing_seconds, self.expected_seconds = self.drawing_seconds + 1.5, 1.5

    monkeypatch.setattr(tensorboard.FigureLog, "_draw", draw)
    figure_log = tensorboard.FigureLog()
    monkeypatch.setattr(tensorboard.time, "monotonic", lambda: clock[0])
    trainer = type("Trainer", (), {"max_steps": 20, "global_step": 0})()
    figure_log.on_train_start(trainer, None)  # type: ignore[arg-type]
    for step in range(1, 21):
        clock[0], trainer.global_step = 100.0 * step, step
        figure_log.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    assert drawn == [2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20]
    assert figure_log.drawing_seconds <= 0.01 * clock[0]


def test_figures_do_not_change_training(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "_DRAWING_FRACTION", np.inf)  # at every validation
    train(tiny(store), tmp_path / "with")
    assert len(events(tmp_path / "with").Images("low_pass")) == 3
    monkeypatch.setattr(tensorboard.FigureLog, "_draw", lambda *args: None)
    train(tiny(store), tmp_path / "without")
    assert_same(weights(tmp_path / "with"), weights(tmp_path / "without"))


def test_failing_figure_warns_once_and_does_not_end_a_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*args: Any) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(tensorboard.FigureLog, "_draw", lambda *args: None)
    train(tiny(store), tmp_path / "without")
    monkeypatch.undo()
    monkeypatch.setattr(tensorboard, "_DRAWING_FRACTION", np.inf)  # at every validation
    monkeypatch.setattr(tensorboard, "spectrograms", fails)
    train(tiny(store), tmp_path / "run")
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["cannot draw figures for TensorBoard: disk full"]
    assert metrics(tmp_path / "run")[-1]["step"] == 6
    assert_same(weights(tmp_path / "run"), weights(tmp_path / "without"))


def test_steps_do_not_drift_when_a_run_is_resumed(store: Store, tmp_path: Path) -> None:
    train(tiny(store), tmp_path / "whole")
    for steps in (2, 4, 6):
        train(tiny(store, steps=steps), tmp_path / "run", resume=steps > 2)
    whole, run = events(tmp_path / "whole"), events(tmp_path / "run")
    assert whole.Tags()["scalars"] == run.Tags()["scalars"]
    for name in whole.Tags()["scalars"]:
        steps_logged = [event.step for event in whole.Scalars(name)]
        assert steps_logged == [event.step for event in run.Scalars(name)] == [2, 4, 6]


def test_events_after_the_last_checkpoint_are_dropped_when_a_run_is_resumed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(store, steps=8, validate_every=4)
    recipe.trainer = {"log_every_n_steps": 1}
    step = ClassifierTraining.training_step

    def interrupted(self: ClassifierTraining, *args: Any) -> Any:
        if self.global_step == 6:
            raise RuntimeError
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(ClassifierTraining, "training_step", interrupted)
        with pytest.raises(RuntimeError):
            train(recipe, tmp_path / "run")
    train(recipe, tmp_path / "run", resume=True)
    assert [event.step for event in events(tmp_path / "run").Scalars("train/loss")] == list(range(1, 9))


def test_settings_are_in_the_table_of_hyperparameters(store: Store, tmp_path: Path) -> None:
    train(tiny(store), tmp_path / "run")
    data = events(tmp_path / "run").PluginTagToContent("hparams")
    session = plugin_data_pb2.HParamsPluginData.FromString(data["_hparams_/session_start_info"])
    assert session.session_start_info.hparams["training.stride_learning_rate"].number_value == 0.05
    assert session.session_start_info.hparams["model.downsampling"].string_value == "diffstride"
