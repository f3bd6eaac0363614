"""Study files: the runs of a grid, and clear errors for mistakes in a file."""

import re
from pathlib import Path

import pytest
from helpers.studies import expand

from audiostride.config import recipe as recipes
from audiostride.errors import UserError
from audiostride.studies import plan, study_file

STUDIES = sorted((Path(__file__).parents[2] / "recipes" / "studies").glob("*.yaml"))


def test_every_combination_is_a_run_named_by_its_values(home: Path) -> None:
    runs = expand(
        """
        recipe: tiny.yaml
        grid:
          initial: {usual: {}, poor: {model: {strides: [[3, 3], [2, 2]]}}}
          model.smoothness: [4.0, 0.5]
          training.stride_learning_rate: [null, 1e-2]
        """
    )
    assert [run.name for run in runs] == [
        "usual-4-null",
        "usual-4-0.01",
        "usual-0.5-null",
        "usual-0.5-0.01",
        "poor-4-null",
        "poor-4-0.01",
        "poor-0.5-null",
        "poor-0.5-0.01",
    ]
    assert runs[-1].folder == Path("runs/poor-0.5-0.01")
    assert runs[-1].values == {
        "initial": "poor",
        "model.smoothness": "0.5",
        "training.stride_learning_rate": "0.01",
    }
    assert runs[-1].recipe.model.strides == ((3, 3), (2, 2))
    assert runs[-1].recipe.training.stride_learning_rate == 0.01
    assert runs[0].recipe.training.stride_learning_rate is None


def test_grid_overrides_settings_and_settings_override_the_recipe(home: Path) -> None:
    runs = expand(
        """
        recipe: tiny.yaml
        settings: {training: {steps: 8, batch_size: 7}, model.smoothness: 2}
        grid: {length: {short: {}, long: {training.steps: 9}}}
        """
    )
    assert [run.recipe.training.steps for run in runs] == [8, 9]
    assert {(run.recipe.training.batch_size, run.recipe.model.smoothness) for run in runs} == {(7, 2)}
    assert {run.recipe.training.learning_rate for run in runs} == {3e-3}


def test_value_of_the_grid_replaces_a_mapping(home: Path) -> None:
    (run,) = expand(
        """
        recipe: tiny.yaml
        settings: {data: {labels: {speech_commands: [yes, no]}, sampling: {a: 2}}}
        grid: {data.sampling: [uniform]}
        """
    )
    assert run.recipe.data.sampling == "uniform"
    assert run.recipe.data.labels == {"speech_commands": ["yes", "no"]}


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_study_is_valid(file: Path) -> None:
    study = study_file.read(recipes.find(file.stem, "study"))
    runs = plan.expand(study, Path("runs"), recipes.build)
    assert len(study.grid[plan.SEED]) > 1  # one run has no standard deviation
    for table in study.tables:
        assert any(table.includes(run) for run in runs)


def test_runs_of_the_cost_study_are_named_by_method_and_seed() -> None:
    study = study_file.read(recipes.find("cost", "study"))
    runs = plan.expand(study, Path("runs"), recipes.build)
    methods = "strided spectral r4 r2 r1 relative inside4 inside1 j0.1 j1 j10".split()
    assert [run.name for run in runs] == [f"{method}-{seed}" for method in methods for seed in range(3)]


@pytest.mark.parametrize(
    ("study", "sentence"),
    [
        ("- a", "the study x.yaml must hold settings, as in 'grid: {training.seed: [0, 1]}'"),
        ("a: [1", "the study x.yaml cannot be read: while parsing"),
        (
            "grid: {a: {b: {}, b: {}}}",
            'the study x.yaml cannot be read: while constructing a mapping, found duplicate key "b"',
        ),
        ("recipe: tiny.yaml\ngird: {}", "x.yaml: gird is no setting, did you mean grid?"),
        ("grid: {training.seed: [0]}", "x.yaml must name its recipe, as in 'recipe: "),
        (
            "recipe: tiny.yaml",
            "x.yaml must have a grid of settings, as in 'grid: {training.seed: [0, 1, 2]}'",
        ),
        ("recipe: tiny.yaml\ngrid: {}", "x.yaml must have a grid of settings"),
        ("recipe: tiny.yaml\ngrid: [training.seed]", "x.yaml must have a grid of settings"),
        ("recipe: nowhere\ngrid: {training.seed: [0]}", "there is no recipe nowhere: give a YAML file or"),
        (
            "recipe: tiny.yaml\nsettings: {model: {chanels: [4]}}\ngrid: {training.seed: [0]}",
            "x.yaml: settings: model.chanels is no setting, did you mean model.channels?",
        ),
        (
            "recipe: tiny.yaml\nsettings: 3\ngrid: {training.seed: [0]}",
            "x.yaml: settings must hold settings, as in '{model.smoothness: 4}'",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.sed: [0]}",
            "x.yaml: grid: training.sed is no setting, did you mean training.seed?",
        ),
        (
            "recipe: tiny.yaml\ngrid: {a: {b: {model.depth: 2}}}",
            "x.yaml: grid: a: b: model.depth is no setting, there are channels",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: 0}",
            "x.yaml: grid: training.seed must be a list of values, or names with settings, as in 'training",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: []}",
            "x.yaml: grid: training.seed must be a list of values",
        ),
        (
            "recipe: tiny.yaml\ngrid: {method: [a, b]}",
            "x.yaml: grid: method lists values but is no setting: give each value a name and settings",
        ),
        ("recipe: tiny.yaml\ngrid: {method: {a: 3}}", "x.yaml: grid: method: a must hold settings, as in"),
        ("recipe: tiny.yaml\ngrid: {training.seed: [0, 1, 0]}", "grid: training.seed has the value 0 twice"),
        (
            "recipe: tiny.yaml\ngrid: {model.channels: [[4, 6], [6, 8]]}",
            "x.yaml: grid: model.channels: [4, 6] cannot be part of a folder's name: give each value a name",
        ),
        (
            "recipe: tiny.yaml\ngrid: {data.corpus: [data/a]}",
            "data/a cannot be part of a folder's name: give each value a name and settings, as in "
            "'data.corpus: {NAME: {data.corpus: …}, …}'",
        ),
        ("recipe: tiny.yaml\ngrid: {a: {..: {}}}", "x.yaml: grid: a: .. cannot be part of a folder's name"),
        (
            "recipe: tiny.yaml\ngrid: {a: {b: {}, b-c: {}}, d: {c-e: {}, e: {}}}",
            "x.yaml: two runs of the grid would have the name b-c-e: rename values",
        ),
        (
            "recipe: tiny.yaml\ngrid: {a: {b: {}, B: {model.smoothness: 2}}}",
            "x.yaml: two runs of the grid would have the name B",
        ),
        (
            "recipe: tiny.yaml\ngrid: {a: {b: {training.seed: 3}}, training.seed: [0]}",
            "x.yaml: grid: both a and training.seed set training.seed: leave it out of one of them",
        ),
        (
            "recipe: tiny.yaml\ngrid: {a: {b: {}, c: {model.smoothness: -1}}}",
            "x.yaml: model.smoothness must be a number from 0 to 10000, but is -1 (in run c)",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.steps: [many]}",
            "x.yaml: training.steps must be a whole number, at least 1, but is many (in run many)",
        ),
        (
            "recipe: tiny.yaml\n"
            "grid: {model.downsampling: [max], a: {b: {model.strides: [[1.5, 1], [1, 1]]}}}",
            "x.yaml: max downsampling takes whole strides, but got 1.5 (in run max-b)",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: {}\n",
            "x.yaml: tables must be a list, as in '[{over: [training.seed], show: accuracy}]'",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{ovr: []}]",
            "x.yaml: tables: number 1: ovr is no setting, did you mean over?",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{over: training.seed}]",
            "x.yaml: tables: number 1: over must be a list of texts or null, but is training.seed",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{show: all}]",
            "x.yaml: tables: number 1: show must be one of accuracy, strides, but is all",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{}, {over: [seed], title: b}]",
            "x.yaml: tables: number 2: seed is no axis of the grid, it has training.seed",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{where: {training.seed: [0, 1]}}]",
            "x.yaml: tables: number 1: training.seed has no value 1, it has 0",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{over: [], against: {seed: 0}}]",
            "x.yaml: tables: number 1: seed is no axis of the grid, it has training.seed",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\n"
            "tables: [{over: [], against: {training.seed: 1}}]",
            "x.yaml: tables: number 1: training.seed has no value 1, it has 0",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{across: training.seed}]",
            "x.yaml: tables: number 1: across needs a row for each value of training.seed: leave it out of o",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\n"
            "tables: [{over: [], across: training.seed, lines: training.seed}]",
            "x.yaml: tables: number 1: lines and across both name training.seed: leave one out",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0, 1]}\n"
            "tables: [{over: [], where: {training.seed: [1]}, against: {training.seed: 0}}]",
            "x.yaml: tables: number 1: against asks for 0 of training.seed, which where leaves out",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{}, {}]",
            "x.yaml: tables: number 2 has the title Accuracy of an earlier table: give it another title",
        ),
        (
            "recipe: tiny.yaml\ngrid: {training.seed: [0]}\ntables: [{show: strides, frames: 0}]",
            "x.yaml: tables: number 1: frames must be a whole number from 1 to 360000, but is 0",
        ),
    ],
)
def test_bad_study_reports_a_clear_error(study: str, sentence: str, home: Path) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)) as error:
        expand(study)
    assert len(str(error.value).splitlines()) == 1
