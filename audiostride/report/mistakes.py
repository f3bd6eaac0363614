"""Which labels of a task are hard, and the mistakes that a run was surest of, with their sound."""

import base64
import io
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiostride.analysis.class_scores import class_scores
from audiostride.audio_file import resample, to_int16
from audiostride.training.predictions import Predictions

# Number of labels that a table shows, of mistakes per task, and length of their sound in seconds.
MOST_LABELS, MOST_MISTAKES, SECONDS = 20, 10, 4
# Lowest and highest sample rate of embedded sound, which every browser plays.
_PLAYED = (8000, 48000)


class Mistake(NamedTuple):
    """A recording with a wrong prediction.

    Attributes:
        row: its row in `Predictions.rows`.
        sound: its beginning as a data URI, or an empty string.
    """

    row: dict[str, Any]
    sound: str


class Details(NamedTuple):
    """What a report shows of the predictions of a task.

    Attributes:
        task: the task.
        scores: see `class_scores`. Of many labels, those with the lowest F1, the lowest first.
        labels: number of labels that occur.
        mistakes: the mistakes with the highest probabilities, the highest first.
        wrong: number of all mistakes.
    """

    task: str
    scores: list[dict[str, Any]]
    labels: int
    mistakes: list[Mistake]
    wrong: int


def details(predictions: Predictions, with_sound: bool, noun: str = "recordings") -> Details:
    """Return what a report shows of the predictions of a task.

    Args:
        predictions: the predictions.
        with_sound: embed the sound of mistakes.
        noun: what examples are called.
    """
    scores = class_scores(predictions.outcomes, predictions.names, noun)
    shown = scores
    if len(scores) > MOST_LABELS:
        shown = sorted(scores, key=lambda row: row["f1_percent"])[:MOST_LABELS]
    mistakes = [
        Mistake(predictions.row(number), _sound(predictions, number) if with_sound else "")
        for number in predictions.most_confident_mistakes(MOST_MISTAKES)
    ]
    wrong = int((~predictions.outcomes.correct).sum())
    return Details(predictions.task, shown, len(scores), mistakes, wrong)


def _sound(predictions: Predictions, number: int) -> str:
    return _data_uri(predictions.samples(number), predictions.selection.sample_rate)


def _data_uri(samples: NDArray[np.int16], sample_rate: int) -> str:
    """Embed the beginning of a sound as FLAC, which every browser plays and is half as large as WAV."""
    file, begin = io.BytesIO(), samples[: SECONDS * sample_rate]
    played = min(max(sample_rate, _PLAYED[0]), _PLAYED[1])
    if played != sample_rate:
        blocks = resample([begin.astype(np.float32) / np.float32(32768)], sample_rate, played)
        begin = to_int16(np.concatenate(list(blocks)))
    soundfile.write(file, begin, played, format="FLAC")
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}"
