"""The strides of several runs and the resolution of their frontends, as tables and as figures in a folder."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.figures import save_figures
from audiostride.analysis.groups import group_means
from audiostride.analysis.listen import listen
from audiostride.analysis.resolution import as_text, resolution_means, resolution_table, side_by_side
from audiostride.analysis.stride_figures import stride_figures
from audiostride.analysis.trained import TrainedRun, open_runs, titles
from audiostride.errors import UserError
from audiostride.tables import Format, render, titled

# The columns that a narrow terminal leaves out first, see `audiostride.tables.render`.
LEAST_COLUMNS = (
    "channels_per_octave",
    "hop_ms",
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


class StrideReport(NamedTuple):
    """What runs have learned.

    Attributes:
        strides: a row per run, layer and axis, see `stride_table`; or per group, layer and axis, see
            `group_means`.
        resolution: a row per quantity and run, see `resolution_table`; or per quantity and group, see
            `resolution_means`.
    """

    strides: list[dict[str, Any]]
    resolution: list[dict[str, Any]]

    def show(self, format: Format = "table", wide: bool = False, resolution: bool = False) -> str:
        """Return the report as text, see `render`.

        Args:
            format: format of the result. JSON and CSV have one table, the others have both.
            wide: show whole columns and texts, however wide the terminal is.
            resolution: only the resolution, instead of the strides.

        Raises:
            UserError: if only the resolution is to be shown, but the runs take images.
        """
        if resolution and not self.resolution:
            raise UserError("--resolution: images have no resolution of sound: leave it out")
        if format in ("json", "csv"):
            return render(self.resolution if resolution else self.strides, format)
        above = render(self.strides, format, wide, LEAST_COLUMNS)
        if not self.resolution:
            return above
        below = render(as_text(self.resolution), format, wide)
        if resolution:
            return below
        return f"{above}\n\n{titled('Resolution of the frontend', below, format)}"


def report_strides(
    names: Sequence[str],
    checkpoint: Literal["best", "last"] = "best",
    frames: int | None = None,
    around: float | None = None,
    group: Literal["recipe", "task"] | None = None,
    plot: Path | None = None,
    sound: Path | None = None,
) -> StrideReport:
    """Return what runs have learned, and draw it if there is a folder for figures.

    Runs that cannot be read are left out, with a warning.

    Args:
        names: run folders, checkpoint files or model folders.
        checkpoint: which checkpoint of a run folder.
        frames: number of frames of the frontend's features, see `stride_table`; by default that of each run's
            windows.
        around: frequency in Hz at which cycles and channels per octave are computed, see `stride_table`.
        group: average over the runs of a recipe (that differ in their seeds only) or of the same tasks.
        plot: folder for figures.
        sound: a sound file. With `plot` and one run, what the first layer keeps of it goes into the folder.

    Raises:
        UserError: no run can be read, `around` is out of range, or an option for sound is given, but the runs
            take images.
    """
    runs, notes = open_runs(names, checkpoint)
    for note in notes:
        logger.warning(note)
    for option, value in (("--frames", frames), ("--around", around), ("--listen", sound)):
        if value is not None:
            _check_sound(runs[0], option)
    try:
        strides = [stride_table(run.classifier, frames, around) for run in runs]
    except ValueError as error:
        raise UserError(f"--around: {error}") from error
    resolutions = [resolution_table(run.classifier) for run in runs]
    groups = [run.tasks for run in runs] if group == "task" else titles(runs)
    if plot is not None:
        sounds = [] if sound is None else listen(runs[0], sound, plot, frames=frames)
        files = save_figures(stride_figures(runs, groups, frames), plot) + sounds
        logger.info(f"{plot}: {', '.join(file.name for file in files)}")
    if group is not None:
        return StrideReport(
            group_means(list(zip(groups, strides, strict=True))),
            resolution_means(list(zip(groups, resolutions, strict=True))),
        )
    rows = [{"run": run.name, **row} for run, table in zip(runs, strides, strict=True) for row in table]
    return StrideReport(
        rows, side_by_side([(run.name, table) for run, table in zip(runs, resolutions, strict=True)])
    )


def _check_sound(run: TrainedRun, option: str) -> None:
    """Raise `UserError` if an option for sound is given, but a run takes images."""
    try:
        _ = run.classifier.sound_frontend
    except UserError as error:
        raise UserError(f"{option}: {error}") from error
