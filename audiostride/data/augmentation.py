"""Changes to training windows. The loader draws what chance decides, as a pure function of the seed and the
number of the batch; the device applies it. So a resumed run, and one with several workers, gets the same.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiostride.audio_file import BadSoundError, read_sound
from audiostride.config.settings import AugmentationSettings
from audiostride.corpora.base import SPLITS, sound_files
from audiostride.data.gather import Sounds
from audiostride.data.store import CARD, open_store
from audiostride.errors import UserError


class Augmentation:
    """Draws what happens to the windows of a batch.

    Args:
        settings: what to do, and how strongly.
        sample_rate: of the windows in Hz.

    Raises:
        UserError: where there is no noise at the place that the settings name.
    """

    def __init__(self, settings: AugmentationSettings, sample_rate: int = 16000) -> None:
        self.settings, self.sample_rate = settings, sample_rate
        self.noise = _noise(Path(settings.noise), sample_rate) if settings.noise else None

    def __reduce__(self) -> Any:
        """Other processes open the noise themselves."""
        return Augmentation, (self.settings, self.sample_rate)

    def draw(self, rng: np.random.Generator, windows: int, length: int) -> dict[str, Tensor]:
        """What `augment` and `mask` need, on the first axis one entry per window; only what is wanted.

        gain: factor of the waveform.
        noise, noise_level: int16 windows of noise, and by how much the window stands above it as a ratio of
            amplitudes, infinite where no noise is to be added.
        partner, weight: for mixup, with which window of the batch, and the window's own weight, at least 1/2.
        time_masks, frequency_masks: (windows, masks, 2), place and width of each, from 0 to 1.
        """
        wanted, draws = self.settings, {}
        if wanted.gain_db:
            draws["gain"] = _amplitude(rng.uniform(-wanted.gain_db, wanted.gain_db, windows))
        if self.noise:
            chosen = rng.integers(len(self.noise.lengths), size=windows)
            spare = self.noise.lengths[chosen] - length
            begins = rng.integers(np.minimum(spare, 0), np.maximum(spare, 0), endpoint=True)
            draws["noise"] = self.noise.cut(chosen, begins, length)
            level = _amplitude(rng.uniform(*wanted.noise_snr_db, windows))
            level[torch.from_numpy(rng.random(windows) >= wanted.noise_share)] = torch.inf
            draws["noise_level"] = level
        if wanted.mixup:
            draws["partner"] = torch.from_numpy(rng.permutation(windows))
            weight = rng.beta(wanted.mixup, wanted.mixup, windows)
            # The larger of the two, which makes no difference to training: a window keeps its label.
            draws["weight"] = _float(np.maximum(weight, 1 - weight))
        if wanted.time_masks:
            draws["time_masks"] = _float(rng.random((windows, wanted.time_masks, 2)))
        if wanted.frequency_masks:
            draws["frequency_masks"] = _float(rng.random((windows, wanted.frequency_masks, 2)))
        return draws


def augment(waveform: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """(windows, samples), int16 or floating point in [−1, 1], with gain, noise and mixup, in that order.

    Noise has its level relative to the window's own power; a silent window gets none. Mixup (Zhang et al.,
    "mixup: beyond empirical risk minimization", 2018) adds sounds, before the logarithm.
    """
    sound = _in_unit(waveform)
    if "gain" in draws:
        sound = sound * draws["gain"][:, None]
    if "noise" in draws:
        noise = _in_unit(draws["noise"])
        ratio = _rms(sound) / _rms(noise).clamp(min=1e-6)
        sound = sound + ratio / draws["noise_level"][:, None] * noise
    if "partner" in draws:
        weight = draws["weight"][:, None]
        sound = weight * sound + (1 - weight) * sound[draws["partner"]]
    return sound


def mask(spectrogram: Tensor, draws: dict[str, Tensor], settings: AugmentationSettings) -> Tensor:
    """(windows, frames, channels), normalised, with stretches of time and bands of channels set to the
    mean, which is zero (SpecAugment, Park et al. 2019).
    """
    frames, channels = spectrogram.shape[1:]
    if "time_masks" in draws:
        widest = settings.time_mask_s * 100  # frames to the second
        spectrogram = spectrogram.masked_fill(_covered(draws["time_masks"], frames, widest)[:, :, None], 0)
    if "frequency_masks" in draws:
        covered = _covered(draws["frequency_masks"], channels, settings.frequency_mask_channels)
        spectrogram = spectrogram.masked_fill(covered[:, None, :], 0)
    return spectrogram


def _covered(masks: Tensor, length: int, widest: float) -> Tensor:
    """(windows, length), whether any of the masks lies on a place."""
    place, width = masks.float().unbind(-1)
    # Whole widths from zero to the widest, and each place where the mask fits as likely as another.
    most = math.floor(min(widest, length))
    width = (width * (most + 1)).floor().clamp(max=most)
    begin = torch.minimum((place * (length - width + 1)).floor(), length - width)
    where = torch.arange(length, device=masks.device)[None, :, None]
    return ((where >= begin[:, None]) & (where < (begin + width)[:, None])).any(-1)


def _in_unit(waveform: Tensor) -> Tensor:
    return waveform.float() / 32768 if waveform.dtype == torch.int16 else waveform


def _rms(sound: Tensor) -> Tensor:
    return sound.square().mean(1, keepdim=True).sqrt()


def _amplitude(decibels: np.ndarray) -> Tensor:
    return _float(10 ** (decibels / 20))


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _noise(place: Path, sample_rate: int) -> Sounds:
    """The training recordings of a prepared corpus, or the sound files of a folder."""
    if (place / CARD).is_file():
        store = open_store(place)
        train = np.flatnonzero(store.splits == SPLITS.index("train"))
        maps, begins, ends = (np.asarray(store.waveforms),), store.starts[train], store.starts[train + 1]
        return Sounds(maps, np.zeros(len(train), dtype=np.int64), begins, ends)
    sounds = []
    for path in sound_files(place):
        try:
            sounds.append(read_sound(place / path, sample_rate).samples)
        except BadSoundError as error:
            raise UserError(f"augmentation.noise: {error}") from error
    if not sounds:
        what = "holds no sound" if place.is_dir() else "is no folder" if place.exists() else "is missing"
        raise UserError(
            f"augmentation.noise is {place}, which {what}: give a prepared corpus, or a folder of sound "
            "files such as data/speech_commands/_background_noise_"
        )
    ends = np.cumsum([len(sound) for sound in sounds])
    flat = np.concatenate(sounds)
    return Sounds((flat,), np.zeros(len(ends), dtype=np.int64), np.concatenate([[0], ends[:-1]]), ends)
