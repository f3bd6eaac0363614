"""Training that begins with the weights of a trained model."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.command_line import fails
from helpers.tiny_run import assert_same, metrics, tiny, weights
from helpers.two_tasks import recipe as two_task_recipe
from torch import Tensor

from audiostride import Classifier, load
from audiostride.cli import main
from audiostride.config import yaml
from audiostride.config.arguments import options
from audiostride.config.differences import flat
from audiostride.config.recipe import load_with_options, read_config
from audiostride.config.settings import ModelSettings, Recipe
from audiostride.data.store import Store
from audiostride.parsers import train_parser
from audiostride.timing import one_thread
from audiostride.training.fit import train
from audiostride.training.initial_weights import network_settings, take_over

TASK = "speech_commands"


@pytest.fixture(scope="module")
def source(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three words whose strides have moved."""
    run = tmp_path_factory.mktemp("source") / "run"
    with one_thread():
        train(tiny(store, steps=4, stride_learning_rate=0.1), run)
    return run


@pytest.fixture(scope="module")
def two_tasks(sounds: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the tasks shape and level."""
    run = tmp_path_factory.mktemp("source") / "two"
    with one_thread():
        train(two_task_recipe(sounds, steps=4), run)
    return run


def further(store: Store, source: Path, labels: list[str] | None = None, **training: Any) -> Recipe:
    recipe = tiny(store, init_from=str(source), **training)
    recipe.data.labels = labels
    return recipe


def of_trunk(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith("heads.")}


def heads(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.startswith("heads.")}


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_first_step_begins_with_all_weights_of_the_source(
    source: Path, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    still: dict[str, Any] = {"learning_rate": 0.0, "stride_learning_rate": 0.0, "steps": 1}
    caplog.set_level(logging.INFO, "audiostride")
    train(further(store, source, **still), tmp_path / "run")
    now, before = load(tmp_path / "run"), load(source)
    assert not torch.equal(before.trunk.strides, torch.full((2, 2), 2.0))
    assert torch.equal(now.trunk.strides, before.trunk.strides)
    for name, parameter in before.named_parameters():
        assert torch.equal(now.get_parameter(name), parameter), name
    assert f"took the trunk (2 blocks) and the head of {TASK} from {source}" in messages(caplog)


def test_logits_of_an_agreeing_head_are_those_of_the_source(two_tasks: Path) -> None:
    before = load(two_tasks)
    labels = {"other": ["a", "b", "c"], "level": before.labels["level"], "shape": before.labels["shape"]}
    now = Classifier(labels, before.settings)
    new_head = now.get_parameter("heads.0.weight").clone()
    (sentence,) = take_over(now, before, "X")
    waveforms = 0.1 * torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))
    logits, expected = now.eval()(waveforms), before(waveforms)
    assert torch.equal(logits["level"], expected["level"])
    assert torch.equal(logits["shape"], expected["shape"])
    assert torch.equal(now.get_parameter("heads.0.weight"), new_head)
    taken = "took the trunk (2 blocks) and the heads of level and shape"
    assert sentence == f"{taken} from X; new head: other (3 labels)"


def test_labels_in_another_order_keep_their_logits(source: Path) -> None:
    before = load(source)
    turned = before.labels[TASK][::-1]
    now = Classifier({TASK: turned}, before.settings)
    (sentence,) = take_over(now, before, "X")
    waveforms = 0.1 * torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(now.eval()(waveforms)[TASK], before(waveforms)[TASK].flip(1))
    assert sentence.endswith(f"the head of {TASK} (its labels in another order) from X")


def test_head_with_other_labels_is_new(
    source: Path, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "audiostride")
    recipe = further(store, source, ["stop", "no"], steps=1, learning_rate=0.0)
    train(recipe, tmp_path / "run")
    scratch = replace(recipe, training=replace(recipe.training, init_from=None))
    train(scratch, tmp_path / "scratch")
    assert_same(heads(weights(tmp_path / "run")), heads(weights(tmp_path / "scratch")))  # that of the seed
    assert f"took the trunk (2 blocks) from {source}; new head: {TASK} (2 labels)" in messages(caplog)


def test_frozen_trunk_keeps_every_bit_while_its_head_learns(
    source: Path, store: Store, tmp_path: Path
) -> None:
    recipe = further(store, source, freeze_trunk=True, smoothness_from=9.0, schedule="one_cycle")
    train(recipe, tmp_path / "run")
    for checkpoint in ("best", "last"):
        now, before = weights(tmp_path / "run", checkpoint), weights(source, "best")
        assert_same(of_trunk(now), of_trunk(before))
    assert all(not torch.equal(now[name], before[name]) for name in heads(now))
    assert {str(line["strides"]) for line in metrics(tmp_path / "run")} == {
        str(load(source).trunk.strides.tolist())
    }


def test_frozen_trunk_trains_in_two_processes(source: Path, store: Store, tmp_path: Path) -> None:
    recipe = further(store, source, freeze_trunk=True, steps=3)
    train(recipe, tmp_path / "one")
    recipe.trainer = {"devices": 2, "strategy": "ddp_fork", "accelerator": "cpu"}
    with one_thread():
        train(recipe, tmp_path / "two")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert_same(of_trunk(two), of_trunk(weights(source, "best")))
    for name, value in heads(one).items():
        torch.testing.assert_close(two[name], value)


def test_trunk_has_its_own_learning_rate(source: Path, store: Store, tmp_path: Path) -> None:
    rates: dict[str, Any] = {
        "learning_rate": 0.25,
        "trunk_learning_rate": 0.125,
        "stride_learning_rate": None,
    }
    train(further(store, source, steps=1, **rates), tmp_path / "run")
    now, before = load(tmp_path / "run"), load(source)
    for name, expected in (("heads.0.bias", 0.25), ("trunk.blocks.1.time.conv.bias", 0.125)):
        moved = (now.get_parameter(name) - before.get_parameter(name)).abs()
        # The size of Adam's first step, in which the gradient of a filter without any effect is 0.
        torch.testing.assert_close(moved[moved > 0], torch.full_like(moved[moved > 0], expected))
        assert (moved > 0).any()
    moved = (now.trunk.strides - before.trunk.strides).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.125))


def test_strides_can_be_frozen_alone(source: Path, store: Store, tmp_path: Path) -> None:
    train(further(store, source, freeze_strides_after=0), tmp_path / "run")
    now, before = weights(tmp_path / "run"), weights(source, "best")
    for name, value in before.items():
        assert torch.equal(now[name], value) == name.endswith("pool.stride"), name


def test_resumed_run_needs_no_source_and_equals_an_uninterrupted_one(
    source: Path, store: Store, tmp_path: Path
) -> None:
    copy = shutil.copytree(source, tmp_path / "copy")
    for frozen in (False, True):
        whole, broken = tmp_path / f"whole {frozen}", tmp_path / f"broken {frozen}"
        copy = shutil.copytree(source, tmp_path / "copy", dirs_exist_ok=True)
        recipe = further(store, copy, freeze_trunk=frozen)
        train(recipe, whole)
        train(replace(recipe, trainer={"max_epochs": 2}), broken)
        shutil.rmtree(copy)
        train(recipe, broken, resume=True)
        assert_same(weights(whole), weights(broken))
        assert read_config(broken).training.init_from == str(copy)


def test_other_settings_of_the_network_are_allowed_and_named(source: Path) -> None:
    before = load(source)
    cases: dict[str, dict[str, Any]] = {
        "model.downsampling is strided, not diffstride": {"downsampling": "strided"},
        "model.smoothness is 2.0, not 4.0": {"smoothness": 2.0},
        "model.ramp is inside, not outside": {"ramp": "inside"},
        "model.level is rms, not unchanged": {"level": "rms"},
        "model.shared is True, not False; strides begin at model.strides": {"shared": True},
    }
    for expected, settings in cases.items():
        now = Classifier(before.labels, replace(before.settings, **settings))
        _, sentence = take_over(now, before, "X")
        assert sentence == f"not as in X: {expected}"
        for name, value in now.trunk.state_dict().items():
            same = not name.endswith("pool.stride") or "shared" not in settings
            assert torch.equal(before.trunk.state_dict()[name], value) == same


def test_other_shapes_report_a_clear_error(
    source: Path, store: Store, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wide.yaml").write_text("model: {channels: [8, 6]}")
    message = fails(
        capsys, 1, "train", "wide.yaml", "--init_from", str(source), "--data.corpus", str(store.folder)
    )
    assert f"model.channels is [8, 6], but {source} has [4, 6]: leave model.channels out" in message
    assert not Path("runs/wide").exists()


@pytest.mark.parametrize("setting", ["freeze_trunk: true", "trunk_learning_rate: 1e-3"])
def test_settings_for_a_trained_trunk_need_one(
    setting: str, store: Store, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("x.yaml").write_text(f"training: {{{setting}}}")
    message = fails(capsys, 1, "train", "x.yaml", "--data.corpus", str(store.folder))
    name = setting.partition(":")[0]
    assert f"training.{name} is for a network that is trained further: give --init_from RUN" in message


def test_network_is_that_of_the_source_unless_given(source: Path, store: Store, working_folder: Path) -> None:
    Path("x.yaml").write_text(
        yaml.dump(
            {
                "model": {"smoothness": 2.0},
                "data": {"corpus": str(store.folder)},
                "training": {"steps": 2, "validate_every": 2, "batch_size": 6},
            }
        )
    )
    command = ["train", "x.yaml", "--init_from", str(source), "--model.multiple", "2"]
    assert main(command) == 0
    settings = read_config(Path("runs/x"))
    expected = ModelSettings((4, 6), ((2, 2), (2, 2)), smoothness=2.0, multiple=2)
    assert (settings.model, settings.training.init_from) == (expected, str(source))
    assert load("runs/x").settings == expected


def test_resuming_at_the_command_line_needs_no_source(
    source: Path, store: Store, working_folder: Path
) -> None:
    shutil.copytree(source, "copy")
    command = [
        "train",
        "small",
        "--init_from=copy",
        f"--data.corpus={store.folder}",
        "--model.channels=[4, 6]",
    ]
    command += ["--training.steps=4", "--training.validate_every=2", "--training.batch_size=6"]
    assert main([*command, "--trainer.max_epochs=1"]) == 0
    shutil.rmtree("copy")
    assert main([*command, "--resume"]) == 0
    assert [line["step"] for line in metrics(Path("runs/small"))] == [2, 4]


def test_source_that_is_missing_reports_a_clear_error(
    store: Store, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails(capsys, 1, "train", "small", "--init_from", "nowhere", "--data.corpus", str(store.folder))
    assert "nowhere" in message


def test_options_of_a_run_lead_to_the_same_network(source: Path, store: Store) -> None:
    """A setting that is the paper's but not the source's is among them."""
    recipe = further(store, source)
    recipe.model = replace(recipe.model, smoothness=4.0, multiple=1)
    arguments = ["speech_commands", *options(recipe, Recipe())]
    network = {"channels": (4, 6), "strides": ((3, 3), (1, 1)), "smoothness": 1.0, "multiple": 2}
    other = {"model": network, "frontend": {"mel_channels": 32, "floor": 0.0}}
    _, again, _ = load_with_options(train_parser(""), arguments, lambda name, args: other)
    assert flat(again) == flat(recipe)
    settings = network_settings(str(source))
    assert settings["model"]["channels"] == (4, 6)
    assert settings["frontend"]["mel_channels"] == 64
