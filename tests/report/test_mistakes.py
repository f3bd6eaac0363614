"""What a report shows of labels and mistakes."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.counting_store import counting_store
from helpers.report_page import Page
from numpy.typing import NDArray

from audiostride.analysis.intervals import Outcomes
from audiostride.data.selection import select
from audiostride.data.store import Store
from audiostride.report import mistakes
from audiostride.report.mistakes import details
from audiostride.training.evaluate import evaluation
from audiostride.training.predictions import Predictions


def made_up(store: Store, labels: NDArray[np.int64], names: list[str]) -> Predictions:
    """Return predictions of the first label for the first training recordings of a corpus."""
    probabilities = np.full((len(labels), len(names)), 0.1, np.float32)
    probabilities[:, 0] = np.linspace(0.5, 0.9, len(labels))
    outcomes = Outcomes(labels, np.zeros_like(labels), np.arange(len(labels)).astype(np.uint64))
    selection = select(store, "train", store.tasks)
    return Predictions("t", names, selection, np.arange(len(labels)), outcomes, probabilities)


def test_page_shows_scores_of_each_label_and_plays_mistakes(single: Page, runs: dict[str, Path]) -> None:
    scores = single.table("Precision, recall and F1")
    (task,) = evaluation(runs["a0"]).predictions
    rows = list(task.rows())
    for score in scores:
        assert int(score["recordings"]) == sum(row["label"] == score["label"] for row in rows)
        assert int(score["predictions"]) == sum(row["prediction"] == score["label"] for row in rows)
    wrong = sorted((row for row in rows if not row["correct"]), key=lambda row: -row["probability"])
    assert wrong, "this page shows mistakes"
    shown = single.table("All mistakes, the most confident first, with the first 4 seconds")
    assert [(row["prediction"], row["label"], row["recording"]) for row in shown] == [
        (row["prediction"], row["label"], row["file"]) for row in wrong
    ]
    players = single.all("audio")
    assert [player["aria-label"] for player in players] == [row["file"] for row in wrong]
    for player, number in zip(players, task.most_confident_mistakes(10), strict=True):
        assert player["src"].startswith("data:audio/flac;base64,")
        data = base64.b64decode(player["src"].partition(",")[2])
        samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
        assert rate == 16000
        assert np.array_equal(samples, task.samples(number)[: 4 * 16000])
    (policy,) = (meta for meta in single.all("meta") if "http-equiv" in meta)
    assert "media-src data:" in policy["content"]


@pytest.mark.parametrize(
    ("rate", "played"), [(1000, 8000), (8000, 8000), (12345, 12345), (44100, 44100), (256375, 48000)]
)
def test_sound_is_embedded_at_the_rate_of_the_corpus_or_the_nearest_that_browsers_play(
    rate: int, played: int, tmp_path: Path
) -> None:
    store = counting_store(tmp_path, [5 * rate // 4, 20000], sample_rate=rate)
    for mistake in details(made_up(store, np.array([1, 1]), ["a", "b"]), with_sound=True).mistakes:
        data = base64.b64decode(mistake.sound.partition(",")[2])
        samples, found = soundfile.read(io.BytesIO(data), dtype="int16")
        original = store.samples(int(mistake.row["file"][0]))[: 4 * rate]
        assert found == played
        assert abs(len(samples) - len(original) * played / rate) <= 1
        assert played != rate or np.array_equal(samples, original)


def test_of_many_labels_those_with_the_lowest_f1_are_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(number) for number in range(9)]
    labels = np.arange(18) % 9
    all_scores = details(made_up(store, labels, names), with_sound=False).scores
    assert [row["label"] for row in all_scores] == names
    monkeypatch.setattr(mistakes, "MOST_LABELS", 5)
    found = details(made_up(store, labels, names), with_sound=False)
    assert (len(found.scores), found.labels, found.wrong, len(found.mistakes)) == (5, 9, 16, 10)
    assert {row["f1_percent"] for row in found.scores} == {0}
    assert not any(mistake.sound for mistake in found.mistakes)
    probabilities = [mistake.row["probability"] for mistake in found.mistakes]
    assert probabilities == sorted(probabilities, reverse=True)
