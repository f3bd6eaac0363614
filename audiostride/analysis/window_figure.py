"""The figure of a classifier's low-pass windows."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.patheffects import withStroke

from audiostride.analysis.cutoffs import AXES, LONG_UNITS, cutoffs, gains, has_low_pass, stride_table
from audiostride.analysis.figures import NamedFigure, add_legend, group_styles, ink, panels_per_layer
from audiostride.layers import Window
from audiostride.models.classifier import Classifier
from audiostride.tables import cell


def draw_windows(
    classifier: Classifier, initial_strides: Sequence[Sequence[float]], frames: int = 100, title: str = ""
) -> NamedFigure:
    """Draw the low-pass windows of every layer over time and frequency, at the start and now.

    A curve shows the gain at the DFT bins of the layer's input, up to its Nyquist frequency. Frequencies
    above that, which previous layers have removed, are shaded. The number is the present edge of the pass
    band.

    Args:
        classifier: a classifier with spectral pooling or DiffStride, on any device.
        initial_strides: (time, frequency) stride of each layer at the start.
        frames: length of the input spectrogram, 100 frames per second.
        title: name of the run.

    Raises:
        ValueError: if the classifier has another kind of downsampling.
    """
    trunk, frontend = classifier.trunk, classifier.frontend
    if not has_low_pass(classifier):
        raise ValueError(f"{trunk.downsampling} downsampling has no low-pass window")
    trained_strides = trunk.strides.tolist()
    colour = group_styles(["trained"])["trained"]["color"]
    styles = {
        "at the start": {"color": ink(), "linestyle": "--", "linewidth": 0.9, "marker": ""},
        "trained, with its pass-band edge": {"color": colour, "linestyle": "-", "marker": ""},
    }
    ylabels = [f"gain over {axis}" for axis in AXES]
    figure, panels = panels_per_layer(len(trained_strides), ylabels, ("Hz", "cycles/mel"))
    sizes = (frames, frontend.mel_channels)
    extents = (frames * frontend.hop / frontend.sample_rate, frontend.mel_channels)  # seconds, mel channels
    for axis, (size, extent) in enumerate(zip(sizes, extents, strict=True)):
        for pairs, style in zip((initial_strides, trained_strides), styles.values(), strict=True):
            lengths = _input_lengths([pair[axis] for pair in pairs], size, trunk.window)
            for panel, n, pair in zip(panels[axis], lengths, pairs, strict=True):
                gain = gains(n, pair[axis], trunk.window)
                # Every feature map spans the whole spectrogram, so the bins of all layers are equally spaced.
                panel.plot(np.arange(len(gain)) / extent, gain, **style)
        for panel, n, pair in zip(panels[axis], lengths, trained_strides, strict=True):
            panel.axvspan(n / 2 / extent, size / 2 / extent, color=ink(), alpha=0.09, linewidth=0)
            edge = cutoffs(n, pair[axis], trunk.window, n / extent).pass_band
            side = "left" if edge < size / 3 / extent else "right"
            label = panel.text(edge, 0.7, f"  {edge:.3g} ", color=colour, fontsize="small", ha=side)
            # A halo keeps the number readable where the dashed curve crosses it.
            label.set_path_effects([withStroke(linewidth=3, foreground=panel.get_facecolor())])
        panels[axis, 0].set_xlim(0, size / 2 / extent)
    add_legend(figure, styles)
    if title:
        figure.suptitle(textwrap.fill(f"Low-pass windows of {title}", 90))
    return NamedFigure("windows", figure, _alt(classifier, frames, title))


def _input_lengths(strides: Sequence[float], size: int, window: Window) -> list[int]:
    """Return the length of an axis at the input of each layer."""
    lengths = [size]
    for stride in strides[:-1]:
        lengths.append(window.output_length(lengths[-1], stride))
    return lengths


def _alt(classifier: Classifier, frames: int, title: str) -> str:
    first = stride_table(classifier, frames)[:2]
    edges = (f"{cell(row['pass_band'])} {unit}" for row, unit in zip(first, LONG_UNITS, strict=True))
    return (
        f"Gain of every layer's low-pass windows{title and f' in {title}'}, at the start and trained; "
        f"the first layer's trained ones are 1 up to {' and '.join(edges)}."
    )
