"""Models of version 0.4.0, which had one frontend, give the same logits as before."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.model_folders import change_config, make, sound
from torch import Tensor
from torch.nn.functional import batch_norm

from audiostride import Classifier, LogMel, load
from audiostride.frontends.waveform import normalise_level

# As config.json has it.
FRONTEND = {
    "sample_rate": 16000,
    "window_ms": 25.0,
    "hop_ms": 10.0,
    "mel_channels": 64,
    "f_min": 60.0,
    "f_max": 7800.0,
    "offset": 1e-06,
}


def quiet_model(**settings: Any) -> Classifier:
    """Return a model with channels that hardly vary, which version 0.4.0 amplified."""
    model = make(**settings)
    assert model.normalise.running_var is not None
    model.normalise.running_var[32:] = 0.01
    return model


@torch.no_grad()
def logits_of_0_4_0(model: Classifier, waveform: Tensor) -> list[Tensor]:
    """Return what the classifier of version 0.4.0 returned."""
    waveform = normalise_level(waveform) if model.settings.level == "rms" else waveform
    statistics = model.normalise.running_mean, model.normalise.running_var
    normalised = batch_norm(LogMel()(waveform).mT, *statistics, eps=model.normalise.eps).mT
    embedding = model.trunk(normalised.unsqueeze(1))
    return [head(embedding) for head in model.heads]


@torch.no_grad()
def assert_same_logits(loaded: Classifier, model: Classifier) -> None:
    for ours, theirs in zip(loaded(sound()).values(), logits_of_0_4_0(model, sound()), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("settings", [{}, {"level": "rms"}, {"downsampling": "strided"}], ids=str)
def test_model_folder_of_0_4_0_gives_the_same_logits(settings: dict[str, Any], tmp_path: Path) -> None:
    model = quiet_model(**settings)
    model.save(tmp_path / "m")
    change_config(tmp_path / "m", lambda content: content.update(audiostride="0.4.0", frontend=FRONTEND))
    assert_same_logits(load(tmp_path / "m"), model)


def test_checkpoint_of_0_4_0_gives_the_same_logits(tmp_path: Path) -> None:
    model = quiet_model()
    made_of = model.configuration()
    del made_of["frontend"]
    weights = {f"classifier.{name}": value for name, value in model.state_dict().items()}
    torch.save({"classifier": made_of, "state_dict": weights, "global_step": 0}, tmp_path / "a.ckpt")
    assert_same_logits(load(tmp_path / "a.ckpt"), model)


def test_model_folder_of_0_4_0_is_saved_with_its_missing_floor(tmp_path: Path) -> None:
    model = quiet_model()
    model.save(tmp_path / "m")
    change_config(tmp_path / "m", lambda content: content.update(audiostride="0.4.0", frontend=FRONTEND))
    load(tmp_path / "m").save(tmp_path / "again")
    again = load(tmp_path / "again")
    assert again.frontend_settings.floor == 0
    assert_same_logits(again, model)
