"""Small classifiers to export, and ONNX Runtime to run them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from audiostride import Classifier
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import ModelSettings
from audiostride.layers.learned_strides import diffstride_layers

LABELS = {"word": ["yes", "no", "stop"], "waveform": ["one", "two"]}


def untrained(frontend: FrontendSettings | None = None, **settings: Any) -> Classifier:
    """Return a small classifier whose weights and statistics are random, with logits around 1.

    A frontend that is given has learned other parameters than it begins with, and its statistics are those of
    noise.
    """
    torch.manual_seed(0)
    model: dict[str, Any] = {"channels": (4, 8), "strides": ((2.3, 1.4), (1.7, 2.2))} | settings
    classifier = Classifier(LABELS, ModelSettings(**model), frontend=frontend)
    with torch.no_grad():
        for module in classifier.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
        for weights in classifier.heads.parameters():
            weights.mul_(5)
        if frontend:
            _train_frontend_(classifier.eval())
    return classifier.eval()


def _train_frontend_(classifier: Classifier) -> None:
    for name, parameter in classifier.frontend.named_parameters():
        if name.endswith("_logit"):
            parameter.add_(0.3 * torch.randn_like(parameter))
    for layer in diffstride_layers(classifier.frontend):
        layer.stride.mul_(1.13)
    features = classifier.frontend.features(0.1 * torch.randn(4, classifier.sample_rate))
    by_channel = features.transpose(-1, -2).flatten(1, 2)
    classifier.normalise.running_mean = by_channel.mean((0, 2))
    classifier.normalise.running_var = by_channel.var((0, 2))


def run(file: Path, waveform: Any) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"waveform": waveform}), strict=True))


@torch.no_grad()
def assert_same_logits(
    classifier: Classifier, file: Path, batch: int, samples: int, atol: float = 3e-5
) -> None:
    waveform = 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples))
    exported = list(run(file, waveform.numpy()).values())
    for ours, theirs in zip(classifier(waveform).values(), exported, strict=False):
        assert theirs.shape == ours.shape
        np.testing.assert_allclose(theirs, ours.numpy(), atol=atol)
