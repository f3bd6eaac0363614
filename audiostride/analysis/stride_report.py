"""The strides of several runs, as rows of a table and as figures in a folder."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.figures import save_figures
from audiostride.analysis.groups import group_means
from audiostride.analysis.listen import listen
from audiostride.analysis.stride_figures import stride_figures
from audiostride.analysis.trained import open_runs, titles
from audiostride.errors import UserError

# The columns that a narrow terminal leaves out first, see `audiostride.tables.render`.
LEAST_COLUMNS = (
    "rate",
    "pass_band_on_grid",
    "half_amplitude",
    "cycles_per_octave",
    "cumulated_pass_band",
    "input_length",
    "output_length",
    "stop_band",
    "effective_stride",
)

logger = logging.getLogger(__name__)


def report_strides(
    names: Sequence[str],
    checkpoint: Literal["best", "last"] = "best",
    frames: int | None = None,
    around: float = 1000.0,
    group: Literal["recipe", "task"] | None = None,
    plot: Path | None = None,
    sound: Path | None = None,
) -> list[dict[str, Any]]:
    """Return the strides of runs with their cut-offs, and draw them if there is a folder for figures.

    Runs that cannot be read are left out, with a warning.

    Args:
        names: run folders, checkpoint files or model folders.
        checkpoint: which checkpoint of a run folder.
        frames: length of the spectrogram, 100 frames per second; by default that of each run's windows.
        around: frequency in Hz at which cycles per octave are computed.
        group: average over the runs of a recipe (that differ in their seeds only) or of the same tasks.
        plot: folder for figures.
        sound: a sound file. With `plot` and one run, what the first layer keeps of it goes into the folder.

    Returns:
        One row per run, layer and axis, or per group, layer and axis.

    Raises:
        UserError: no run can be read, or `around` is out of range.
    """
    runs, notes = open_runs(names, checkpoint)
    for note in notes:
        logger.warning(note)
    try:
        tables = [
            stride_table(run.classifier, frames or run.classifier.input_size()[0], around) for run in runs
        ]
    except ValueError as error:
        raise UserError(f"--around: {error}") from error
    groups = [run.tasks for run in runs] if group == "task" else titles(runs)
    if plot is not None:
        length = frames or runs[0].classifier.input_size()[0]
        sounds = [] if sound is None else listen(runs[0], sound, plot, frames=length)
        files = save_figures(stride_figures(runs, groups, length), plot) + sounds
        logger.info(f"{plot}: {', '.join(file.name for file in files)}")
    if group is not None:
        return group_means(list(zip(groups, tables, strict=True)))
    return [{"run": run.name, **row} for run, table in zip(runs, tables, strict=True) for row in table]
