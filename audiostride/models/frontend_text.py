"""A frontend of sound in words, for model cards and pages."""

from collections.abc import Sequence

from audiostride.config.frontend_settings import FrontendSettings
from audiostride.frontends.build import build_sound_frontend


def frontend_text(settings: FrontendSettings, strides: Sequence[float] | None = None) -> str:
    """Return what a frontend makes of sound, to complete "It makes …".

    Args:
        settings: its settings.
        strides: the strides over time and frequency that it has learned, relative to its dense grid, or None
            if it learns none.

    >>> frontend_text(FrontendSettings())
    'log-mel spectrograms of 64 channels from 60 to 7800 Hz, with windows of 25 ms and a frame every 10 ms'
    """
    hop, channels = f"{settings.hop_ms:g} ms", f"{settings.mel_channels} channels"
    if strides is not None:
        dense_hop = 1000 * build_sound_frontend(settings).hop / settings.sample_rate
        hop = f"{strides[0] * dense_hop:.3g} ms (learned, {settings.hop_ms:g} at first)"
    windows = " and ".join(", ".join(f"{window:g}" for window in settings.windows).rsplit(", ", 1))
    if settings.kind == "leaf":
        made = f"energies of {settings.mel_channels} learned filters of {windows} ms"
        return f"{made}, normalised per channel, with a frame every {hop}"
    if settings.kind == "learned_resolution" and strides is not None:
        found = settings.channels / strides[1]
        channels = f"{found:.3g} channels (learned, {settings.mel_channels} at first)"
    made = "log-mel spectrograms" if settings.compression == "log" else "cube roots of mel spectrograms"
    if settings.kind == "pcen":
        made = "mel spectrograms with per-channel energy normalisation"
    return (
        f"{made} of {channels} from {settings.f_min:g} to {settings.highest_hz:g} Hz, with windows "
        f"of {windows} ms and a frame every {hop}"
    )
