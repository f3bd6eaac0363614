"""Random changes of training windows: gain, noise, mixup, and masks on spectrograms.

The loader draws the random numbers as a pure function of the seed and the batch's number; the device applies
them. So the result depends neither on resuming nor on the number of workers.
"""

import math
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiostride.audio_file import BadSoundError, read_sound
from audiostride.config.settings import AugmentationSettings
from audiostride.corpora.base import SPLITS, sound_files
from audiostride.data.gather import Sounds
from audiostride.data.rates import check_rate_of_other
from audiostride.data.store import CARD, open_store
from audiostride.errors import UserError
from audiostride.frontends.waveform import as_float

# The draws for what happens to an example before it is mixed, of sound and of images.
_BEFORE_MIXING = ("gain", "noise", "noise_level", "place", "flip", "cut")


class BatchAugmentation(Protocol):
    """What training needs of an augmentation, of windows or of images."""

    def draw(self, rng: np.random.Generator, count: int, *shape: int) -> dict[str, Tensor]:
        """Draw the random numbers for a batch of so many examples of this shape."""

    def augment(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """Change the examples of a batch as the random numbers say."""

    def mask(self, x: Tensor, draws: dict[str, Tensor], length: int) -> Tensor:
        """Change the network's input as the random numbers say, for examples of this length."""


class Augmentation:
    """The augmentation of windows: draws the random numbers for a batch, and applies them.

    Args:
        settings: kinds of augmentation and their strength.
        sample_rate: sample rate of the windows in Hz.
    """

    def __init__(self, settings: AugmentationSettings, sample_rate: int) -> None:
        self.settings, self.sample_rate = settings, sample_rate

    @cached_property
    def noise(self) -> Sounds | None:
        """The noise to add, opened at the first use.

        Raises:
            UserError: if `settings.noise` names no prepared corpus and no folder of sound files, a corpus of
                another sample rate, or a folder with a sound file that cannot be read.
        """
        return _noise(Path(self.settings.noise), self.sample_rate) if self.settings.noise else None

    def open_noise(self) -> None:
        """Open the noise, so that what is wrong with it is said before training begins."""
        _ = self.noise

    def __reduce__(self) -> Any:
        """Let other processes open the noise themselves."""
        return Augmentation, (self.settings, self.sample_rate)

    def augment(self, x: Tensor, draws: dict[str, Tensor]) -> Tensor:
        """Apply gain, noise and mixup, see the function `augment`."""
        return augment(x, draws)

    def mask(self, x: Tensor, draws: dict[str, Tensor], length: int) -> Tensor:
        """Mask spectrograms of windows of `length` samples, see the function `mask`."""
        return mask(x, draws, self.settings, x.shape[-2] / (length / self.sample_rate))

    def draw(self, rng: np.random.Generator, count: int, *shape: int) -> dict[str, Tensor]:
        """Draw the input of `augment` and `mask`, without the entries that the settings do not need.

        Args:
            rng: random number generator.
            count: number of windows in the batch.
            *shape: (length,), samples per window.

        Returns:
            gain: (windows,), factor of the waveform.
            noise: (windows, length), int16.
            noise_level: (windows,), ratio of the window's amplitude to the noise's, infinite for no noise.
            partner: (windows,), for mixup, index of the window to mix with.
            weight: (windows,), for mixup, weight of the window itself, in [1/2, 1].
            time_masks, frequency_masks: (windows, masks, 2), place and width of each mask, in [0, 1).
        """
        (length,), windows = shape, count
        settings, draws = self.settings, {}
        if settings.gain_db:
            draws["gain"] = _amplitude(rng.uniform(-settings.gain_db, settings.gain_db, windows))
        if self.noise:
            chosen = rng.integers(len(self.noise.lengths), size=windows)
            slack = self.noise.lengths[chosen] - length
            begins = rng.integers(np.minimum(slack, 0), np.maximum(slack, 0), endpoint=True)
            draws["noise"] = self.noise.cut(chosen, begins, length)
            level = _amplitude(rng.uniform(*settings.noise_snr_db, windows))
            level[torch.from_numpy(rng.random(windows) >= settings.noise_share)] = torch.inf
            draws["noise_level"] = level
        if settings.mixup:
            draws |= draw_mixup(rng, windows, settings.mixup)
        if settings.time_masks:
            draws["time_masks"] = _float32(rng.random((windows, settings.time_masks, 2)))
        if settings.frequency_masks:
            draws["frequency_masks"] = _float32(rng.random((windows, settings.frequency_masks, 2)))
        return draws


def draw_mixup(rng: np.random.Generator, count: int, alpha: float) -> dict[str, Tensor]:
    """Draw with which example each of a batch is mixed, and its own weight, see `Augmentation.draw`."""
    partner = torch.from_numpy(rng.permutation(count))
    weight = rng.beta(alpha, alpha, count)
    # The beta distribution is symmetric, so the larger weight can always be the example's own.
    return {"partner": partner, "weight": _float32(np.maximum(weight, 1 - weight))}


def mix(x: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """Return examples mixed with their partners (mixup), without those that follow them.

    Args:
        x: (examples, …). Examples that are only mixed into others may follow, see `draws_of_rows`.
        draws: "partner" and "weight", see `Augmentation.draw`.
    """
    weight = draws["weight"].view(-1, *[1] * (x.ndim - 1))
    return weight * x[: len(weight)] + (1 - weight) * x[draws["partner"]]


def draws_of_rows(
    draws: dict[str, Tensor], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], dict[str, Tensor]]:
    """Return the part of a batch's draws that some of its windows need.

    Args:
        draws: see `Augmentation.draw`.
        rows: (n,), the windows.

    Returns:
        The windows to load: `rows`, and with mixup after them the window that each is mixed with, (2n,). And
        their draws, in which "partner" counts the windows that are loaded.
    """
    loaded, own = rows, torch.from_numpy(rows)
    if "partner" in draws:
        loaded = np.concatenate([rows, draws["partner"][own].numpy()])
    part = {name: values[loaded if name in _BEFORE_MIXING else own] for name, values in draws.items()}
    if "partner" in draws:
        part["partner"] = torch.arange(len(rows), len(loaded))
    return loaded, part


def augment(waveform: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """Apply gain, noise and mixup, in this order.

    Samples that a gain lifts beyond full scale are clipped, as in a recording that is too loud. The level of
    noise is relative to the window's power, so a silent window stays silent. Mixup (Zhang et al., "mixup:
    Beyond Empirical Risk Minimization", 2018) adds waveforms.

    Args:
        waveform: (windows, samples), int16, or floating point in [−1, 1]. Windows that are only mixed into
            others may follow, see `draws_of_rows`.
        draws: see `Augmentation.draw`.

    Returns:
        (windows, samples), floating point, without those that follow.
    """
    waveform = as_float(waveform)
    if "gain" in draws:
        waveform = (waveform * draws["gain"][:, None]).clamp(-1, 1)
    if "noise" in draws:
        noise = as_float(draws["noise"])
        ratio = _rms(waveform) / _rms(noise).clamp(min=1e-6)
        waveform = waveform + ratio / draws["noise_level"][:, None] * noise
    return mix(waveform, draws) if "partner" in draws else waveform


def mask(
    spectrogram: Tensor, draws: dict[str, Tensor], settings: AugmentationSettings, frame_rate: float
) -> Tensor:
    """Set random ranges of frames and of mel channels to zero (SpecAugment, Park et al. 2019).

    Args:
        spectrogram: (windows, images, frames, channels), normalised, so that zero is the mean. All images of
            a window get the same masks.
        draws: see `Augmentation.draw`.
        settings: the largest widths of masks.
        frame_rate: frames per second.

    Returns:
        (windows, images, frames, channels).
    """
    frames, channels = spectrogram.shape[2:]
    if "time_masks" in draws:
        covered = _covered(draws["time_masks"], frames, settings.time_mask_s * frame_rate)
        spectrogram = spectrogram.masked_fill(covered[:, None, :, None], 0)
    if "frequency_masks" in draws:
        covered = _covered(draws["frequency_masks"], channels, settings.frequency_mask_channels)
        spectrogram = spectrogram.masked_fill(covered[:, None, None, :], 0)
    return spectrogram


def _covered(masks: Tensor, length: int, widest: float) -> Tensor:
    """Return (windows, length), True where a mask lies.

    Args:
        masks: (windows, masks, 2), place and width of each mask, in [0, 1).
        length: number of frames or channels.
        widest: largest width of a mask, in frames or channels.
    """
    place, width = masks.float().unbind(-1)
    # All integer widths up to the largest are equally likely, and so are all places where a mask fits.
    largest = math.floor(min(widest, length))
    width = (width * (largest + 1)).floor().clamp(max=largest)
    begin = torch.minimum((place * (length - width + 1)).floor(), length - width)
    index = torch.arange(length, device=masks.device)[None, :, None]
    return ((index >= begin[:, None]) & (index < (begin + width)[:, None])).any(-1)


def _rms(waveform: Tensor) -> Tensor:
    """Return (windows, 1), the root mean square of each window."""
    return waveform.square().mean(1, keepdim=True).sqrt()


def _amplitude(decibels: np.ndarray) -> Tensor:
    """Return ratios of amplitudes."""
    return _float32(10 ** (decibels / 20))


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _noise(path: Path, sample_rate: int) -> Sounds:
    """Return the training recordings of a prepared corpus, or the sound files of a folder."""
    if (path / CARD).is_file():
        store = open_store(path)
        check_rate_of_other(store, sample_rate, "augmentation.noise")
        train = np.flatnonzero(store.splits == SPLITS.index("train"))
        begins, ends = store.starts[train], store.starts[train + 1]
        return Sounds((np.asarray(store.waveforms),), np.zeros(len(train), dtype=np.int64), begins, ends)
    recordings = []
    for file in sound_files(path):
        try:
            recordings.append(read_sound(path / file, sample_rate).samples)
        except BadSoundError as error:
            raise UserError(f"augmentation.noise: {error}") from error
    if not recordings:
        found = "holds no sound" if path.is_dir() else "is not a folder" if path.exists() else "is missing"
        raise UserError(
            f"augmentation.noise is {path}, which {found}: give a prepared corpus, or a folder of sound "
            "files such as data/speech_commands/_background_noise_"
        )
    ends = np.cumsum([len(samples) for samples in recordings])
    begins = np.concatenate([[0], ends[:-1]])
    return Sounds((np.concatenate(recordings),), np.zeros(len(ends), dtype=np.int64), begins, ends)
