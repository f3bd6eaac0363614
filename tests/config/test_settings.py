"""One set of defaults, and it is the paper's."""

import inspect
import json
from dataclasses import asdict
from pathlib import Path
from typing import get_type_hints

import pytest

from audiostride import FrontendSettings, LogMel, SeparableCNN, Window
from audiostride.config.settings import ModelSettings, Recipe
from audiostride.layers.conv_downsample import Downsampling
from audiostride.models.build import build_trunk

FACTS = Path(__file__).parents[3] / "shared" / "paper" / "facts.json"


def test_settings_and_network_have_the_same_defaults() -> None:
    assert get_type_hints(ModelSettings)["downsampling"] == Downsampling
    parameters = inspect.signature(SeparableCNN).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    window = defaults.pop("window")
    assert defaults.pop("in_channels") == FrontendSettings().images
    # None stands for the network's own defaults.
    shape: dict[str, object] = {"network": "separable", "channels": None, "strides": None, "options": {}}
    assert asdict(ModelSettings()) == defaults | asdict(window) | shape | {"level": "unchanged"}


def test_the_network_is_built_as_its_settings_say() -> None:
    settings = ModelSettings((4, 6), ((2, 3), (1.5, 2)), "diffstride", 2.0, False, "inside", 2)
    network = build_trunk(settings)
    assert network.window == Window(2.0, "inside", 2)
    assert network.strides.tolist() == [[2, 3], [1.5, 2]]
    assert network.embedding_size == 6


def test_defaults_are_those_of_the_paper() -> None:
    if not FACTS.is_file():
        pytest.skip("the paper's facts are not beside the project")
    facts = json.loads(FACTS.read_text())
    recipe, network, training = Recipe(), facts["network"], facts["training"]
    trunk = build_trunk(recipe.model)
    assert list(trunk.channels) == network["channels"]
    assert [list(pair) for pair in trunk.initial_strides] == network["initial_strides"]
    assert recipe.model.smoothness == network["smoothness"]
    assert recipe.training.learning_rate == training["learning_rate"]
    assert recipe.training.stride_learning_rate is None
    assert (recipe.training.steps, recipe.training.batch_size) == (
        training["batches"],
        training["batch_size"],
    )
    assert (recipe.training.schedule, recipe.training.complexity) == ("constant", 0)
    assert (recipe.data.window_s, recipe.augmentation.shift_s) == (training["window_s"], 0)
    frontend, ours = facts["frontend"], LogMel()
    assert (ours.sample_rate, ours.mel_channels) == (frontend["sample_rate_hz"], frontend["mel_channels"])
    assert ours.hop * 1000 == frontend["hop_ms"] * ours.sample_rate
    assert ours.mel.spectrogram.win_length * 1000 == frontend["window_ms"] * ours.sample_rate
