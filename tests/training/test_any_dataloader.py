"""`ClassifierTraining` with DataLoaders of waveforms and labels, and a plain Trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_run import assert_same, tiny, weights
from helpers.two_tasks import recipe as two_task_recipe
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from audiostride import Classifier, ModelSettings, Recipe, TrainingSettings, load
from audiostride.data.datamodule import WindowsModule
from audiostride.data.store import Store
from audiostride.data.windows import TrainingWindows
from audiostride.training.batches import as_batch
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining

TINY = ModelSettings((4, 6), ((2, 2), (2, 2)))


def plain_trainer(steps: int, **options: Any) -> Trainer:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return Trainer(max_steps=steps, accelerator="cpu", **quiet | {"enable_checkpointing": False} | options)


def sounds_of(count: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(count, 4000, generator=torch.Generator().manual_seed(seed))


def loader(batches: list[Any]) -> DataLoader[Any]:
    dataset: Any = batches
    return DataLoader(dataset, batch_size=None)


def batches_of(recipe: Recipe) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Return the waveforms and labels that a run of the recipe trains on."""
    data = WindowsModule(recipe.data, recipe.training)
    shift = round(recipe.augmentation.shift_s * 16000)
    windows = TrainingWindows(data.select("train"), recipe.training.batch_size, data.window, shift)
    batches = (windows[number] for number in range(recipe.training.steps))
    return [(batch["waveform"], batch["labels"]) for batch in batches]


@pytest.mark.parametrize("several", [False, True])
def test_training_on_the_same_batches_gives_the_same_weights(
    several: bool, store: Store, sounds: Store, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"steps": 4, "schedule": "one_cycle", "smoothness_from": 6.0}
    recipe = two_task_recipe(sounds, **settings) if several else tiny(store, **settings)
    recipe.augmentation.gain_db = 6.0
    train(recipe, tmp_path / "run")
    batches: list[Any] = batches_of(recipe)
    if not several:
        batches = [(waveform, labels["speech_commands"]) for waveform, labels in batches]
    seed_everything(recipe.training.seed, verbose=False)
    classifier = Classifier(load(tmp_path / "run").labels, recipe.model)
    recipe.training.steps = 1_000_000  # the Trainer's number counts
    module = ClassifierTraining(classifier, recipe.training, recipe.augmentation)
    plain_trainer(4).fit(module, loader(batches))
    assert_same(classifier.state_dict(), weights(tmp_path / "run"))


def test_validation_counts_every_labelled_window() -> None:
    labels = {"word": ["a", "b"], "level": ["x", "y", "z"]}
    module = ClassifierTraining(Classifier(labels, TINY), TrainingSettings(batch_size=4))
    words = torch.tensor([0, 1, 0, 1, 1, -1])
    levels = torch.tensor([2, -1, 0, 1, -1, 2])
    batches = [
        (sounds_of(6)[rows], {"word": words[rows], "level": levels[rows]}) for rows in ([0, 1, 2], [3, 4, 5])
    ]
    trainer = plain_trainer(2)
    trainer.fit(module, loader(batches), loader(batches))
    logits = module.classifier.eval()(sounds_of(6))
    for task, indices in (("word", words), ("level", levels)):
        right = logits[task].argmax(1)[indices >= 0] == indices[indices >= 0]
        accuracy = float(right.float().mean())
        assert trainer.callback_metrics[f"valid/accuracy/{task}"] == pytest.approx(accuracy)


def test_task_that_a_batch_does_not_name_has_no_labels() -> None:
    batch = as_batch((sounds_of(2), {"b": torch.tensor([1, 0])}), ["a", "b"])
    assert {task: labels.tolist() for task, labels in batch["labels"].items()} == {"a": [-1, -1], "b": [1, 0]}


@pytest.mark.parametrize(
    ("batch", "tasks", "message"),
    [
        ((sounds_of(2), torch.tensor([0, 1])), ["a", "b"], "labels must be a mapping from the tasks a, b to"),
        ((sounds_of(2), {"c": torch.tensor([0, 1])}), ["a"], "labels name the task c, but there are a"),
        ((sounds_of(2), torch.tensor([0])), ["a"], "a whole number for each of 2 windows, but are"),
        ((sounds_of(2), torch.rand(2)), ["a"], "a whole number for each of 2 windows, but are"),
        (sounds_of(2), ["a"], "a batch must be a pair of waveforms"),
        ((sounds_of(2), sounds_of(2), 3), ["a"], "a batch must be a pair of waveforms"),
    ],
)
def test_batch_of_another_form_reports_a_clear_error(batch: Any, tasks: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_batch(batch, tasks)


def test_checkpoint_of_a_plain_trainer_loads(tmp_path: Path) -> None:
    module = ClassifierTraining(Classifier({"word": ["a", "b"]}, TINY), TrainingSettings(batch_size=4))
    data = DataLoader(TensorDataset(sounds_of(8), torch.tensor([0, 1] * 4)), batch_size=4)
    trainer = plain_trainer(3, enable_checkpointing=True, default_root_dir=tmp_path)
    trainer.fit(module, data, data)
    (file,) = tmp_path.rglob("*.ckpt")
    assert_same(load(file).state_dict(), module.classifier.state_dict())


@pytest.mark.parametrize("freeze", [False, True])
def test_loaded_classifier_trains_further_on_a_plain_dataloader(
    freeze: bool, tmp_path: Path, store: Store
) -> None:
    """A loaded classifier is in evaluation mode; its batch norms learn nevertheless, unless frozen."""
    train(tiny(store, steps=2), tmp_path / "run")
    classifier = load(tmp_path / "run")
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    settings = TrainingSettings(learning_rate=1e-2, freeze_trunk=freeze)
    data = DataLoader(TensorDataset(sounds_of(8), torch.tensor([0, 1] * 4)), batch_size=4)
    plain_trainer(3).fit(ClassifierTraining(classifier, settings), data)
    for name, value in classifier.state_dict().items():
        moved = not torch.equal(value, before[name])
        if name.startswith("heads.") or not freeze:
            assert moved, name
        else:
            assert not moved, name
