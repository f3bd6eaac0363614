"""Batches of any DataLoader as those that a `CorpusModule` makes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from audiostride.data.selection import Batch


def as_batch(batch: Any, tasks: Sequence[str]) -> Batch:
    """Return a batch of windows or images with their labels.

    Args:
        batch: a `Batch`; or a pair of waveforms (windows, samples), or of images (images, colours, height,
            width), and their labels, which are a tensor (windows,) if there is one task, or else a mapping
            from tasks to such tensors. A label is an index, −1 for none; a task that is not named has none.
        tasks: the tasks to be trained.

    Raises:
        ValueError: if it is neither, or its labels are not those of the tasks.
    """
    if isinstance(batch, Mapping) and "waveform" in batch:
        return batch  # type: ignore[return-value]
    if not isinstance(batch, Sequence) or len(batch) != 2 or not isinstance(batch[0], Tensor):
        raise ValueError("a batch must be a pair of waveforms (windows, samples) and labels (windows,)")
    waveform, labels = batch
    if isinstance(labels, Tensor):
        if len(tasks) > 1:
            raise ValueError(f"labels must be a mapping from the tasks {', '.join(tasks)} to tensors")
        labels = {tasks[0]: labels}
    for task, indices in labels.items():
        if task not in tasks:
            raise ValueError(f"labels name the task {task}, but there are {', '.join(tasks)}")
        if indices.shape != waveform.shape[:1] or indices.is_floating_point():
            raise ValueError(
                f"labels of {task} must be a whole number for each of {len(waveform)} windows, but are "
                f"{indices.dtype} of shape {tuple(indices.shape)}"
            )
    none = torch.full((len(waveform),), -1, device=waveform.device)
    return {
        "waveform": waveform,
        "labels": {task: labels.get(task, none).long() for task in tasks},
        "recording": torch.arange(len(waveform), device=waveform.device),
    }
