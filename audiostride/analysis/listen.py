"""The effect of the first low-pass on a sound: spectrograms to compare, and sounds to hear."""

import math
from functools import partial
from pathlib import Path

import librosa
import librosa.display
import numpy as np
import soundfile
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from audiostride.analysis.cutoffs import frequency_range, gains, stride_table
from audiostride.analysis.figures import NamedFigure, figure_style, save_figures
from audiostride.analysis.strided_layers import FRONTEND, StridedLayer, layer_name, low_pass_layers
from audiostride.analysis.trained import TrainedRun
from audiostride.audio_file import read_sound
from audiostride.errors import UserError
from audiostride.frontends.frontend import Frontend
from audiostride.frontends.learned_resolution import LearnedResolution
from audiostride.frontends.log_mel import LogMel
from audiostride.models.classifier import Classifier
from audiostride.tables import cell

# Peak of the louder of the two sounds. A sound below the second level is not amplified.
_PEAK, _SILENCE = 0.9, 1e-4
# Iterations of the Griffin–Lim algorithm. The sound hardly changes after as many.
_ITERATIONS = 64
# Range of the colour scale of spectrograms, below the highest power.
_RANGE_DB = 80.0
_TICKS_HZ = tuple(125 * 2**octave for octave in range(11))


def listen(
    run: TrainedRun, file: Path, folder: Path, seconds: float = 10.0, frames: int | None = None
) -> list[Path]:
    """Write what the first low-pass leaves of a sound.

    That is the low-pass of the frontend, if it learns its resolution, otherwise that of layer 1. The folder
    gets before.wav and after.wav, which are rebuilt in the same way from the spectrogram without and with the
    low-pass, and a figure of both spectrograms as low_pass.png and low_pass.svg.

    Args:
        run: a run with spectral pooling or DiffStride.
        file: a sound file of any format, sample rate and number of channels.
        folder: output folder.
        seconds: length of the beginning of the sound that is used.
        frames: number of frames of the frontend's features that the low-pass is defined for; by default those
            of the network's windows.

    Returns:
        The files that were written.

    Raises:
        UserError: if the run has no low-pass windows, if its frontend cannot be inverted, or if the file is
            no sound or silent.
    """
    frontend = invertible(run.classifier.frontend)
    if frontend is None:
        kind = run.classifier.frontend_settings.kind
        raise UserError(
            f"the frontend of {run.name} is {kind}, from which no sound can be rebuilt: give a run with "
            "log_mel or learned_resolution"
        )
    if not low_pass_layers(run.classifier):
        downsampling = run.classifier.trunk.downsampling
        raise UserError(
            f"{run.name} downsamples by {downsampling}, which has no low-pass window to listen through: "
            "give a run with diffstride or spectral"
        )
    samples = read_sound(file, frontend.sample_rate).samples[: round(seconds * frontend.sample_rate)]
    if not samples.any():
        raise UserError(f"{file} is silent in its first {seconds:g} seconds: cut off its beginning")
    before, after = spectrograms(run.classifier, torch.from_numpy(samples), frames)
    sounds = rebuild(before, frontend), rebuild(after, frontend)
    loudest = max(_SILENCE, *(float(np.abs(sound).max()) for sound in sounds))
    with figure_style():
        files = save_figures([draw_low_pass(run.classifier, before, after, frames)], folder)
    for name, sound in zip(("before", "after"), sounds, strict=True):
        files.append(folder / f"{name}.wav")
        soundfile.write(files[-1], sound * (_PEAK / loudest), frontend.sample_rate, subtype="PCM_16")
    return files


def invertible(frontend: Frontend) -> LogMel | None:
    """Return the spectrogram of a frontend from which sound can be rebuilt, or None.

    Of a frontend that learns its resolution, this is the dense spectrogram with the first window. The
    normalisation of PCEN and LEAF divides by the level of the past, which nothing remembers.
    """
    if isinstance(frontend, LearnedResolution):
        return frontend.first
    return frontend if isinstance(frontend, LogMel) else None


@torch.inference_mode()
def spectrograms(
    classifier: Classifier, waveform: Tensor, frames: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mel spectrogram of a sound before and after the first low-pass.

    That is the low-pass of the frontend, if it learns its resolution, otherwise that of layer 1. It is
    applied to the normalised spectrogram. The normalisation is undone afterwards, so the mean spectrum of the
    corpus is kept, and the result has the length of the input.

    The low-pass of layer 1 differs from the layer in two ways. The layer's convolution over time comes first,
    but it is linear, so the same modulations are lost over time. Its low-pass over frequency comes after both
    convolutions, a ReLU and a normalisation.

    The low-pass is defined for a window of fixed length, so a longer sound is cut into consecutive windows of
    `frames`, and the last one is padded with silence. Each window is treated as periodic, so a step between
    its end and its beginning is smoothed too.

    Args:
        classifier: a classifier with a low-pass, and with a frontend that is `invertible`.
        waveform: (samples,), floating point in [−1, 1] or int16.
        frames: number of frames of the frontend's features in a window; by default those of the network's
            windows.

    Returns:
        Two tensors (time, mel), as the frontend compresses power. There is one frame for every hop of the
        sound, also for the last, incomplete one.
    """
    frontend, layer = _first_low_pass(classifier, frames)
    (mean, *_), (deviation, *_) = classifier.channel_statistics()
    samples, frames = len(waveform), layer.input_size[0]
    before = frontend(functional.pad(waveform, (0, -samples % (frames * frontend.hop))))
    windows = ((before - mean) / deviation).unflatten(0, (-1, frames))
    filtered = windows
    assert layer.window is not None
    for axis, stride in zip((1, 2), layer.strides, strict=True):
        assert stride is not None
        spectrum = torch.fft.rfft(filtered, dim=axis).movedim(axis, -1)
        spectrum *= gains(filtered.shape[axis], stride, layer.window).to(filtered)
        filtered = torch.fft.irfft(spectrum.movedim(-1, axis), filtered.shape[axis], dim=axis)
    after = before + ((filtered - windows) * deviation).flatten(0, 1)
    hops = -(-samples // frontend.hop)
    return before[:hops], after[:hops]


def _first_low_pass(classifier: Classifier, frames: int | None) -> tuple[LogMel, StridedLayer]:
    """Return the spectrogram that the first low-pass filters, and the layer of that low-pass."""
    frontend, layers = invertible(classifier.frontend), low_pass_layers(classifier, frames)
    if frontend is None or not layers:
        raise ValueError("the classifier has no low-pass, or no frontend from which sound can be rebuilt")
    return frontend, layers[0]


def rebuild(spectrogram: Tensor, frontend: LogMel, seed: int = 0) -> NDArray[np.float32]:
    """Return a sound that has nearly the given spectrogram.

    Non-negative least squares estimate the magnitudes, and the Griffin–Lim algorithm the phases. Both are
    approximate, so compare the result only with other rebuilt sounds.

    Args:
        spectrogram: (time, mel), by `frontend`.
        frontend: the frontend that made the spectrogram.
        seed: seed of the initial phases.

    Returns:
        (time · hop,), at the frontend's sample rate.
    """
    mel = frontend.mel
    power = frontend.power_of(spectrogram.double()).T.numpy()
    magnitudes = librosa.feature.inverse.mel_to_stft(
        power,
        sr=frontend.sample_rate,
        n_fft=mel.n_fft,
        fmin=frontend.f_min,
        fmax=frontend.f_max,
        htk=True,
        norm=None,
    )
    sound = librosa.griffinlim(
        magnitudes,
        n_iter=_ITERATIONS,
        hop_length=frontend.hop,
        win_length=mel.win_length,
        n_fft=mel.n_fft,
        center=False,
        random_state=seed,
    )
    left, right = frontend.padding
    return sound[left : len(sound) - right].astype(np.float32)


def draw_low_pass(
    classifier: Classifier, before: Tensor, after: Tensor, frames: int | None = None
) -> NamedFigure:
    """Draw both spectrograms side by side, in decibels, on a mel axis.

    Args:
        classifier: the classifier that `spectrograms` was called with.
        before: (time, mel), the first result of `spectrograms`.
        after: (time, mel), the second result.
        frames: see `spectrograms`.
    """
    frontend, layer = _first_low_pass(classifier, frames)
    edges = [f"{cell(row['pass_band'])} {row['unit']}" for row in stride_table(classifier, frames)[:2]]
    levels = [_decibels(spectrogram, frontend) for spectrogram in (before, after)]
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    # Edges of frames and of mel channels, which lie halfway between their centres.
    times = np.arange(len(before) + 1) * frontend.hop / frontend.sample_rate
    count, (low, high) = 2 * frontend.mel_channels + 3, frequency_range(frontend)
    hertz = librosa.mel_frequencies(count, fmin=low, fmax=high, htk=True)[1::2]
    for panel, level in zip(panels, levels, strict=True):
        mesh = librosa.display.specshow(
            level,
            x_coords=times,
            y_coords=hertz,
            x_axis="s",
            y_axis="mel",
            cmap="magma",
            vmin=levels[0].max() - _RANGE_DB,
            vmax=levels[0].max(),
            ax=panel,
        )
    panels[0].set_yscale(
        "function", functions=(partial(librosa.hz_to_mel, htk=True), partial(librosa.mel_to_hz, htk=True))
    )
    panels[0].set_yticks([tick for tick in _TICKS_HZ if low <= tick <= high])
    panels[0].set_title("before")
    name = "the frontend" if layer.number == FRONTEND else layer_name(layer.number)
    panels[1].set_title(f"after {name}'s low-pass, unchanged up to\n{' and '.join(edges)}")
    panels[1].set_ylabel("")
    figure.colorbar(mesh, ax=panels, label="power in dB")
    kept = 1 - np.var(levels[1] - levels[0]) / np.var(levels[0])
    alt = (
        f"Mel spectrograms before and after {name}'s low-pass, which keeps everything up to "
        f"{' and '.join(edges)}, and {kept:.1%} of the variance."
    )
    return NamedFigure("low_pass", figure, alt)


def _decibels(spectrogram: Tensor, frontend: LogMel) -> NDArray[np.floating]:
    """Return the power of a spectrogram (time, mel) in decibels, (mel, time)."""
    if frontend.compression == "log":  # a low-pass may lead below the offset, where there is no power
        return 10 / math.log(10) * spectrogram.T.numpy()
    return 10 * (frontend.power_of(spectrogram) + frontend.offset).log10().T.numpy()
