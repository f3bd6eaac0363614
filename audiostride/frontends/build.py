"""The frontend that settings describe."""

from typing import Any

from audiostride.config.frontend_settings import FrontendSettings
from audiostride.frontends.frontend import Frontend, SoundFrontend
from audiostride.frontends.leaf import Leaf
from audiostride.frontends.learned_resolution import LearnedResolution
from audiostride.frontends.log_mel import LogMel
from audiostride.frontends.pcen import PcenMel
from audiostride.frontends.pixels import Pixels


def build_frontend(settings: FrontendSettings) -> Frontend:
    """Build the untrained frontend that the settings describe.

    Raises:
        ValueError: if its mel channels are too narrow for its windows.
    """
    if settings.kind == "pixels":
        return Pixels(settings.image_size, settings.colours)
    return build_sound_frontend(settings)


def build_sound_frontend(settings: FrontendSettings) -> SoundFrontend:
    """Build the untrained frontend that the settings describe, of any kind but pixels.

    Raises:
        ValueError: as `build_frontend`; or if the kind is pixels.
    """
    if settings.kind == "pixels":
        raise ValueError("frontend.kind pixels takes images, not sound")
    common: dict[str, Any] = {
        "sample_rate": settings.sample_rate,
        "hop_ms": settings.hop_ms,
        "mel_channels": settings.mel_channels,
        "f_min": settings.f_min,
        "f_max": settings.highest_hz,
    }
    one_window = {**common, "window_ms": settings.window_ms}
    compressed: dict[str, Any] = {"offset": settings.offset, "compression": settings.compression}
    learned: dict[str, Any] = {"dense_hop_ms": settings.dense_hop_ms, "smoothness": settings.smoothness}
    if settings.kind == "pcen":
        return PcenMel(settings.pcen_learned, **one_window)
    if settings.kind == "leaf":
        return Leaf(pcen_learned=settings.pcen_learned, **one_window, **learned)
    if settings.kind == "learned_resolution":
        return LearnedResolution(
            settings.windows_ms, dense_channels=settings.dense_channels, **common, **compressed, **learned
        )
    return LogMel(**one_window, **compressed)
