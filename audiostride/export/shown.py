"""What people see of a sound beside its labels: a spectrogram, and what a low-pass keeps of it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from audiostride.analysis.strided_layers import has_low_pass
from audiostride.export.plain_layers import Resampling
from audiostride.frontends.frontend import Frontend, SoundFrontend
from audiostride.frontends.leaf import Leaf
from audiostride.frontends.learned_resolution import LearnedResolution
from audiostride.frontends.log_mel import LogMel
from audiostride.layers import Window
from audiostride.mel_scale import mel_edges
from audiostride.models.classifier import Classifier

SPECTROGRAM, KEPT = "spectrogram", "kept"


def low_pass(classifier: Classifier) -> tuple[tuple[float, float], Window] | None:
    """Return the strides and the window of the first low-pass over the features of the frontend, if any.

    It is that of the learned resolution, or else that of the first layer. The filters of LEAF lie on no axis
    of frequencies on which neighbours could be averaged, so it has none.
    """
    frontend = classifier.frontend
    if isinstance(frontend, LearnedResolution):
        time, mel = frontend.strides.tolist()
        return (time, mel), frontend.resampling.window
    if isinstance(frontend, Leaf) or not has_low_pass(classifier):
        return None
    time, mel = classifier.trunk.strides[0].tolist()
    return (time, mel), classifier.trunk.window


def shown_names(classifier: Classifier) -> list[str]:
    """Return the names of the spectrograms that there are for a classifier, see `ShownSpectrograms`."""
    return [SPECTROGRAM] if low_pass(classifier) is None else [SPECTROGRAM, KEPT]


def centre_frequencies(frontend: SoundFrontend) -> Tensor:
    """Return the centre frequencies in Hz of the channels of a frontend's features, (channels,)."""
    if isinstance(frontend, Leaf):
        return frontend.bands()[0].detach()
    settings = frontend.configuration()
    edges = mel_edges(frontend.channels, settings["f_min"], settings["f_max"])
    return torch.tensor(edges[1:-1])


def log_mel_of(frontend: Frontend) -> LogMel | None:
    """Return the frontend whose log-mel spectrogram is shown, or None if that of none is."""
    if isinstance(frontend, LearnedResolution):
        return frontend.first
    return frontend if isinstance(frontend, LogMel) else None


class ShownSpectrograms(nn.Module):
    """Spectrograms for people to look at, from the normalised features of a classifier's frontend.

    "spectrogram" is the natural logarithm of the power plus the frontend's offset; of a frontend with several
    windows, that of the first one; of a frontend with per-channel energy normalisation, its output. Filters
    of LEAF are in the order of their frequencies. "kept" is what `low_pass` leaves of it, see
    `analysis.listen`; here each waveform is one window, however long.

    Args:
        classifier: the classifier; for "kept" it has a low-pass.
        names: "spectrogram", "kept" or both.
        frames: number of frames of the features, or None if it may be any.

    Shape:
        (batch, images, time, channels) to a list of tensors (batch, time, channels), one for each name.
    """

    def __init__(self, classifier: Classifier, names: Sequence[str], frames: int | None) -> None:
        super().__init__()
        frontend, (mean, deviation) = classifier.frontend, classifier.channel_statistics()
        self.mean, self.deviation = nn.Buffer(mean[0].clone()), nn.Buffer(deviation[0].clone())
        self.names = tuple(names)
        of_leaf = centre_frequencies(frontend).argsort() if isinstance(frontend, Leaf) else None
        self.order = None if of_leaf is None else nn.Buffer(of_leaf)
        log_mel = log_mel_of(frontend)
        is_root = log_mel is not None and log_mel.compression == "root"
        self.log_power = log_mel.log_power if log_mel is not None and is_root else None
        found = low_pass(classifier)
        if found and KEPT in names:
            (time, mel), window = found
            self.low_pass = nn.Sequential(
                Resampling(time, window, -2, frames, keeps_length=True),
                Resampling(mel, window, -1, frontend.channels, keeps_length=True),
            )

    def forward(self, features: Tensor) -> list[Tensor]:
        normalised = features[:, 0].float()
        return [self._shown(self.low_pass(normalised) if name == KEPT else normalised) for name in self.names]

    def _shown(self, normalised: Tensor) -> Tensor:
        spectrogram = normalised * self.deviation + self.mean
        if self.log_power is not None:
            return self.log_power(spectrogram)
        return spectrogram if self.order is None else spectrogram[..., self.order]
