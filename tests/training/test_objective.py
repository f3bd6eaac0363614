"""The training objective."""

from pathlib import Path

import torch
from helpers.tiny_run import metrics, tiny
from torch.nn.functional import cross_entropy

from audiostride import FrontendSettings
from audiostride.config.settings import ModelSettings, TrainingSettings
from audiostride.data.store import Store
from audiostride.layers import complexity
from audiostride.training.fit import train
from audiostride.training.lightning_module import ClassifierTraining
from audiostride.training.objective import summed_cross_entropy


def test_mixup_loss_weights_both_labels_by_their_shares() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 2, -1, 1, -1])
    partner = torch.tensor([1, 2, 4, 0, 3])
    weight = torch.tensor([0.9, 0.3, 0.5, 1.0, 0.2], dtype=torch.float64)
    total, count = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for row in range(5):
        for label, share in ((labels[row], weight[row]), (labels[partner[row]], 1 - weight[row])):
            if label >= 0:
                total = total + share * cross_entropy(logits[row : row + 1], label[None])
                count = count + share
    mixed = summed_cross_entropy(logits, labels, {"partner": partner, "weight": weight})
    torch.testing.assert_close(mixed, (total, count))
    assert summed_cross_entropy(logits, torch.full((5,), -1), {}) == (0, 0)


def test_complexity_makes_strides_grow(store: Store, tmp_path: Path) -> None:
    def cost(weight: float, run: Path) -> float:
        train(tiny(store, steps=20, complexity=weight), run)
        return complexity(torch.tensor(metrics(run)[-1]["strides"])).item()

    assert cost(10.0, tmp_path / "cheap") < cost(0.0, tmp_path / "free")


def test_loss_ignores_unlabelled_windows_and_adds_the_complexity(store: Store, tmp_path: Path) -> None:
    from audiostride import Classifier

    labels = {"word": ["a", "b"], "other": ["c", "d"]}
    classifier = Classifier(labels, ModelSettings((4,), ((2, 2),)), frontend=FrontendSettings(floor=0.0))
    module = ClassifierTraining(classifier, TrainingSettings(complexity=0.5))
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    x = torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))
    targets = {"word": torch.tensor([1, -1, 0]), "other": torch.tensor([-1, -1, -1])}
    loss = module.training_step({"waveform": x, "labels": targets, "recording": torch.arange(3)}, 0)
    logits = classifier(x)["word"][[0, 2]]
    expected = cross_entropy(logits, torch.tensor([1, 0])) + 0.5 / 4
    torch.testing.assert_close(loss, expected)
