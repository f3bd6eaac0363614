"""Files from someone else are safe to open: nothing that they name is imported, called or unpickled."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audiostride import parsers
from audiostride.cli import COMMANDS, main
from audiostride.config import yaml
from audiostride.data.store import INDEX, Store, write_card

pytestmark = pytest.mark.usefixtures("working_folder")
MARKER = Path("executed")
BOMB = {"class_path": "os.system", "init_args": {"command": f"touch {MARKER}"}}
SMALL: dict[str, Any] = {
    "model": {"channels": [4], "strides": [[2, 2]]},
    "training": {"steps": 1, "validate_every": 1, "batch_size": 2},
}


class Pickled:
    """Creates the marker when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {MARKER}",)


def nest(path: str, value: Any) -> dict[str, Any]:
    group, _, name = path.partition(".")
    return {group: nest(name, value) if name else value}


# Every setting that is a mapping or of several types, the groups, and names that do not exist.
PLACES = (
    *(
        "trainer",
        "trainer.x",
        "trainer.precision",
        "trainer.strategy",
        "trainer.callbacks",
        "trainer.profiler",
    ),
    *("model", "model.channels", "model.downsampling", "data", "data.corpus", "data.labels", "data.labels.a"),
    *("data.sampling", "data.sampling.a", "training.task_weights", "training.task_weights.a", "training"),
    *("augmentation", "augmentation.noise", "class_path", "base"),
)


def names_run(trained: Path) -> list[list[str]]:
    run = str(trained)
    return [
        ["summary", run],
        ["test", run],
        ["strides", run],
        ["report", run, "--out", "report.html"],
        ["train", f"{run}/config.yaml", "--out", run, "--resume"],
    ]


@pytest.mark.parametrize("place", PLACES)
def test_recipe_executes_nothing(place: str, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SMALL | {"data": {"corpus": str(store.folder)}}
    Path("r.yaml").write_text(yaml.dump(settings | nest(place, BOMB)))
    Path("s.yaml").write_text("recipe: r.yaml\ngrid: {training.seed: [0]}")
    for command in ("summary", "train", "study"):
        assert main([command, "s.yaml" if command == "study" else "r.yaml"]) in (1, 2)
        assert not MARKER.exists()
        assert not Path("runs").exists()
        assert len([line for line in capsys.readouterr().err.splitlines() if "note: " not in line]) == 1


@pytest.mark.parametrize("place", PLACES)
def test_options_execute_nothing(place: str, store: Store) -> None:
    settings = SMALL | {"data": {"corpus": str(store.folder)}}
    Path("r.yaml").write_text(yaml.dump(settings))
    Path("b.yaml").write_text(yaml.dump(BOMB))
    for value in (json.dumps(BOMB), "b.yaml", "./b.yaml", "os.system"):
        main(["summary", "r.yaml", f"--{place}={value}"])
        main(
            [
                "summary",
                "r.yaml",
                f"--{place}.class_path=os.system",
                f"--{place}.init_args.command=touch {MARKER}",
            ]
        )
        assert not MARKER.exists()


def test_option_imports_no_module(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("planted.py").write_text(f"thing = open({str(MARKER)!r}, 'w')")
    monkeypatch.syspath_prepend(".")
    for value in ("planted.thing", '{"class_path": "planted.thing"}'):
        assert main(["summary", "small", "--model", value]) == 2
        assert not MARKER.exists()
        assert "model must hold settings, as in 'model: {…}'" in capsys.readouterr().err


@pytest.mark.parametrize("place", PLACES)
def test_config_of_a_run_executes_nothing(place: str, trained: Path) -> None:
    config = trained / "config.yaml"
    settings = yaml.load(config.read_text())
    group, _, name = place.partition(".")
    if name and isinstance(settings.get(group), dict):
        settings[group][name.partition(".")[0]] = nest(place, BOMB)[group][name.partition(".")[0]]
    else:
        settings[group] = BOMB
    config.write_text(yaml.dump(settings))
    for command in names_run(trained):
        main(command)
        assert not MARKER.exists(), command


@pytest.mark.parametrize(
    "study",
    [
        {"grid": {"a": {"x": {"trainer": BOMB}}}},
        {"grid": {"a": {"x": {"trainer.x": BOMB}}}},
        {"grid": {"trainer.x": [BOMB]}},
        {"grid": {"training.seed": [BOMB]}},
        {"settings": {"trainer.x": BOMB}},
        {"settings": {"model": BOMB}},
        {"settings": BOMB},
        {"tables": [{"where": {"training.seed": [BOMB]}}]},
        {"tables": [{"where": {"training.seed": BOMB}}]},
        {"tables": [{"where": BOMB}]},
        {"tables": [{"over": BOMB}]},
        {"tables": [BOMB]},
        {"recipe": BOMB},
    ],
)
def test_study_executes_nothing(study: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    made = {"recipe": "small", "grid": {"training.seed": [0]}} | study
    Path("s.yaml").write_text(yaml.dump(made))
    for option in ("--print", "--summary"):
        assert main(["study", "s.yaml", option]) == 1
        assert not MARKER.exists()
        assert "s.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        f"!!python/object/apply:os.system ['touch {MARKER}']",
        f"trainer: !!python/object/apply:os.system ['touch {MARKER}']",
        f"trainer: {{x: !!python/object/new:os.system ['touch {MARKER}']}}",
        "trainer: !!python/name:os.system",
        f"trainer: {{!!python/object/apply:os.system ['touch {MARKER}']: 1}}",
    ],
)
def test_yaml_tags_execute_nothing(text: str, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "config.yaml").write_text(text)
    Path("s.yaml").write_text(f"grid: {{training.seed: [0]}}\n{text}")
    commands = [*names_run(trained), ["study", "s.yaml"], ["summary", str(trained / "config.yaml")]]
    commands += [["summary", "small", "--trainer", text], ["summary", "small", "--data.labels", text]]
    for command in commands:
        assert main(command) in (1, 2)
        assert not MARKER.exists(), command
        assert "Traceback" not in capsys.readouterr().err


def pickled_checkpoint(run: Path, store: Path) -> None:
    for name in ("best", "last"):
        file = run / "checkpoints" / f"{name}.ckpt"
        torch.save(torch.load(file, weights_only=True) | {"hyper_parameters": Pickled()}, file)


def pickled_state(run: Path, store: Path) -> None:
    for name in ("best", "last"):
        torch.save(Pickled(), run / "checkpoints" / f"{name}.ckpt")


def pickled_index(run: Path, store: Path) -> None:
    with np.load(store / INDEX) as index:
        content = dict(index) | {"splits": np.array([Pickled()], dtype=object)}
    np.savez(store / INDEX, allow_pickle=True, **content)


def class_in_card(run: Path, store: Path) -> None:
    card = json.loads((store / "card.json").read_text())
    write_card(store, card | {"tasks": BOMB, "notes": [BOMB]})


def class_in_metrics(run: Path, store: Path) -> None:
    (run / "metrics.jsonl").write_text(
        json.dumps(BOMB) + "\n" + json.dumps({"step": BOMB, "metrics": BOMB}) + "\n"
    )
    (run / "test.json").write_text(json.dumps([BOMB]))


@pytest.mark.parametrize(
    "plant", [pickled_checkpoint, pickled_state, pickled_index, class_in_card, class_in_metrics]
)
def test_files_of_runs_and_corpora_execute_nothing(
    plant: Callable[[Path, Path], None], trained: Path, store: Store, tmp_path: Path
) -> None:
    copy = tmp_path / "corpus"
    copy.mkdir()
    for file in store.folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = trained / "config.yaml"
    config.write_text(config.read_text().replace(str(store.folder), str(copy)))
    plant(trained, copy)
    for command in names_run(trained):
        main(command)
        assert not MARKER.exists(), command


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("prepare", "bench")])
def test_no_option_has_a_type_that_names_an_import(command: str) -> None:
    """Such types, for example `Any`, make jsonargparse import what a value names."""
    make_parser = getattr(parsers, {"summary": "recipe_summary_parser"}.get(command, f"{command}_parser"))
    parser = make_parser("", live=False) if command == "predict" else make_parser("")
    hints = [hint for action in parser._actions if (hint := getattr(action, "_typehint", None)) is not None]
    assert not [
        hint for hint in hints if "Any" in str(hint) or "Callable" in str(hint) or "object" in str(hint)
    ]
