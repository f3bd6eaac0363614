"""`audiostride.fit`: a recipe trained from a program or a notebook."""

import logging
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import assert_same, tiny, weights

import audiostride
from audiostride import Recipe, TrainingSettings, fit
from audiostride.config.differences import flat
from audiostride.config.recipe import read_config
from audiostride.data.store import Store
from audiostride.errors import UserError
from audiostride.log import messages_shown
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining

TINY: dict[str, Any] = {
    "model": {"channels": (4, 6), "strides": ((2, 2), (2, 2))},
    "training.steps": 4,
    "training.validate_every": 2,
    "training.batch_size": 6,
}

pytestmark = pytest.mark.usefixtures("working_folder")


def test_fit_returns_the_run_its_classifier_and_its_metrics(store: Store) -> None:
    result = fit("small", store.folder, progress=False, **TINY)
    assert result.run == Path("runs/small")
    assert not result.classifier.training
    assert_same(result.classifier.state_dict(), weights(result.run, "best"))
    assert [entry["step"] for entry in result.metrics] == [2, 4]
    (row,) = result.test()
    assert (row["recordings"], row["split"]) == (6, "official test")
    assert str(result).startswith("FitResult('runs/small', step 4, speech_commands ")


def test_recipe_is_a_name_a_file_a_dataclass_or_a_mapping(store: Store) -> None:
    Path("mine.yaml").write_text("{base: small, training: {seed: 5}}")
    made = tiny(store, steps=2, seed=5)
    for recipe in ("small", "mine.yaml", Path("mine.yaml"), {"base": "small", "training.seed": 5}, made):
        result = fit(recipe, store, **TINY | {"training.steps": 2}, progress=False)
        settings = read_config(result.run)
        assert settings.model.channels == (4, 6)
        assert (settings.training.steps, settings.data.corpora) == (2, [str(store.folder)])
        assert settings.training.seed == (0 if recipe == "small" else 5)
        assert settings.training.schedule == ("constant" if recipe is made else "one_cycle")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["fit", "fit-2", "mine", "mine-2", "small"]


def test_fit_equals_the_training_of_the_same_recipe(store: Store, tmp_path: Path) -> None:
    recipe = tiny(store, steps=2)
    train(recipe, tmp_path / "run")
    result = fit(Recipe(recipe.model), [store], "out", training=recipe.training)
    assert_same(weights(tmp_path / "run"), weights(result.run))
    assert flat(read_config(result.run)) == flat(recipe) | {"data.corpus": [str(store.folder)]}
    assert asdict(read_config(result.run).training) == asdict(recipe.training)


def test_fit_begins_with_a_trained_model(store: Store) -> None:
    first = fit("small", store, progress=False, **TINY)
    rates: dict[str, Any] = {"training.learning_rate": 0.0, "training.trunk_learning_rate": 0.0}
    short = {name: value for name, value in TINY.items() if name != "model"}
    frozen: dict[str, Any] = {"training.freeze_trunk": True, **rates}
    second = fit("fine_tune", store, init_from=first.run, progress=False, **short, **frozen)
    assert_same(first.classifier.state_dict(), second.classifier.state_dict())


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("smal", {}, "there is no recipe smal: did you mean small"),
        ("small", {"trainig": {"steps": 5}}, "the settings: trainig is no setting, did you mean training?"),
        ("small", {"training.step": 5}, r"training\.step is no setting, did you mean training\.steps\?"),
        ("small", {"training.steps": 0}, r"training\.steps must be a whole number, at least 1, but is 0"),
        (
            "small",
            {"training.steps": "many"},
            r"training\.steps must be a whole number, at least 1, but is many",
        ),
        ({"model": 3}, {}, "model must hold settings"),
        ("small", {"training": TrainingSettings, "resume": True}, "resume=True needs out"),
        ("small", {"init_from": "nowhere"}, "there is no run at nowhere"),
        ("small", {"corpus": "nowhere"}, "no prepared corpus"),
    ],
)
def test_wrong_arguments_report_a_clear_error(
    recipe: Any, settings: dict[str, Any], message: str, store: Store
) -> None:
    with pytest.raises(UserError, match=message):
        fit(recipe, **{"corpus": store} | settings)
    assert not list(Path().rglob("*.ckpt"))


def test_folder_that_holds_a_run_is_resumed_or_left_alone(store: Store) -> None:
    fit("small", store, "out", progress=False, **TINY | {"trainer.max_epochs": 1})
    with pytest.raises(UserError, match="out already holds a run: give resume=True to continue it"):
        fit("small", store, "out", progress=False, **TINY)
    result = fit("small", store, "out", progress=False, resume=True, **TINY)
    assert [entry["step"] for entry in result.metrics] == [2, 4]


def test_interrupted_fit_keeps_its_checkpoint_and_ctrl_c(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = ClassifierTraining.training_step

    def interrupted(self: ClassifierTraining, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == 3:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(ClassifierTraining, "training_step", interrupted)
        with pytest.raises(
            UserError, match="interrupted at step 3: call fit again with out='out' and resume=T"
        ):
            fit("small", store, "out", progress=False, **TINY)
    assert signal.getsignal(signal.SIGINT) is handler
    result = fit("small", store, "out", progress=False, resume=True, **TINY)
    assert [entry["step"] for entry in result.metrics] == [2, 4]


def test_progress_bar_is_shown_unless_switched_off(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    fit("small", store, progress=False, **TINY)
    assert "training:" not in capsys.readouterr().err
    fit("small", store, **TINY)
    assert "training: 100%" in capsys.readouterr().err


def test_messages_are_shown_only_if_the_program_has_not_decided_about_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger, root = logging.getLogger("audiostride"), logging.getLogger()
    monkeypatch.setattr(logger, "handlers", [logging.NullHandler()])
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    with messages_shown():
        logger.info("shown")
    logger.info("not shown")
    assert capsys.readouterr().err == "shown\n"
    assert len(logger.handlers) == 1
    monkeypatch.setattr(root, "handlers", [logging.NullHandler()])
    with messages_shown():
        logger.info("not shown")
    assert capsys.readouterr().err == ""
    assert audiostride.fit is fit
