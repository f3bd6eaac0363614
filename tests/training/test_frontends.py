"""Training with each kind of frontend: what learns, what is frozen, resumed and taken over."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.command_line import fails
from helpers.frontends import KINDS, LEARNED, Kind, small_frontend
from helpers.tiny_run import assert_same, metrics, tiny, weights
from test_devices import train_in_two_processes

from audiostride import Recipe, fit, load
from audiostride.cli import main
from audiostride.config import yaml
from audiostride.config.recipe import read_config
from audiostride.config.settings import AugmentationSettings
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.layers import complexity
from audiostride.timing import one_thread
from audiostride.training.fit import train
from audiostride.training.initial_weights import take_over

EACH_KIND = pytest.mark.parametrize("kind", KINDS)
WITH_STRIDES = pytest.mark.parametrize("kind", LEARNED)
WITH_PARAMETERS = pytest.mark.parametrize("kind", ["pcen", *LEARNED])


def tiny_with(kind: Kind, store: Store, frontend: dict[str, Any] | None = None, **training: Any) -> Recipe:
    recipe = tiny(store, **training)
    recipe.frontend = small_frontend(kind, **(frontend or {}))
    return recipe


def of_frontend(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if name.startswith("frontend.")}


@EACH_KIND
def test_a_resumed_run_equals_an_uninterrupted_one(kind: Kind, store: Store, tmp_path: Path) -> None:
    recipe = tiny_with(kind, store)
    train(recipe, tmp_path / "whole")
    train(replace(recipe, trainer={"max_epochs": 2}), tmp_path / "broken")
    assert [line["step"] for line in metrics(tmp_path / "broken")] == [2, 4]
    train(recipe, tmp_path / "broken", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    loaded = load(tmp_path / "whole")
    assert loaded.frontend_settings == recipe.frontend == read_config(tmp_path / "whole").frontend
    assert all(line["metrics"]["train/loss"] < 10 for line in metrics(tmp_path / "whole"))


def test_another_frontend_does_not_resume_a_run(store: Store, tmp_path: Path) -> None:
    train(tiny_with("pcen", store, steps=2), tmp_path / "run")
    with pytest.raises(UserError, match=r"was started with frontend\.kind pcen, not log_mel"):
        train(tiny_with("log_mel", store, steps=2), tmp_path / "run", resume=True)


@WITH_STRIDES
def test_strides_of_the_frontend_have_the_learning_rate_of_strides(
    kind: Kind, store: Store, tmp_path: Path
) -> None:
    still = tiny_with(kind, store, steps=1, learning_rate=0.0, stride_learning_rate=0.0)
    moving = tiny_with(kind, store, steps=1, learning_rate=0.0, stride_learning_rate=0.25)
    train(still, tmp_path / "still")
    train(moving, tmp_path / "moving")
    before, after = weights(tmp_path / "still"), weights(tmp_path / "moving")
    for name, value in of_frontend(before).items():
        # The size of Adam's first step.
        expected = 0.25 if name.endswith(".stride") else 0.0
        torch.testing.assert_close((after[name] - value).abs(), torch.full_like(value, expected))


@WITH_STRIDES
def test_strides_of_the_frontend_stay_in_range_at_any_learning_rate(
    kind: Kind, store: Store, tmp_path: Path
) -> None:
    train(tiny_with(kind, store, stride_learning_rate=1000.0), tmp_path / "run")
    time, mel = load(tmp_path / "run", "last").strides[0].tolist()
    assert 1 <= time < 400
    assert 1 <= mel < 30


@WITH_STRIDES
def test_strides_of_the_frontend_freeze_with_all_others(kind: Kind, store: Store, tmp_path: Path) -> None:
    train(tiny_with(kind, store, freeze_strides_after=2), tmp_path / "run")
    train(tiny_with(kind, store, freeze_strides_after=2, steps=2), tmp_path / "short")
    then, now = load(tmp_path / "short", "last").strides, load(tmp_path / "run", "last").strides
    assert torch.equal(then, now)
    assert now[0, 0] != 4.0


@WITH_STRIDES
def test_the_cost_counts_the_strides_of_the_frontend(kind: Kind, store: Store, tmp_path: Path) -> None:
    recipe = tiny_with(kind, store, steps=1, complexity=1.0, learning_rate=0.0, stride_learning_rate=0.0)
    train(recipe, tmp_path / "run")
    cost = metrics(tmp_path / "run")[0]["metrics"]["train/complexity"]
    mel = 2.5 if kind == "learned_resolution" else 1.0
    expected = complexity(torch.tensor([[4.0, mel], [2.0, 2.0], [2.0, 2.0]]))
    assert cost == pytest.approx(expected.item())


@WITH_STRIDES
def test_a_cost_makes_the_hop_grow(kind: Kind, store: Store, tmp_path: Path) -> None:
    hops = []
    for weight in (0.0, 100.0):
        train(tiny_with(kind, store, steps=10, complexity=weight), tmp_path / str(weight))
        hops.append(load(tmp_path / str(weight), "last").strides[0, 0].item())
    assert hops[1] > max(4.0, hops[0])


@EACH_KIND
def test_all_augmentations_work(kind: Kind, store: Store, tmp_path: Path) -> None:
    recipe = tiny_with(kind, store, steps=2)
    recipe.augmentation = AugmentationSettings(
        shift_s=0.1, gain_db=6.0, mixup=0.3, time_masks=2, frequency_masks=1, frequency_mask_channels=4
    )
    train(recipe, tmp_path / "run")
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


@WITH_STRIDES
def test_two_processes_train_like_one(kind: Kind, store: Store, tmp_path: Path) -> None:
    recipe = tiny_with(kind, store, complexity=0.1)
    train(recipe, tmp_path / "one")
    result = train_in_two_processes(recipe, tmp_path / "two")
    assert result.returncode == 0, result.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=5e-3, rtol=5e-3, msg=name)


@WITH_PARAMETERS
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_frontends_learn_in_every_precision(precision: str, kind: Kind, store: Store, tmp_path: Path) -> None:
    recipe = tiny_with(kind, store, steps=2, learning_rate=1e-4, stride_learning_rate=1e-3)
    recipe.trainer = {"accelerator": "cpu", "precision": precision}
    train(recipe, tmp_path / "run")
    frozen = tiny_with(kind, store, steps=2, learning_rate=0.0, stride_learning_rate=0.0)
    train(frozen, tmp_path / "still")
    before = of_frontend(weights(tmp_path / "still"))
    for name, value in of_frontend(weights(tmp_path / "run")).items():
        assert (value - before[name]).abs().max() > 1e-5, name


# Training further


@pytest.fixture(scope="module")
def sources(store: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind whose frontend has learned."""
    folder = tmp_path_factory.mktemp("sources")
    with one_thread():
        for kind in KINDS:
            rates: dict[str, Any] = {"learning_rate": 0.01, "stride_learning_rate": 0.1}
            train(tiny_with(kind, store, {"f_min": 100}, steps=4, **rates), folder / kind)
    return {kind: folder / kind for kind in KINDS}


@EACH_KIND
def test_training_further_begins_with_the_frontend_of_the_source(
    kind: Kind, sources: dict[str, Path], store: Store, working_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "audiostride")
    recipe = {
        "data": {"corpus": str(store.folder)},
        "training": {"steps": 1, "batch_size": 6, "learning_rate": 0.0},
    }
    Path("further.yaml").write_text(yaml.dump(recipe))
    assert main(["train", "further.yaml", "--init_from", str(sources[kind])]) == 0
    now, before = load("runs/further"), load(sources[kind])
    assert now.frontend_settings == before.frontend_settings
    assert_same(of_frontend(now.state_dict()), of_frontend(before.state_dict()))
    assert torch.equal(now.strides, before.strides)
    learns = " the frontend," if list(before.frontend.parameters()) else ""
    sentences = [record.getMessage() for record in caplog.records]
    assert any(f"took{learns} the trunk (2 blocks) and the head of" in sentence for sentence in sentences)
    assert not any("not as in" in sentence for sentence in sentences)


@EACH_KIND
def test_a_frozen_trunk_freezes_the_frontend(
    kind: Kind, sources: dict[str, Path], store: Store, tmp_path: Path
) -> None:
    recipe = tiny_with(kind, store, {"f_min": 100}, init_from=str(sources[kind]), freeze_trunk=True)
    train(recipe, tmp_path / "run")
    before, now = weights(sources[kind], "best"), weights(tmp_path / "run")
    for name, value in before.items():
        assert torch.equal(now[name], value) != name.startswith("heads."), name


@pytest.mark.parametrize("kind", ["pcen", "leaf"])
def test_the_rate_of_the_trunk_is_that_of_the_frontend(
    kind: Kind, sources: dict[str, Path], store: Store, tmp_path: Path
) -> None:
    rates: dict[str, Any] = {
        "learning_rate": 0.25,
        "trunk_learning_rate": 0.125,
        "stride_learning_rate": None,
    }
    source = str(sources[kind])
    train(tiny_with(kind, store, {"f_min": 100}, steps=1, init_from=source, **rates), tmp_path / "run")
    before, now = of_frontend(weights(sources[kind], "best")), of_frontend(weights(tmp_path / "run"))
    for name, value in before.items():
        moved = (now[name] - value).abs()
        # The size of Adam's first step.
        torch.testing.assert_close(moved, torch.full_like(moved, 0.125), msg=name, rtol=0.01, atol=0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--frontend.kind=pcen"],
            "the frontend is pcen with 12 channels, but that of {} is log_mel with 12 channels: leave the "
            "settings of frontend out, or give those of the model to train further",
        ),
        (
            ["--frontend.mel_channels=20"],
            "the frontend is log_mel with 20 channels, but that of {} is log_mel with 12 channels",
        ),
        (
            ["--frontend.kind=learned_resolution"],
            "the frontend is learned_resolution with 30 channels in 2 windows, but that of {} is log_mel",
        ),
    ],
)
def test_another_frontend_than_that_of_the_source_reports_a_clear_error(
    options: list[str],
    sentence: str,
    sources: dict[str, Path],
    store: Store,
    working_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = str(sources["log_mel"])
    Path("x.yaml").write_text(yaml.dump({"data": {"corpus": str(store.folder)}}))
    message = fails(capsys, 1, "train", "x.yaml", "--init_from", source, *options)
    assert sentence.format(source) in message
    assert not Path("runs").exists()


def test_other_settings_of_the_frontend_are_allowed_and_named(sources: dict[str, Path]) -> None:
    from audiostride import Classifier

    before = load(sources["learned_resolution"])
    learned = before.strides[0]
    cases: dict[str, tuple[dict[str, Any], bool]] = {
        "frontend.f_min is 60.0, not 100.0": ({"f_min": 60.0}, True),
        "frontend.floor is 0.5, not None": ({"floor": 0.5}, True),
        "frontend.windows_ms is [20.0, 40.0], not [25.0, 60.0]": ({"windows_ms": (20.0, 40.0)}, True),
        "frontend.hop_ms is 5.0, not 10.0; strides begin at frontend.hop_ms": ({"hop_ms": 5.0}, False),
        "frontend.mel_channels is 15, not 12; strides begin at frontend.hop_ms": (
            {"mel_channels": 15},
            False,
        ),
    }
    for expected, (settings, keeps_strides) in cases.items():
        frontend = replace(before.frontend_settings, **settings)
        now = Classifier(before.labels, before.settings, frontend=frontend)
        _, sentence = take_over(now, before, "X")
        assert sentence == f"not as in X: {expected}"
        assert torch.equal(now.strides[0], learned) == keeps_strides


def test_learned_parameters_are_kept_if_they_are_fixed_from_then_on(sources: dict[str, Path]) -> None:
    from audiostride import Classifier

    before = load(sources["pcen"])
    fixed = replace(before.frontend_settings, pcen_learned=False)
    now = Classifier(before.labels, before.settings, frontend=fixed)
    take_over(now, before, "X")
    assert not list(now.frontend.parameters())
    assert_same(of_frontend(now.state_dict()), of_frontend(before.state_dict()))


# From Python


def test_fit_takes_settings_of_the_frontend(store: Store, working_folder: Path) -> None:
    model = {"channels": (4, 6), "strides": ((2, 2), (2, 2))}
    training = {"steps": 1, "validate_every": 1, "batch_size": 6}
    result = fit(
        {},
        store,
        progress=False,
        model=model,
        training=training,
        frontend={"kind": "leaf", "mel_channels": 8},
    )
    assert result.classifier.frontend_settings.kind == "leaf"
    assert result.classifier.input_size() == (100, 8)


def test_fit_reports_empty_channels_before_anything_is_written(store: Store, working_folder: Path) -> None:
    with pytest.raises(UserError, match="no bin of the spectrum of a window of 25 ms lies in 7 of 600 mel"):
        fit("small", store, frontend={"mel_channels": 600})
    assert not list(working_folder.iterdir())
