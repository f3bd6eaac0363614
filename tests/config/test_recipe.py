"""Recipe files: bases, options on top, and what is wrong with them."""

from dataclasses import asdict
from pathlib import Path

import pytest
from helpers.command_line import fails

from audiostride.config import recipe as recipes
from audiostride.config import yaml
from audiostride.config.arguments import options, recipe_parser
from audiostride.config.settings import DataSettings, Recipe
from audiostride.data.store import Store

pytestmark = pytest.mark.usefixtures("working_folder")


def test_option_changes_one_setting_and_keeps_the_others() -> None:
    parser = recipe_parser()
    parser.add_argument("recipe", type=str)
    given = ["speech_commands_small", "--model.downsampling", "strided"]
    _, recipe, _ = recipes.load_with_options(parser, given)
    assert recipe.model.downsampling == "strided"
    assert recipe.model.channels == (32, 64, 128, 128, 256, 256)


def test_recipe_of_the_paper_is_the_defaults() -> None:
    file = recipes.find("speech_commands")
    assert recipes.build(recipes.read(file), file) == Recipe()


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml")), ids=lambda f: f.stem
)
def test_every_recipe_is_valid(file: Path) -> None:
    recipes.build(recipes.read(file), file)


def test_base_can_be_the_name_of_a_recipe() -> None:
    Path("r.yaml").write_text("base: speech_commands_small\ntraining: {steps: 010}")
    recipe = recipes.build(recipes.read(Path("r.yaml")), Path("r.yaml"))
    assert (recipe.training.steps, recipe.training.batch_size) == (10, 64)


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("[0, 1]", ["0", "1"]),
        ("[7, 007, 1e3, 1.0]", ["7", "007", "1e3", "1.0"]),
        ("[yes, no, on, true]", ["yes", "no", "on", "true"]),
        ("['0', \"1\"]", ["0", "1"]),
        ("{digit: [0, 1], 2: [no, 1]}", {"digit": ["0", "1"], "2": ["no", "1"]}),
    ],
)
def test_labels_that_look_like_numbers_are_text_as_written(written: str, names: object) -> None:
    parser = recipe_parser()
    parser.add_argument("recipe", type=str)
    Path("r.yaml").write_text(f"data: {{labels: {written}}}")
    assert recipes.load("r.yaml").data.labels == names
    labels = f"{{labels: {written}}}"
    for given in (["--data.labels", written], [f"--data.labels={written}"], ["--data", labels]):
        _, recipe, _ = recipes.load_with_options(parser, ["small", *given])
        assert recipe.data.labels == names
    command = options(recipe, recipes.load("small"))
    assert recipes.load_with_options(parser, ["small", *command])[1] == recipe
    Path("again.yaml").write_text(yaml.dump(asdict(recipe)))
    assert recipes.load("again.yaml") == recipe


def test_tasks_that_look_like_numbers_are_text_and_other_settings_are_not() -> None:
    Path("r.yaml").write_text("data: {tasks: [1, 2], leave_out: null, window_s: 2}\ntraining: {seed: 7}")
    recipe = recipes.load("r.yaml")
    assert (recipe.data.tasks, recipe.data.leave_out) == (["1", "2"], None)
    assert (recipe.data.window_s, recipe.training.seed) == (2, 7)
    assert DataSettings(labels=[0, 1]).labels == ["0", "1"]  # type: ignore[list-item]


def test_recipe_files_are_yaml_1_2() -> None:
    Path("r.yaml").write_text("data: {labels: [yes, no, on, off]}\ntraining: {learning_rate: 1e-3}")
    recipe = recipes.build(recipes.read(Path("r.yaml")), Path("r.yaml"))
    assert recipe.data.labels == ["yes", "no", "on", "off"]
    assert recipe.training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("model: {chanels: [1]}", "r.yaml: model.chanels is no setting, did you mean model.channels?"),
        ("modle: {}", "r.yaml: modle is no setting, did you mean model?"),
        ("model: 3", "r.yaml: model must hold settings, as in 'model: {…}'"),
        ("- a list", "the recipe r.yaml must hold settings, as in 'training: {steps: 1000}'"),
        ("a: [1", "the recipe r.yaml cannot be read: while parsing a flow sequence"),
        ("model: {downsampling: none}", "r.yaml: model.downsampling must be one of strided, max"),
        ("training: {steps: many}", "r.yaml: training.steps must be a whole number, at least 1, but is many"),
        (
            "model: {strides: [[0.5, 1]], channels: [4]}",
            "model.strides[0][0] must be a finite number, at least 1, but is 0.5",
        ),
        ("model: {smoothness: -1}", "model.smoothness must be a number from 0 to 10000, but is -1"),
        ("training: {steps: 0}", "r.yaml: training.steps must be a whole number, at least 1, but is 0"),
        ("training: {learning_rate: -1}", "training.learning_rate must be a finite number, at least 0"),
        ("data: {labels: [yes, no, yes]}", "data.labels names yes more than once"),
        ("data: {window_s: 0}", "data.window_s must be a number from 0.1 to 3600, but is 0"),
        (
            "data: {labels: yes}",
            "data.labels must be a mapping from text to a list of texts or a list of texts or null, but",
        ),
        (
            "model: {channels: 4}",
            "r.yaml: model.channels must be a list of whole numbers from 1 to 4096 or null, but is 4",
        ),
        ("trainer:", "r.yaml: trainer must hold settings"),
        ("base: nowhere.yaml", "there is no recipe nowhere.yaml: give a YAML file or one of acoustic_scenes"),
        ("base: [small, nowhere]", "there is no recipe nowhere: give a YAML file or one of acoustic_scenes"),
        ("base: [small, r.yaml]", "r.yaml is its own base"),
        (
            "data: {sampling: fast}",
            "data.sampling must be one of uniform, proportional or a mapping from text to a finite number",
        ),
        ("data: {sampling: {a: -1}}", "data.sampling.a must be a finite number, at least 0, but is -1"),
        ("data: {holdout: 0.7}", "data.holdout must be a number from 0 to 0.5, but is 0.7"),
        ("data: {corpus: []}", "data.corpus names no corpus"),
        (
            "training: {smoothness_from: 4, compile: true}",
            "training.smoothness_from changes the network at each step, which cannot be compiled: leave",
        ),
        (
            "{model: {ramp: relative, smoothness: 0.2}, training: {smoothness_from: 4}}",
            "training.smoothness_from is a fraction of the output length if model.ramp is relative, but",
        ),
        (
            "training: {task_weights: {a: -1}}",
            "training.task_weights.a must be a finite number, at least 0, but is -1",
        ),
        ("base: 3", "r.yaml: base must be a recipe's name or file, or a list of them"),
        (
            "training: {complexity: .nan}",
            "training.complexity must be a finite number, at least 0, but is nan",
        ),
        (
            "augmentation: {shift_s: .inf}",
            "augmentation.shift_s must be a number from 0 to 3600, but is inf",
        ),
        ("training: {seed: -1}", "training.seed must be a whole number from 0 to 4294967295, but is -1"),
        (
            "training: {seed: 4294967296}",
            "training.seed must be a whole number from 0 to 4294967295, but is 4294967296",
        ),
        ("training: {steps: }", "r.yaml: training.steps is empty: give it a value or leave it out"),
        (
            "model: {channels: [0, 4], strides: [[1, 1], [1, 1]]}",
            "model.channels[0] must be a whole number from 1 to 4096, but is 0",
        ),
        ("data: {labels: [yes]}", "data.labels must name at least two labels, but names 1"),
        ("base: r.yaml", "r.yaml is its own base"),
        ("base: ../work/r.yaml", "r.yaml is its own base"),
    ],
)
def test_wrong_recipe_reports_a_clear_error_and_leaves_nothing(
    recipe: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("r.yaml").write_text(recipe)
    assert sentence in fails(capsys, 1, "train", "r.yaml")
    assert [path.name for path in Path().iterdir()] == ["r.yaml"]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            "{strides: [[2, 1]], channels: [4, 4]}",
            "model.network separable: channels and strides need one entry per block, but have 2 and 1",
        ),
        (
            "{options: {depth: 3}}",
            "model.options.depth: the network separable has no such option, it has",
        ),
        (
            "{network: resnet18, options: {layers: [0, 2, 2, 2]}}",
            "model.options.layers of the network resnet18 cannot be [0, 2, 2, 2]",
        ),
        (
            "{network: resnet18, channels: [4]}",
            "channels needs 4 entries, for the four stages, but has 1",
        ),
        ("{network: resnet}", "model.network must be one of"),
    ],
)
def test_wrong_network_reports_a_clear_error(
    model: str, sentence: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("r.yaml").write_text(f"{{model: {model}, data: {{corpus: '{store.folder}'}}}}")
    for command in ("summary", "train"):
        assert sentence in fails(capsys, 1, command, "r.yaml")
    assert not Path("runs").exists()


def test_another_network_drops_the_shape_of_the_base() -> None:
    Path("base.yaml").write_text("model: {channels: [4, 4], strides: [[2, 2], [2, 2]], smoothness: 1}")
    Path("r.yaml").write_text("{base: base.yaml, model: {network: resnet18, options: {first_kernel: 5}}}")
    model = recipes.load("r.yaml").model
    assert (model.network, model.channels, model.strides, model.smoothness) == ("resnet18", None, None, 1)
    parser = recipe_parser()
    parser.add_argument("recipe")
    _, recipe, _ = recipes.load_with_options(parser, ["r.yaml", "--model.network", "separable"])
    assert (recipe.model.network, recipe.model.options) == ("separable", {})
    _, recipe, _ = recipes.load_with_options(parser, ["base.yaml", "--model.network", "separable"])
    assert recipe.model.channels == (4, 4)


@pytest.mark.parametrize(
    "options",
    [
        ["--data.window_s=1e300"],
        ["--data.workers=1000000"],
        ["--training.batch_size=10000000"],
        ["--model.channels=[1000000000]", "--model.strides=[[2, 2]]"],
        ["--model.smoothness=1e9"],
        ["--training.smoothness_from=1e9"],
        ["--augmentation.shift_s=1e300"],
        ["--augmentation.time_masks=1000000000"],
        ["--augmentation.time_mask_s=1e300"],
        ["--trainer.overfit_batches=1"],
        ["--trainer.accelerator=tpu"],
    ],
)
def test_absurd_setting_reports_a_clear_error(
    options: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("summary", "train"):
        message = fails(capsys, 1, command, "small", f"--data.corpus={store.folder}", *options)
        name = options[0].removeprefix("--").partition("=")[0]
        assert f"{name}" in message
        assert "from" in message or "cannot be set" in message or "one of" in message
