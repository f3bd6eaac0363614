"""A small classifier with two tasks, and sounds that it has not seen."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from audiostride import Classifier
from audiostride.config.settings import ModelSettings
from audiostride.prediction.windows import consecutive_windows

LABELS = {"word": ["no", "stop", "yes"], "place/room": ["indoors", "outdoors"]}


def small_classifier(window_s: float = 0.5) -> Classifier:
    """Return a classifier with weights that make its labels depend on the sound."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        classifier = Classifier(LABELS, ModelSettings((4, 6), ((2, 2), (2, 2))), window_s)
        classifier.train()(torch.randn(8, 16000) / 10)  # statistics of the batch norms
        embeddings = classifier.eval().embed(torch.from_numpy(noise(320000)).view(40, 8000)).detach()
        for head in classifier.heads:
            assert isinstance(head, torch.nn.Linear)
            head.weight.data = 2 * torch.randn(head.weight.shape)
            head.bias.data = -(head.weight.data @ embeddings.mean(0))  # all labels occur
    return classifier


def noise(samples: int, seed: int = 0) -> NDArray[np.int16]:
    """Return noise whose level changes, so that windows differ."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.uniform(10, 8000, samples // 3000 + 1), 3000)[:samples]
    return (level * rng.standard_normal(samples)).clip(-32768, 32767).astype(np.int16)


def write_noise(file: Path, samples: int, rate: int = 16000, **options: Any) -> Path:
    """Write noise to a sound file and return the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, noise(samples, samples), rate, **options)
    return file


def plain_windows(
    samples: NDArray[np.int16], window: int, hop: int | None = None
) -> list[tuple[int, int, NDArray[np.int16]]]:
    """Return begin, end and samples of each window, by the definition of `WindowCutter`."""
    length = len(samples)
    if hop is None or length < window:
        (count,), (first,) = consecutive_windows(np.array([length]), window)
        begins = [int(first) + number * window for number in range(count)]
    else:
        begins = list(range(0, length - window + 1, hop))
        if begins[-1] + window < length:
            begins.append(length - window)
    padded = np.concatenate([np.zeros(window, np.int16), samples, np.zeros(window, np.int16)])
    return [(max(b, 0), min(b + window, length), padded[b + window : b + 2 * window]) for b in begins]


def plain_logits(
    classifier: Classifier, samples: NDArray[np.int16], hop: int | None = None
) -> dict[str, NDArray[np.float32]]:
    """Return (windows, classes) of each task, one window at a time."""
    window = round(classifier.window_s * 16000)
    with torch.no_grad():
        outputs = [
            classifier(torch.from_numpy(cut)[None]) for _, _, cut in plain_windows(samples, window, hop)
        ]
    return {task: torch.cat([output[task] for output in outputs]).numpy() for task in classifier.labels}


def save_run(classifier: Classifier, folder: Path) -> Path:
    """Write a checkpoint where the run in a folder has its best one, and return the folder."""
    weights = {f"classifier.{name}": value for name, value in classifier.state_dict().items()}
    saved = {"classifier": classifier.configuration(), "state_dict": weights, "global_step": 1}
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(saved, folder / "checkpoints" / "best.ckpt")
    return folder


def predict_command(*arguments: str) -> list[str]:
    """Return a command that predicts in its own process and is interrupted by Ctrl-C.

    A shell lets the processes that it starts in the background ignore Ctrl-C, and theirs inherit that.
    """
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from audiostride.cli import main; sys.exit(main())"
    )
    return [sys.executable, "-c", code, "predict", *arguments]


def give_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let a command in this process read `content` from standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
