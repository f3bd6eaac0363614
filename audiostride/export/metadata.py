"""What an exported file says of its classifier."""

import json
import math
from typing import Any

from audiostride import __version__
from audiostride.analysis.cutoffs import stride_table
from audiostride.export.plain import output_names
from audiostride.models.classifier import Classifier


def metadata(classifier: Classifier) -> dict[str, str]:
    """Return what programs need to use an exported classifier.

    Returns:
        "labels" (JSON, from task to its labels in the order of the logits), "outputs" (JSON, from task to the
        name of its output), "sample_rate" in Hz, "window_s" (length in seconds of the windows that it was
        trained on), "cutoffs" (JSON, see `cutoff_rows`) and "audiostride" (version).
    """
    outputs = dict(zip(classifier.labels, output_names(list(classifier.labels)), strict=True))
    return {
        "labels": json.dumps(classifier.labels),
        "outputs": json.dumps(outputs),
        "sample_rate": str(classifier.sample_rate),
        "window_s": f"{classifier.window_s:g}",
        "cutoffs": json.dumps(cutoff_rows(classifier)),
        "audiostride": __version__,
    }


def cutoff_rows(classifier: Classifier) -> list[dict[str, Any]]:
    """Return the rows of `stride_table` for a window of the classifier.

    Octaves are counted around 1000 Hz, or in the middle of the channels if none is there.
    """
    settings = classifier.frontend_settings
    low, high = settings.f_min, settings.highest_hz
    return stride_table(classifier, around_hz=1000.0 if low <= 1000 <= high else math.sqrt(low * high))
