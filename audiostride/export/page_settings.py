"""What the scripts of a page need to know about its model."""

from typing import Any

import audiostride
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.strided_layers import has_low_pass
from audiostride.export.plain import output_names
from audiostride.export.shown import KEPT, SPECTROGRAM, centre_frequencies, log_mel_of, low_pass
from audiostride.frontends.leaf import Leaf
from audiostride.frontends.learned_resolution import LearnedResolution
from audiostride.models.classifier import Classifier
from audiostride.models.frontend_text import frontend_text


def page_settings(classifier: Classifier, name: str) -> dict[str, Any]:
    """Return the settings of a page, as plain values.

    Args:
        classifier: the classifier.
        name: name of its run.

    Returns:
        Among others "facts" (sentences about the network, by name) and "spectrograms": "captions" (from the
        name of each of `ShownSpectrograms` to its caption), "frame_samples" (distance between frames in
        samples, not always whole), "centres_hz" (centre frequencies of the channels in Hz, rising), "axis"
        (the frequencies in words) and "offset" (the power that was added before the logarithm, or None if
        there is no logarithm).
    """
    tasks = list(classifier.labels)
    log_mel = log_mel_of(classifier.frontend)
    centres = centre_frequencies(classifier.sound_frontend).sort().values.tolist()
    return {
        "audiostride": audiostride.__version__,
        "name": name,
        "labels": classifier.labels,
        "outputs": dict(zip(tasks, output_names(tasks), strict=True)),
        "sample_rate": classifier.sample_rate,
        "window_s": classifier.window_s,
        "spectrograms": {
            "captions": _captions(classifier),
            "frame_samples": _frame_samples(classifier),
            "centres_hz": [round(centre, 2) for centre in centres],
            "axis": _axis(classifier, centres),
            "offset": None if log_mel is None else log_mel.offset,
        },
        "facts": _facts(classifier),
    }


def _captions(classifier: Classifier) -> dict[str, str]:
    frontend = classifier.frontend
    if isinstance(frontend, Leaf):
        return {SPECTROGRAM: "Energy of the learned filters, normalised per channel"}
    if isinstance(frontend, LearnedResolution):
        time, mel = classifier.input_size()
        per_second = f"{time / classifier.window_s:.3g} frames per second"
        return {
            SPECTROGRAM: f"Spectrogram with a window of {frontend.windows_ms[0]:g} ms",
            KEPT: f"What the learned resolution keeps: {per_second}, {mel} mel channels",
        }
    is_log_mel = log_mel_of(frontend) is not None
    captions = {SPECTROGRAM: "Spectrogram" if is_log_mel else "Spectrogram, normalised per channel"}
    if low_pass(classifier):
        time_hz, per_channel = _pass_bands(classifier)
        captions[KEPT] = (
            f"What the first layer keeps: up to {time_hz:.0f} Hz over time, {per_channel:.2f} cycles per mel "
            "channel"
        )
    return captions


def _frame_samples(classifier: Classifier) -> float:
    """Return the distance in samples between the frames that are shown, so that they fill a window."""
    samples = round(classifier.window_s * classifier.sample_rate)
    # LEAF shows the frames of its learned hop.
    is_leaf = isinstance(classifier.frontend, Leaf)
    frames = classifier.input_size()[0] if is_leaf else classifier.sound_frontend.frames(samples)
    return samples / frames


def _axis(classifier: Classifier, centres: list[float]) -> str:
    if isinstance(classifier.frontend, Leaf):
        return f"an axis of learned filters from {centres[0]:.0f} to {centres[-1]:.0f} Hz"
    settings = classifier.frontend_settings
    return f"a mel axis from {settings.f_min:g} to {settings.highest_hz:g} Hz"


def _facts(classifier: Classifier) -> dict[str, str]:
    strides = classifier.frontend.strides
    text = frontend_text(classifier.frontend_settings, None if strides is None else strides.tolist())
    cutoffs = "none, its strides are not learned in the Fourier domain"
    if has_low_pass(classifier):
        time_hz, per_channel = _pass_bands(classifier)
        channel = "filter" if isinstance(classifier.frontend, Leaf) else "mel channel"
        channel = f"dense {channel}" if isinstance(classifier.frontend, LearnedResolution) else channel
        cutoffs = f"{time_hz:.1f} Hz over time, {per_channel:.3f} cycles per {channel}"
    return {"Frontend": f"{text[0].upper()}{text[1:]}", "Learned cut-offs of the first layer": cutoffs}


def _pass_bands(classifier: Classifier) -> tuple[float, float]:
    """Return the pass bands of the first layer: over time in Hz, over frequency in cycles per channel."""
    time, frequency = (row["pass_band"] for row in stride_table(classifier) if row["layer"] == 1)
    return time, frequency
