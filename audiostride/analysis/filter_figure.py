"""The figure of the filters that LEAF has learned."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from audiostride.analysis.figures import LineStyle, NamedFigure, add_legend, group_styles, ink
from audiostride.frontends.build import build_frontend
from audiostride.frontends.leaf import Leaf
from audiostride.models.classifier import Classifier


def draw_filters(classifier: Classifier, title: str = "") -> NamedFigure | None:
    """Draw the bandwidth of each of LEAF's filters over its centre frequency, at the start and now.

    A thin line leads from where a filter began, the mel scale, to where it is.

    Args:
        classifier: a classifier, on any device.
        title: name of the run.

    Returns:
        None if the classifier has another frontend.
    """
    frontend, start = classifier.frontend, build_frontend(classifier.frontend_settings)
    if not isinstance(frontend, Leaf) or not isinstance(start, Leaf):
        return None
    (old_centres, old_bands), (centres, bands) = (
        [values.detach().cpu().numpy() for values in leaf.bands()] for leaf in (start, frontend)
    )
    points: LineStyle = {"linestyle": "", "markersize": 4}
    styles = {
        "at the start": points | {"color": ink(), "marker": "+"},
        "trained": points | {"color": group_styles(["trained"])["trained"]["color"], "marker": "o"},
    }
    figure = Figure(figsize=(7.0, 3.4), layout="constrained")
    panel = figure.subplots()
    lines: LineStyle = {"color": styles["trained"]["color"], "linestyle": "-", "linewidth": 0.6, "marker": ""}
    panel.plot(np.stack([old_centres, centres]), np.stack([old_bands, bands]), **lines)
    for (x, y), style in zip(((old_centres, old_bands), (centres, bands)), styles.values(), strict=True):
        panel.plot(x, y, **style)
    panel.set(xscale="log", yscale="log", xlabel="centre frequency in Hz", ylabel="bandwidth in Hz")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())
    add_legend(figure, styles)
    if title:
        panel.set_title(textwrap.fill(f"Filters of {title}", 90))
    moved = np.median(np.abs(np.log2(np.maximum(centres, 1) / old_centres)))
    alt = (
        f"Bandwidth over centre frequency of {len(centres)} filters, at the start and trained; centres reach "
        f"from {centres.min():.0f} to {centres.max():.0f} Hz, and half of them have moved by at least "
        f"{moved:.2g} octaves."
    )
    return NamedFigure("filters", figure, alt)
