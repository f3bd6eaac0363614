"""The figure of hops and mel channels that frontends have learned."""

from collections.abc import Sequence
from statistics import mean

from audiostride.analysis.figures import (
    NamedFigure,
    add_legend,
    group_styles,
    ink,
    join_by_group,
    row_per_name,
    text_right_of,
)
from audiostride.analysis.resolution import learns_resolution, resolution
from audiostride.analysis.trained import TrainedRun, by_group
from audiostride.tables import Spread, cell

# The usual hop and number of mel channels, those of the paper.
USUAL_HOP_MS, USUAL_CHANNELS = 10.0, 64


def draw_resolution(runs: Sequence[TrainedRun], names: Sequence[str]) -> NamedFigure | None:
    """Draw hop and number of mel channels of each group, where training began, and the usual ones.

    A marker with a bar is the mean and standard deviation over the runs of a group.

    Returns:
        None if no frontend learns its resolution.
    """
    if not any(learns_resolution(run.classifier.frontend) for run in runs):
        return None
    styles, groups = group_styles(names), by_group(runs, names)
    figure, panels = row_per_name(list(styles), 2)
    quantities = {"hop_ms": ("hop in ms", USUAL_HOP_MS), "mel_channels": ("mel channels", USUAL_CHANNELS)}
    texts: dict[str, list[str]] = {name: [] for name in styles}
    for panel, (quantity, (label, usual)) in zip(panels, quantities.items(), strict=True):
        for y, (name, members) in enumerate(groups.items()):
            learned = Spread.of(
                float(resolution(run.classifier.sound_frontend, run.classifier.window_s)[quantity])
                for run in members
            )
            settings = [run.classifier.frontend_settings for run in members]
            start = mean(one.hop_ms if quantity == "hop_ms" else one.mel_channels for one in settings)
            thin = {"color": styles[name]["color"], "linestyle": "-", "linewidth": 0.8, "marker": ""}
            panel.plot([start, learned.mean], [y, y], **thin)
            panel.plot(start, y, color=ink(), marker="+", zorder=3)
            panel.errorbar(learned.mean, y, xerr=learned.deviation, elinewidth=2.5, **styles[name])
            text_right_of(panel, y, cell(learned))
            texts[name].append(f"{cell(learned)} {label.removeprefix('hop in ')}")
        panel.axvline(usual, color=ink(), linewidth=0.8, linestyle=":", marker="")
        panel.set_xlabel(label)
        low, high = panel.get_xlim()
        panel.set_xlim(0.9 * low, 1.1 * high)  # so that small differences look small
    marks = {"learned": "o", "at the start": "+"}
    legend = {name: {"color": ink(), "linestyle": "", "marker": mark} for name, mark in marks.items()}
    add_legend(figure, legend | {"usual": {"color": ink(), "linestyle": ":", "marker": ""}})
    resolutions = join_by_group({name: " and ".join(pair) for name, pair in texts.items()})
    return NamedFigure("resolution", figure, f"Hop and mel channels of the frontend: {resolutions}.")
