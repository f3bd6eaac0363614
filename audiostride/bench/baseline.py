"""The accuracy that a network must exceed: logistic regression on two statistics of each mel channel."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from audiostride.bench.settings import BaselineBench
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.corpora.base import SPLITS
from audiostride.data.store import Store, open_store
from audiostride.errors import UserError
from audiostride.frontends.build import build_frontend


def bench_baseline(settings: BaselineBench) -> list[dict[str, Any]]:
    """Return the rows of `baseline` of each corpus in turn."""
    stores = [open_store(Path(folder)) for folder in settings.corpus]
    return [row for store in stores for row in baseline(store)]


def baseline(store: Store) -> list[dict[str, Any]]:
    """Fit a logistic regression to each task of a prepared corpus and test it.

    The features are mean and standard deviation over time of every channel of the log-mel spectrogram.

    Returns:
        One row per task: test accuracy in percent of the regression and of guessing the most frequent
        training label, and the numbers of recordings and of classes seen in training.

    Raises:
        UserError: if a task has no test recordings, or fewer than two classes in the training split.
    """
    features = _features(store)
    return [{"task": task} | _fit(store, task, features) for task in store.tasks]


def _fit(store: Store, task: str, features: NDArray[np.float32]) -> dict[str, Any]:
    labels = store.labels[task]
    train, test = ((store.splits == SPLITS.index(split)) & (labels >= 0) for split in ("train", "test"))
    classes = len(np.unique(labels[train]))
    if classes < 2 or not test.any():
        raise UserError(
            f"{store.folder}: {task} has {classes} classes in the training split and {test.sum()} test "
            "recordings: the regression needs at least two classes and one test recording"
        )
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    regression.fit(features[train], labels[train])
    most_frequent = np.bincount(labels[train]).argmax()
    return {
        "regression_percent": 100 * float(regression.score(features[test], labels[test])),
        "guessing_percent": 100 * float(np.mean(labels[test] == most_frequent)),
        "train": int(train.sum()),
        "test": int(test.sum()),
        "classes_in_training": classes,
    }


def _features(store: Store) -> NDArray[np.float32]:
    """Return mean and deviation over time of each recording's log-mel frames: (recordings, 2 · channels)."""
    frontend = build_frontend(FrontendSettings(sample_rate=store.sample_rate))
    rows = []
    for begin, end in zip(store.starts[:-1], store.starts[1:], strict=True):
        frames = frontend(torch.from_numpy(store.waveforms[begin:end].copy()))
        rows.append(torch.cat([frames.mean(0), frames.std(0, correction=0)]).numpy())
    return np.stack(rows)
