"""The effect of the first layer's low-pass on a sound: spectrograms to compare, and sounds to hear."""

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

from audiostride.analysis.cutoffs import gains, has_low_pass, stride_table
from audiostride.analysis.figures import NamedFigure, figure_style, save_figures
from audiostride.analysis.trained import TrainedRun
from audiostride.audio_file import read_sound
from audiostride.errors import UserError
from audiostride.frontends.log_mel import LogMel
from audiostride.models.classifier import Classifier
from audiostride.tables import cell

# Peak of the louder of the two sounds. A sound below the second level is not amplified.
_PEAK, _SILENCE = 0.9, 1e-4
# Iterations of the Griffin–Lim algorithm. The sound hardly changes after as many.
_ITERATIONS = 64
# Range of the colour scale of spectrograms, below the highest power.
_RANGE_DB = 80.0
_TICKS_HZ = (125, 250, 500, 1000, 2000, 4000)


def listen(run: TrainedRun, file: Path, folder: Path, seconds: float = 10.0, frames: int = 100) -> list[Path]:
    """Write what the first layer's low-pass leaves of a sound.

    The folder gets before.wav and after.wav, which are rebuilt in the same way from the spectrogram without
    and with the low-pass, and a figure of both spectrograms as low_pass.png and low_pass.svg.

    Args:
        run: a run with spectral pooling or DiffStride.
        file: a sound file of any format, sample rate and number of channels.
        folder: output folder.
        seconds: length of the beginning of the sound that is used.
        frames: length of the network's windows, 100 frames per second.

    Returns:
        The files that were written.

    Raises:
        UserError: if the run has no low-pass windows, or the file is no sound or silent.
    """
    if not has_low_pass(run.classifier):
        kind = run.classifier.trunk.downsampling
        raise UserError(
            f"{run.name} downsamples by {kind}, which has no low-pass window to listen through: "
            "give a run with diffstride or spectral"
        )
    frontend = run.classifier.frontend
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


@torch.inference_mode()
def spectrograms(classifier: Classifier, waveform: Tensor, frames: int = 100) -> tuple[Tensor, Tensor]:
    """Return the log-mel spectrogram of a sound before and after the first layer's low-pass.

    The low-pass is applied to the normalised spectrogram that the network sees. The normalisation is undone
    afterwards, so the mean spectrum of the corpus is kept, and the result has the length of the input.

    This differs from the layer in two ways. The layer's convolution over time comes first, but it is linear,
    so the same modulations are lost over time. Its low-pass over frequency comes after both convolutions, a
    ReLU and a normalisation.

    The low-pass is defined for a window of fixed length, so a longer sound is cut into consecutive windows of
    `frames`, and the last one is padded with silence. Each window is treated as periodic, so a step between
    its end and its beginning is smoothed too.

    Args:
        classifier: a classifier with spectral pooling or DiffStride.
        waveform: (samples,), floating point in [−1, 1] or int16.
        frames: length of the network's windows.

    Returns:
        Two tensors (time, mel): natural logarithm of the power plus the frontend's offset. There is one frame
        for every hop of the sound, also for the last, incomplete one.
    """
    frontend, trunk = classifier.frontend, classifier.trunk
    (mean, *_), (deviation, *_) = classifier.channel_statistics()
    samples = len(waveform)
    before = frontend(functional.pad(waveform, (0, -samples % (frames * frontend.hop))))
    windows = ((before - mean) / deviation).unflatten(0, (-1, frames))
    filtered = windows
    for axis, stride in zip((1, 2), trunk.strides[0].tolist(), strict=True):
        spectrum = torch.fft.rfft(filtered, dim=axis).movedim(axis, -1)
        spectrum *= gains(filtered.shape[axis], stride, trunk.window).to(filtered)
        filtered = torch.fft.irfft(spectrum.movedim(-1, axis), filtered.shape[axis], dim=axis)
    after = before + ((filtered - windows) * deviation).flatten(0, 1)
    hops = -(-samples // frontend.hop)
    return before[:hops], after[:hops]


def rebuild(log_mel: Tensor, frontend: LogMel, seed: int = 0) -> NDArray[np.float32]:
    """Return a sound that has nearly the given spectrogram.

    Non-negative least squares estimate the magnitudes, and the Griffin–Lim algorithm the phases. Both are
    approximate, so compare the result only with other rebuilt sounds.

    Args:
        log_mel: (time, mel), a spectrogram by `frontend`.
        frontend: the frontend that made the spectrogram.
        seed: seed of the initial phases.

    Returns:
        (time · hop,), at the frontend's sample rate.
    """
    mel = frontend.mel
    power = (log_mel.double().exp() - frontend.offset).clamp(min=0).T.numpy()
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


def draw_low_pass(classifier: Classifier, before: Tensor, after: Tensor, frames: int = 100) -> NamedFigure:
    """Draw both spectrograms side by side, in decibels, on a mel axis.

    Args:
        classifier: the classifier that `spectrograms` was called with.
        before: (time, mel), the first result of `spectrograms`.
        after: (time, mel), the second result.
        frames: length of the network's windows.
    """
    frontend = classifier.frontend
    edges = [f"{cell(row['pass_band'])} {row['unit']}" for row in stride_table(classifier, frames)[:2]]
    levels = [10 / math.log(10) * log_mel.T.numpy() for log_mel in (before, after)]
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    # Edges of frames and of mel channels, which lie halfway between their centres.
    times = np.arange(len(before) + 1) * frontend.hop / frontend.sample_rate
    count = 2 * frontend.mel_channels + 3
    hertz = librosa.mel_frequencies(count, fmin=frontend.f_min, fmax=frontend.f_max, htk=True)[1::2]
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
    panels[0].set_yticks(_TICKS_HZ)
    panels[0].set_title("before")
    panels[1].set_title(f"after layer 1's low-pass, unchanged up to\n{' and '.join(edges)}")
    panels[1].set_ylabel("")
    figure.colorbar(mesh, ax=panels, label="power in dB")
    kept = 1 - np.var(levels[1] - levels[0]) / np.var(levels[0])
    alt = (
        f"Mel spectrograms before and after the first layer's low-pass, which keeps everything up to "
        f"{' and '.join(edges)}, and {kept:.1%} of the variance."
    )
    return NamedFigure("low_pass", figure, alt)
