"""What needs no network: logistic regression on mean and deviation of every mel channel over a recording.

    python -m audiostride.bench.baseline data/prepared/speech_commands data/prepared/nsynth …

prints its test accuracy on every task of prepared corpora, beside that of guessing the commonest label.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from audiostride.data.store import Store, open_store
from audiostride.frontends.log_mel import LogMel
from audiostride.tables import render


def baseline(store: Store) -> list[dict[str, Any]]:
    """Test accuracy of each task in percent, of the regression and of guessing."""
    features = _features(store)
    rows = []
    for task, labels in store.labels.items():
        train, test = ((store.splits == split) & (labels >= 0) for split in (0, 2))
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        model.fit(features[train], labels[train])
        commonest = np.bincount(labels[train]).argmax()
        rows.append(
            {
                "task": task,
                "regression_percent": 100 * float(model.score(features[test], labels[test])),
                "guessing_percent": 100 * float(np.mean(labels[test] == commonest)),
                "train": int(train.sum()),
                "test": int(test.sum()),
                "classes_in_training": len(np.unique(labels[train])),
            }
        )
    return rows


def _features(store: Store) -> NDArray[np.float32]:
    """(recordings, 2 · channels): mean and deviation of log-mel frames over time."""
    frontend = LogMel()
    rows = []
    for begin, end in zip(store.starts[:-1], store.starts[1:], strict=True):
        frames = frontend(torch.from_numpy(store.waveforms[begin:end].copy()))
        rows.append(torch.cat([frames.mean(0), frames.std(0, correction=0)]).numpy())
    return np.stack(rows)


if __name__ == "__main__":
    print(render([row for folder in sys.argv[1:] for row in baseline(open_store(Path(folder)))]))
