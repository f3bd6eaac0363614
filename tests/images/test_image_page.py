"""What the page about images shows works as it stands."""

import shutil
from pathlib import Path

import pytest
from helpers.pages import DOCS

from audiostride.analysis.summary import summarise_recipe
from audiostride.config import recipe as recipes
from audiostride.layers.conv_downsample import Downsampling
from audiostride.timing import one_thread

PAGE = DOCS / "images.md"


def blocks() -> list[str]:
    """Return the blocks of Python of the page."""
    return [part.partition("```")[0] for part in PAGE.read_text(encoding="utf-8").split("```python\n")[1:]]


def test_classifier_labels_images(
    image_run: Path, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(image_run, "runs/cifar10_small")
    exec(blocks()[0], {})
    assert set(eval(capsys.readouterr().out)) <= {"apple", "bear", "cloud", "dog"}


def test_module_trains_on_a_loader_of_the_user(working_folder: Path) -> None:
    scope: dict = {}
    with one_thread():
        exec(blocks()[1], scope)
    assert scope["module"].global_step == 4
    assert scope["classifier"].trunk.downsamplers()[1].strides.tolist() != [2.0, 2.0]


def test_numbers_of_multiplications_are_those_of_the_summary() -> None:
    text = PAGE.read_text(encoding="utf-8")
    counts = {}
    kinds: tuple[Downsampling, ...] = ("diffstride", "strided")
    for downsampling in kinds:
        recipe = recipes.load("cifar10")
        recipe.model.downsampling = downsampling
        rows = {row["layer"]: row for row in summarise_recipe(recipe)}
        counts[downsampling] = f"{rows['all']['mega_macs']:,.0f}"
        sizes = [rows[layer]["output"].split()[0] for layer in ("2.1", "3.1", "4.1")]
        assert "{}, {} and {}".format(*sizes) in text
    assert f"{counts['diffstride']} million multiply-accumulates instead of {counts['strided']}" in text


def test_recipes_have_the_epochs_that_the_page_names() -> None:
    training = recipes.load("cifar10").training
    assert training.steps == 400 * 50_000 / training.batch_size
    assert [round(fraction * 400) for fraction in training.decay_at] == [200, 300]
    imagenet = recipes.load("imagenet").training
    assert imagenet.steps == round(90 * 1_281_167 / imagenet.batch_size)
    assert [round(fraction * 90) for fraction in imagenet.decay_at] == [30, 60, 80]
