"""What an exported file says of its classifier."""

import json

from audiostride import __version__
from audiostride.analysis.cutoffs import stride_table
from audiostride.export.plain import output_names
from audiostride.frontends.frontend import SoundFrontend
from audiostride.models.classifier import Classifier


def metadata(classifier: Classifier) -> dict[str, str]:
    """Return what programs need to use an exported classifier.

    Returns:
        "labels" (JSON, from task to its labels in the order of the logits), "outputs" (JSON, from task to the
        name of its output), "sample_rate" in Hz, "window_s" (length in seconds of the windows that it was
        trained on), "cutoffs" (JSON, rows of `stride_table` for such a window) and "audiostride" (version).
        Of a classifier of images, "image_shape" (JSON, colours, height and width) takes the place of
        "sample_rate" and "window_s".
    """
    frontend, taken = classifier.frontend, {}
    if isinstance(frontend, SoundFrontend):
        taken = {"sample_rate": str(frontend.sample_rate), "window_s": f"{classifier.window_s:g}"}
    else:
        taken = {"image_shape": json.dumps(frontend.example_shape(classifier.window_s))}
    outputs = dict(zip(classifier.labels, output_names(list(classifier.labels)), strict=True))
    return {
        "labels": json.dumps(classifier.labels),
        "outputs": json.dumps(outputs),
        **taken,
        "cutoffs": json.dumps(stride_table(classifier)),
        "audiostride": __version__,
    }
