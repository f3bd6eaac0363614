"""Labels of recordings and of their windows, as rows."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiostride.audio_file import BadSoundError
from audiostride.errors import UserError
from audiostride.prediction.batches import Result
from audiostride.prediction.reading import End

Row = dict[str, Any]


def label_recordings(
    results: Iterable[tuple[int, Result]],
    files: Sequence[Any],
    labels: dict[str, list[str]],
    top: int,
    on_fault: Callable[[BadSoundError], None],
) -> Iterator[Row]:
    """Yield the most probable labels of each recording, by the mean of its windows' logits as in evaluation.

    Args:
        results: logits by task, of all windows of one recording after another.
        files: the value of the field `file` for each recording.
        labels: from task to its labels.
        top: number of labels per task.
        on_fault: called with the fault of each bad file.

    Yields:
        Rows with `file`, `task`, `label` and `probability`.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    windows = 0
    for number, result in results:
        if not isinstance(result, End):
            windows += len(result.begins)
            for task, logits in result.values.items():
                sums[task] = sums.get(task, 0) + logits.sum(0, dtype=np.float64)
            continue
        if result.fault is None:
            for task, total in sums.items():
                yield from most_probable({"file": files[number]}, task, labels[task], total / windows, top)
        else:
            on_fault(result.fault)
        sums, windows = {}, 0


def label_windows(
    results: Iterable[tuple[int, Result]],
    files: Sequence[Any],
    labels: dict[str, list[str]],
    top: int,
    on_fault: Callable[[BadSoundError], None],
    sample_rate: int,
    smoothed: int = 1,
) -> Iterator[Row]:
    """Yield the most probable labels of each window.

    Args:
        results, files, labels, top, on_fault: see `label_recordings`.
        sample_rate: sample rate of the windows in Hz.
        smoothed: number of windows, this one and those before it, whose logits are averaged, ≥ 1.

    Yields:
        Rows with `file`, `begin_s`, `end_s`, `task`, `label` and `probability`.
    """
    recent = RecentLogits(smoothed)
    for number, result in results:
        if isinstance(result, End):
            if result.fault is not None:
                on_fault(result.fault)
            recent = RecentLogits(smoothed)
            continue
        for window, (begin, end) in enumerate(zip(result.begins, result.ends, strict=True)):
            span = {"file": files[number], "begin_s": float(begin / sample_rate)}
            span["end_s"] = float(end / sample_rate)
            for task, logits in recent.add({task: values[window] for task, values in result.values.items()}):
                yield from most_probable(span, task, labels[task], logits, top)


class RecentLogits:
    """The mean of the logits of the last windows of a recording.

    Args:
        windows: number of windows, ≥ 1.
    """

    def __init__(self, windows: int) -> None:
        self.logits: deque[dict[str, NDArray[Any]]] = deque(maxlen=windows)

    def add(self, logits: dict[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Add a window's logits by task, each (classes,), and yield each task with the mean (classes,)."""
        self.logits.append(logits)
        for task in logits:
            yield task, np.mean([each[task] for each in self.logits], axis=0, dtype=np.float64)


def most_probable(
    fields: Row, task: str, labels: list[str], logits: NDArray[np.float64], top: int
) -> Iterator[Row]:
    """Yield a row for each of the `top` most probable labels of a task, the most probable first.

    Args:
        fields: the first fields of each row.
        task: name of the task.
        labels: its labels.
        logits: (classes,).
        top: number of labels, ≥ 1; if there are fewer, all of them.
    """
    odds = np.exp(logits - logits.max())
    probabilities = odds / odds.sum()
    for label in np.argsort(-logits, kind="stable")[:top]:
        yield fields | {
            "task": task,
            "label": labels[label],
            "probability": float(f"{probabilities[label]:.6g}"),
        }


def chosen_labels(labels: dict[str, list[str]], tasks: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the labels of the chosen tasks, by default of all, in the order of the model.

    Raises:
        UserError: if the model does not have one of the tasks.
    """
    for task in tasks or ():
        if task not in labels:
            raise UserError(f"the model has no task {task}: it has {', '.join(labels)}")
    return {task: names for task, names in labels.items() if tasks is None or task in tasks}
