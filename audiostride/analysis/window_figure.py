"""The figure of a classifier's low-pass windows."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from audiostride.analysis.cutoffs import axis_names, cutoffs, gains, stride_table, units
from audiostride.analysis.figures import (
    NamedFigure,
    add_legend,
    group_styles,
    ink,
    mark_as_fixed,
    panels_per_layer,
)
from audiostride.analysis.strided_layers import (
    FRONTEND,
    StridedLayer,
    initial_frontend_strides,
    layer_name,
    low_pass_layers,
)
from audiostride.models.classifier import Classifier
from audiostride.tables import cell


def draw_windows(classifier: Classifier, frames: int | None = None, title: str = "") -> NamedFigure:
    """Draw the low-pass windows of every layer over both axes, at the start and now.

    A curve shows the gain at the DFT bins of the layer's input, up to its Nyquist frequency. Frequencies
    above that, which previous layers have removed, are shaded. The number is the present edge of the pass
    band. A frontend that learns its resolution comes first, with a longer x axis than the blocks.

    Args:
        classifier: a classifier with a low-pass window, on any device.
        frames: number of frames of the frontend's features; by default those of the classifier's windows.
        title: name of the run.

    Raises:
        ValueError: if no layer of the classifier has a low-pass window.
    """
    layers, frontend = low_pass_layers(classifier, frames), classifier.frontend
    if not layers:
        raise ValueError(f"{classifier.trunk.downsampling} downsampling has no low-pass window")
    of_frontend = {FRONTEND: initial_frontend_strides(classifier)}
    initial = of_frontend | dict(enumerate(classifier.trunk.initial_strides, 1))
    colour = group_styles(["trained"])["trained"]["color"]
    styles = {
        "at the start": {"color": ink(), "linestyle": "--", "linewidth": 0.9, "marker": ""},
        "trained, with its pass-band edge": {"color": colour, "linestyle": "-", "marker": ""},
    }
    ylabels = [f"gain over {axis}" for axis in axis_names(frontend)]
    names = [layer_name(layer.number) for layer in layers]
    figure, panels = panels_per_layer(names, ylabels, units(frontend))
    for axis, of_features in enumerate(frontend.axes):
        extent = layers[0].input_size[axis] / of_features.rate
        lengths_at_start = _input_lengths([initial[layer.number][axis] for layer in layers], layers, axis)
        longest: dict[bool, int] = {}  # of the frontend, and of the blocks
        for panel, layer, length in zip(panels[axis], layers, lengths_at_start, strict=True):
            n, stride, begin = layer.input_size[axis], layer.strides[axis], initial[layer.number][axis]
            if stride is None or begin is None:
                mark_as_fixed(panel)
                continue
            assert layer.window is not None
            for (size, value), style in zip(((length, begin), (n, stride)), styles.values(), strict=True):
                gain = gains(size, value, layer.window)
                # Every feature map spans the whole input, so the bins of all layers are equally spaced.
                panel.plot(np.arange(len(gain)) / extent, gain, **style)
            whole = longest.setdefault(layer.number == FRONTEND, max(n, length))
            edge = cutoffs(n, stride, layer.window, n / extent).pass_band
            _label(panel, edge, n / 2 / extent, whole / 2 / extent, colour)
    add_legend(figure, styles)
    if title:
        figure.suptitle(textwrap.fill(f"Low-pass windows of {title}", 90))
    return NamedFigure("windows", figure, _alt(classifier, frames, title))


def _label(panel: Axes, edge: float, nyquist: float, highest: float, colour: str) -> None:
    """Write the edge of the pass band, and shade what previous layers have removed."""
    panel.axvspan(nyquist, highest, color=ink(), alpha=0.09, linewidth=0)
    side = "left" if edge < 2 / 3 * highest else "right"
    label = panel.text(edge, 0.7, f"  {edge:.3g} ", color=colour, fontsize="small", ha=side)
    # A halo keeps the number readable where the dashed curve crosses it.
    label.set_path_effects([withStroke(linewidth=3, foreground=panel.get_facecolor())])
    panel.set_xlim(0, highest)


def _input_lengths(strides: Sequence[float | None], layers: Sequence[StridedLayer], axis: int) -> list[int]:
    """Return the length of an axis at the input of each layer, if these were its strides."""
    lengths = [layers[0].input_size[axis]]
    for stride, layer in zip(strides[:-1], layers[:-1], strict=True):
        assert layer.window is not None
        n = lengths[-1]
        lengths.append(n if stride is None else layer.window.output_length(n, stride))
    return lengths


def _alt(classifier: Classifier, frames: int | None, title: str) -> str:
    rows = stride_table(classifier, frames)
    first = [row for row in rows if row["layer"] == rows[0]["layer"]]
    long = {axis.name: axis.long_unit for axis in classifier.frontend.axes}
    edges = (f"{cell(row['pass_band'])} {long[row['axis']]}" for row in first)
    name = "the frontend" if rows[0]["layer"] == FRONTEND else "the first layer"
    return (
        f"Gain of every layer's low-pass windows{title and f' in {title}'}, at the start and trained; "
        f"{name}'s trained ones are 1 up to {' and '.join(edges)}."
    )
