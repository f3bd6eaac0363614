"""Draw the figures of these pages: ``python docs/figures.py runs/demo [runs/starts]``, after ``make demo``.

Figures of the layers are drawn from the layers themselves, figures of learned strides from the run. With the
runs of ``audiostride study starts``, also the figure of costs under a budget.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audiostride import Window
from audiostride.analysis.cutoffs import gains
from audiostride.analysis.figures import figure_style
from audiostride.analysis.stride_figures import stride_figures
from audiostride.analysis.trained import open_run
from audiostride.report.cost_figure import draw_cost

IMAGES = Path(__file__).parent / "images"
FRAMES, FRAME_RATE = 100, 100.0
COLOURS = ("#0072b2", "#d55e00", "#009e73")
# Initial strides of the study `starts` that are drawn.
STARTS = ("all1", "all3", "early", "late", "random")


def main(run: str, starts: str | None = None) -> None:
    """Write the figures of the layers, of a trained run, and perhaps of a study to docs/images/."""
    with figure_style():
        figures = {"layer_windows": draw_layer_windows(), "ramps": draw_ramps()}
    figures |= {named.name: named.figure for named in stride_figures([open_run(run)])}
    for name in ("layer_windows", "ramps", "windows", "trajectories"):
        figures[name].savefig(IMAGES / f"{name}.png", dpi=110)
    if starts is not None:
        with figure_style():
            cost = draw_cost([open_run(f"{starts}/learned-{name}-0") for name in STARTS], STARTS)
        cost.figure.savefig(IMAGES / "budget_course.png", dpi=110)


def draw_layer_windows() -> Figure:
    """Draw windows of an axis of 100 frames for several strides, and for several smoothnesses."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for colour, stride in zip(COLOURS, (1.5, 2.0, 4.0), strict=True):
        _draw_gain(left, stride, Window(), colour, f"stride {stride:g}")
    for colour, smoothness in zip(COLOURS, (1.0, 4.0, 12.0), strict=True):
        _draw_gain(right, 2.0, Window(smoothness), colour, f"smoothness {smoothness:g}")
    left.set_title("smoothness 4")
    right.set_title("stride 2")
    left.set_ylabel("gain")
    return figure


def draw_ramps() -> Figure:
    """Draw the three positions of the ramp at stride 2."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    panel = figure.subplots()
    windows = {
        "outside, smoothness 4": Window(4.0),
        "inside, smoothness 4": Window(4.0, "inside"),
        "relative, smoothness 0.25": Window(0.25, "relative"),
    }
    for colour, (label, window) in zip(COLOURS, windows.items(), strict=True):
        _draw_gain(panel, 2.0, window, colour, label)
    panel.axvline(FRAME_RATE / 4, color="black", linestyle=":", linewidth=0.8)
    panel.text(FRAME_RATE / 4, 1.04, " cut-off of stride 2", ha="left", fontsize="small")
    panel.set_ylabel("gain")
    return figure


def _draw_gain(panel: Axes, stride: float, window: Window, colour: str, label: str) -> None:
    gain = gains(FRAMES, stride, window)
    hertz = np.arange(len(gain)) * FRAME_RATE / FRAMES
    panel.plot(hertz, gain, color=colour, linestyle="-", marker=".", markersize=3, linewidth=1.2, label=label)
    panel.set(xlabel="Hz of modulation", xlim=(0, FRAME_RATE / 2), ylim=(-0.03, 1.12))
    panel.legend(loc="upper right")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python docs/figures.py RUN [STARTS]")
    main(*sys.argv[1:])
