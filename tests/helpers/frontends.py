"""Small classifiers with a frontend of each kind."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from audiostride import Classifier, FrontendSettings, ModelSettings

Kind = Literal["log_mel", "pcen", "learned_resolution", "leaf"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # those of sound
LEARNED = ("learned_resolution", "leaf")  # those with strides
LABELS = {"word": ["yes", "no"], "speaker": ["a", "b", "c"]}


def small_frontend(kind: Kind, **settings: Any) -> FrontendSettings:
    """Return settings of a frontend with few channels and, if it takes several, two windows."""
    small: dict[str, Any] = {"mel_channels": 12, "dense_channels": 30, "windows_ms": (25, 60)}
    return FrontendSettings(kind=kind, **(small | settings))


def small_classifier(kind: Kind, model: dict[str, Any] | None = None, **settings: Any) -> Classifier:
    """Return a classifier in evaluation mode whose statistics and strides are not the initial ones."""
    torch.manual_seed(0)
    network: dict[str, Any] = {"channels": (4, 6), "strides": ((2, 2), (2, 1))} | (model or {})
    classifier = Classifier(LABELS, ModelSettings(**network), frontend=small_frontend(kind, **settings))
    for _ in range(3):
        classifier(sound(4))
    with torch.no_grad():
        for name, parameter in classifier.named_parameters():
            if name.endswith(".stride"):
                parameter.mul_(1.1)
    return classifier.eval()


def sound(batch: int, seconds: float = 1.0, seed: int = 0, rate: int = 16000) -> Tensor:
    """Return noise whose level rises and falls four times a second."""
    generator = torch.Generator().manual_seed(seed)
    samples = round(seconds * rate)
    envelope = 1.05 + torch.sin(torch.arange(samples) * (8 * torch.pi / rate))
    return 0.05 * envelope * torch.randn(batch, samples, generator=generator)
