"""What the first layer's low-pass leaves of a sound: as spectrograms side by side, and to hear."""

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

from audiostride.analysis.cutoffs import gains, has_window, stride_table
from audiostride.analysis.plots import Picture, save, styled
from audiostride.analysis.trained import TrainedRun
from audiostride.audio_file import read_sound
from audiostride.errors import UserError
from audiostride.frontends.log_mel import LogMel
from audiostride.models.classifier import Classifier
from audiostride.tables import cell

# The louder of the two sounds peaks here, unless there is nothing to hear.
_PEAK, _SILENCE = 0.9, 1e-4
# Of the Griffin–Lim algorithm; after as many the sound hardly changes.
_ITERATIONS = 64
# Below the loudest power, what spectrograms show.
_RANGE_DB = 80.0
_TICKS_HZ = (125, 250, 500, 1000, 2000, 4000)


def listen(run: TrainedRun, file: Path, folder: Path, seconds: float = 10.0, frames: int = 100) -> list[Path]:
    """Write what the first layer's low-pass leaves of a sound.

    Args:
        run: with spectral pooling or DiffStride.
        file: a sound in any format, at any rate, with any number of channels.
        folder: for before.wav and after.wav, rebuilt in the same way from the spectrogram as it was and as
            it is after the low-pass, and low_pass.png and .svg, both spectrograms.
        seconds: of the sound's beginning; the rest is left out.
        frames: of the windows that the network sees, 100 to the second.

    Returns:
        The files that were written.

    Raises:
        UserError: for a run without such a window, and a file that holds no sound to use.
    """
    if not has_window(run.classifier):
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
    with styled():
        files = save([draw(run.classifier, before, after, frames)], folder)
    for name, sound in zip(("before", "after"), sounds, strict=True):
        files.append(folder / f"{name}.wav")
        soundfile.write(files[-1], sound * (_PEAK / loudest), frontend.sample_rate, subtype="PCM_16")
    return files


@torch.inference_mode()
def spectrograms(classifier: Classifier, waveform: Tensor, frames: int = 100) -> tuple[Tensor, Tensor]:
    """The log-mel spectrogram of a sound, and what the first layer's low-pass leaves of it.

    The window of the first layer's strides is put over the spectrogram as the network sees it, normalised per
    mel channel, which is then undone (so the mean spectrum of the corpus comes back whole); the result is not
    shortened. That is the layer's low-pass but for two things: its convolution over time comes before (which
    is linear, so that over time the same is lost), and its low-pass over frequency follows on both
    convolutions, a ReLU and a normalisation.

    The window is defined over the whole axis, so a longer sound is taken in consecutive windows of `frames`,
    and the last or only one is filled up with silence. The low-pass takes each window for a period: where its
    end differs from its beginning, a step is smoothed there as well.

    Args:
        classifier: with spectral pooling or DiffStride, in evaluation mode.
        waveform: (samples,), floating point in [−1, 1] or int16.
        frames: of the windows that the network sees.

    Returns:
        Two of (time, mel), natural logarithm of the power plus the frontend's offset, with a frame for each
        hop that the sound has begun.
    """
    frontend, normalise, trunk = classifier.frontend, classifier.normalise, classifier.trunk
    samples = len(waveform)
    before = frontend(functional.pad(waveform, (0, -samples % (frames * frontend.hop))))
    windows = normalise(before.unflatten(0, (-1, frames)).mT).mT
    smooth = windows
    for axis, stride in zip((1, 2), trunk.strides[0].tolist(), strict=True):
        spectrum = torch.fft.rfft(smooth, dim=axis).movedim(axis, -1)
        spectrum *= gains(smooth.shape[axis], stride, trunk.window).to(smooth)
        smooth = torch.fft.irfft(spectrum.movedim(-1, axis), smooth.shape[axis], dim=axis)
    assert normalise.running_var is not None
    deviation = (normalise.running_var + normalise.eps).sqrt()
    after = before + ((smooth - windows) * deviation).flatten(0, 1)
    begun = -(-samples // frontend.hop)
    return before[:begun], after[:begun]


def rebuild(log_mel: Tensor, frontend: LogMel, seed: int = 0) -> NDArray[np.float32]:
    """A sound with (nearly) the given spectrogram: magnitudes by non-negative least squares, phases by the
    Griffin–Lim algorithm. Both guess, so compare only with what was rebuilt as well.

    Args:
        log_mel: (time, mel), of `frontend`.
        frontend: whose windows, hops and mel channels it has.
        seed: of the phases to begin with.

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


def draw(classifier: Classifier, before: Tensor, after: Tensor, frames: int = 100) -> Picture:
    """Both spectrograms side by side, in decibels, with mel channels equally high.

    Args:
        classifier: that `spectrograms` was called with.
        before, after: (time, mel) each, what it returned.
        frames: as there.
    """
    frontend = classifier.frontend
    edges = [f"{cell(row['pass_band'])} {row['unit']}" for row in stride_table(classifier, frames)[:2]]
    levels = [10 / math.log(10) * log_mel.T.numpy() for log_mel in (before, after)]
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    # Where frames and channels end: in the middle between neighbours.
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
    panels[1].set_title(f"after layer 1's low-pass, whole up to\n{' and '.join(edges)}")
    panels[1].set_ylabel("")
    figure.colorbar(mesh, ax=panels, label="power in dB")
    kept = 1 - np.var(levels[1] - levels[0]) / np.var(levels[0])
    alt = (
        f"Mel spectrograms before and after the first layer's low-pass, which keeps all up to "
        f"{' and '.join(edges)}, and {kept:.1%} of the variance."
    )
    return Picture("low_pass", figure, alt)
