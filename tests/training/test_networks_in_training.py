"""Runs with other networks than the paper's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.command_line import fails
from helpers.networks import SMALL
from helpers.tiny_run import assert_same, tiny, weights

from audiostride import load
from audiostride.cli import main
from audiostride.config.network_names import network_names
from audiostride.config.recipe import read_config
from audiostride.config.settings import ModelSettings, Recipe
from audiostride.data.store import Store
from audiostride.training.fit import train


def recipe_of(name: str, store: Store, **training: Any) -> Recipe:
    shape = {key: value for key, value in SMALL[name].items() if key in ("channels", "strides")}
    options = {key: value for key, value in SMALL[name].items() if key not in shape}
    model = ModelSettings(network=name, options=options, smoothness=1.0, **shape)
    return replace(tiny(store, **training), model=model)


@pytest.mark.parametrize("name", network_names())
def test_a_resumed_run_ends_as_one_that_never_stopped(name: str, store: Store, tmp_path: Path) -> None:
    train(recipe_of(name, store, steps=4), tmp_path / "whole")
    train(recipe_of(name, store, steps=2), tmp_path / "parts")
    train(recipe_of(name, store, steps=4), tmp_path / "parts", resume=True)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    classifier = load(tmp_path / "whole")
    assert classifier.settings.network == name
    initial = torch.tensor(classifier.trunk.initial_strides)
    assert (classifier.trunk.strides != initial).any()


def test_the_recipe_of_a_run_names_the_shape_of_its_network(store: Store, tmp_path: Path) -> None:
    recipe = replace(tiny(store, steps=1), model=ModelSettings(network="bc_resnet"))
    train(recipe, tmp_path / "run")
    model = read_config(tmp_path / "run").model
    assert model.channels == (48, 24, 36, 48, 60, 96)
    assert model.strides == ((1, 2), (1, 1), (1, 2), (1, 2), (1, 1))


def test_another_network_is_not_taken_over(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    train(recipe_of("resnet18", store, steps=1), source)
    capsys.readouterr()
    options = ["--init_from", str(source), "--data.corpus", str(store.folder), "--training.steps=1"]
    message = fails(capsys, 1, "train", "fine_tune", *options, "--model.network=separable")
    assert f"model.network is separable, but {source} has resnet18: leave model.network out" in message
    shape = "--model.options.layers=[2, 2, 2, 2]"
    message = fails(capsys, 1, "train", "fine_tune", *options, shape)
    assert f"model.options is {{'layers': [2, 2, 2, 2]}}, but {source} has" in message
    assert (
        main(["train", "fine_tune", *options, "--trainer.accelerator=cpu", "--out", str(tmp_path / "run")])
        == 0
    )
    assert read_config(tmp_path / "run").model.network == "resnet18"


def test_strides_of_a_residual_network_are_printed_by_layer(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe_of("resnet18", store, steps=1), tmp_path / "run")
    assert main(["strides", str(tmp_path / "run"), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["layer"], row["axis"]) for row in rows] == [
        (layer, axis) for layer in (1, 2, 3, 4) for axis in ("time", "frequency")
    ]
    assert all(row["pass_band"] > 0 for row in rows)
