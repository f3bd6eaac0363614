"""The effect of the first layer's low-pass on a sound: modulations, rebuilt sounds, figure and files."""

import math
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiostride import Classifier, LogMel
from audiostride.analysis.figures import svg
from audiostride.analysis.listen import draw_low_pass, listen, rebuild, spectrograms
from audiostride.analysis.trained import TrainedRun
from audiostride.audio_file import read_sound
from audiostride.cli import main
from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.settings import ModelSettings, Recipe
from audiostride.errors import UserError
from audiostride.frontends.learned_resolution import LearnedResolution


def classifier(stride: tuple[float, float] = (2.0, 2.0), **settings: Any) -> Classifier:
    """Make an untrained classifier whose normalisation has the statistics of speech."""
    made = Classifier({"word": ["a", "b"]}, ModelSettings([2], [stride], **settings)).eval()
    mean, variance = made.normalise.running_mean, made.normalise.running_var
    assert mean is not None
    assert variance is not None
    mean.copy_(torch.linspace(-2, -8, 64))
    variance.copy_(torch.linspace(9, 4, 64))
    return made


def with_frontend(kind: Any, strides: tuple[float, float] = (4.0, 2.0), **frontend: Any) -> Classifier:
    """Make an untrained classifier with another frontend, and with these strides if it learns them."""
    settings = ModelSettings([2], [(2.0, 2.0)])
    made = Classifier({"word": ["a", "b"]}, settings, frontend=FrontendSettings(kind=kind, **frontend)).eval()
    if isinstance(made.frontend, LearnedResolution):
        made.frontend.resampling.stride.data = torch.tensor(strides)
    assert made.normalise.running_mean is not None
    made.normalise.running_mean.fill_(-3.0)
    return made


def run(model: Classifier | None = None, **settings: Any) -> TrainedRun:
    return TrainedRun("runs/a", model or classifier(**settings), Recipe(), [], [])


def tone(hertz: float = 1000.0, seconds: float = 1.0, rate: int = 16000) -> NDArray[np.float64]:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def hiss(seconds: float = 0.15, rate: int = 16000) -> NDArray[np.float64]:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))


def voice(seconds: float = 0.15, rate: int = 16000) -> NDArray[np.float64]:
    """Return decaying harmonics with some noise."""
    t = np.arange(round(seconds * rate)) / rate
    harmonics = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 20))
    return 0.2 * harmonics * np.exp(-3 * t) + 0.2 * hiss(seconds, rate)


def modulated(hertz: float) -> Tensor:
    """Return three seconds of a tone whose level in decibels is modulated by a sine."""
    t = np.arange(48000) / 16000
    return torch.tensor(tone(seconds=3.0) * np.exp(np.sin(2 * np.pi * hertz * t)), dtype=torch.float32)


def modulation(log_mel: Tensor, hertz: int) -> float:
    """Return the amplitude of a modulation in the second window, which has no onset or end of the sound."""
    return float(torch.fft.rfft(log_mel[100:200], dim=0)[hertz].abs().square().sum().sqrt())


@pytest.mark.parametrize("settings", [{"smoothness": 4.0}, {"downsampling": "spectral"}], ids=str)
def test_slow_modulations_pass_and_fast_ones_are_removed(settings: dict[str, Any]) -> None:
    """A stride of 2 passes up to 25 Hz and nothing from 29 Hz on. Over frequency the stride is 1."""
    model = classifier((2.0, 1.0), **settings)
    before, after = spectrograms(model, modulated(10))
    assert modulation(after, 10) == pytest.approx(modulation(before, 10), rel=0.01)
    before, after = spectrograms(model, modulated(40))
    assert modulation(before, 40) > 5
    assert modulation(after, 40) < 1e-3 * modulation(before, 40)


@pytest.mark.parametrize("compression", ["log", "root"])
def test_learned_resolution_keeps_what_its_strides_pass_of_the_dense_spectrogram(compression: str) -> None:
    """A stride of 8 on 400 frames per second passes up to 21.5 Hz and nothing from 25.5 Hz on."""
    model = with_frontend("learned_resolution", (8.0, 1.0), compression=compression)

    def amplitudes(hertz: int) -> list[float]:
        spectrograms_of_tone = spectrograms(model, modulated(hertz))
        windows = [spectrogram[400:800] for spectrogram in spectrograms_of_tone]  # the second window
        return [float(torch.fft.rfft(one, dim=0)[hertz].abs().square().sum().sqrt()) for one in windows]

    before, after = amplitudes(10)
    assert after == pytest.approx(before, rel=0.01)
    before, after = amplitudes(30)
    assert before > 1
    assert after < 1e-3 * before


def test_dense_spectrogram_is_that_of_the_first_window() -> None:
    model, sound = with_frontend("learned_resolution", windows_ms=(40.0, 25.0)), torch.rand(16_000) / 10
    before, after = spectrograms(model, sound)
    expected = LogMel(window_ms=40.0, hop_ms=2.5, mel_channels=128)(sound)
    torch.testing.assert_close(before, expected)
    assert after.shape == before.shape == (400, 128)


def test_low_pass_over_frequency_applies_to_the_normalised_spectrogram() -> None:
    """The pass band ends at 1/4 cycle per mel channel, bin 16, and the stop band begins at bin 20."""
    model = classifier((1.0, 2.0), smoothness=4.0)
    noise = torch.randn(16000, generator=torch.Generator().manual_seed(0)) / 10
    before, after = (
        torch.fft.rfft(model.normalise(log_mel), dim=1) for log_mel in spectrograms(model, noise)
    )
    slow = torch.arange(100) <= 47  # below the ramp of a stride of 1 over time
    before, after = torch.fft.fft(before, dim=0)[slow], torch.fft.fft(after, dim=0)[slow]
    torch.testing.assert_close(after[:, :17], before[:, :17], rtol=1e-3, atol=1e-2)
    assert before[:, 20:].abs().mean() > 10
    assert after[:, 20:].abs().max() < 1e-2


def test_stride_of_one_without_a_ramp_changes_nothing() -> None:
    before, after = spectrograms(classifier((1.0, 1.0), downsampling="spectral"), modulated(40))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)


def test_windows_do_not_affect_each_other() -> None:
    model, sound = classifier(), modulated(7)
    louder = sound.clone()
    louder[20000:] *= 10
    (_, one), (_, other) = spectrograms(model, sound), spectrograms(model, louder)
    torch.testing.assert_close(other[:100], one[:100], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("samples", "frames"), [(50, 1), (160, 1), (4001, 26), (16001, 101)])
def test_spectrogram_has_a_frame_for_every_hop_also_for_an_incomplete_one(samples: int, frames: int) -> None:
    before, after = spectrograms(classifier(), torch.rand(samples) / 10)
    assert before.shape == after.shape == (frames, 64)


def test_rebuilt_sound_has_nearly_the_same_spectrogram() -> None:
    """The mean difference is below 1 dB where the level is within 40 dB of the maximum."""
    frontend = LogMel()
    original = frontend(torch.tensor(voice(), dtype=torch.float32))
    again = frontend(torch.from_numpy(rebuild(original, frontend)))
    assert again.shape == original.shape
    loud = original > original.max() - 4 * math.log(10)
    decibels = 10 / math.log(10) * (again - original)[loud]
    assert decibels.abs().mean() < 1


def test_spectrogram_with_root_compression_is_rebuilt_at_its_own_rate() -> None:
    frontend = LogMel(44_100, hop_ms=5.0, window_ms=30.0, mel_channels=80, f_max=20_000.0, compression="root")
    original = frontend(torch.tensor(voice(rate=44_100), dtype=torch.float32))
    again = frontend(torch.from_numpy(rebuild(original, frontend)))
    assert again.shape == original.shape
    loud = original > 0.2 * original.max()
    assert (30 * (again / original)[loud].log10()).abs().mean() < 2  # decibels of power


def test_rebuilt_click_has_its_original_position() -> None:
    click = torch.zeros(4800)
    click[2000] = 1.0
    frontend = LogMel()
    rebuilt = rebuild(frontend(click), frontend)
    assert abs(int(np.abs(rebuilt).argmax()) - 2000) < 80


def test_rebuilt_silence_is_silent() -> None:
    frontend = LogMel()
    assert np.abs(rebuild(frontend(torch.zeros(1600)), frontend)).max() < 1e-5


def test_axes_of_spectrograms_are_in_seconds_and_hertz() -> None:
    """The brightest row is the mel channel around the tone, and all rows have the same height."""
    model = classifier()
    before, after = spectrograms(model, torch.tensor(tone(1000.0), dtype=torch.float32))
    drawn = draw_low_pass(model, before, after)
    panels: Any = drawn.figure.axes
    panel, other = panels[:2]
    (mesh,) = panel.collections
    corners = mesh.get_coordinates()
    assert corners[0, 0, 0] == 0
    assert corners[0, -1, 0] == pytest.approx(1.0)
    row = np.asarray(mesh.get_array()).mean(1).argmax()
    assert corners[row, 0, 1] < 1000 < corners[row + 1, 0, 1]
    edges = librosa.hz_to_mel(corners[:, 0, 1], htk=True)
    centres = librosa.hz_to_mel(librosa.mel_frequencies(66, fmin=60, fmax=7800, htk=True)[1:-1], htk=True)
    np.testing.assert_allclose((edges[1:] + edges[:-1]) / 2, centres)
    heights = np.diff(panel.transData.transform(corners[:, 0])[:, 1])
    np.testing.assert_allclose(heights, heights[0], rtol=1e-3)
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("Time (seconds)", "Hz")
    assert other.collections[0].get_clim() == mesh.get_clim()
    assert "keeps everything up to 25 Hz and 0.25 cycles/mel" in drawn.alt
    assert svg(drawn.figure) == svg(drawn.figure)


def test_sounds_before_and_after_differ_only_by_the_low_pass(tmp_path: Path) -> None:
    """Both have the length of the stereo file of another rate, 16 kHz and the same scale."""
    stereo = np.stack([hiss(rate=44100), 0.5 * hiss(rate=44100)], axis=1)
    soundfile.write(tmp_path / "hiss.flac", stereo, 44100)
    files = listen(run(), tmp_path / "hiss.flac", tmp_path / "out")
    assert [file.name for file in files] == ["low_pass.png", "low_pass.svg", "before.wav", "after.wav"]
    sounds = []
    for file in files[2:]:
        sound, rate = soundfile.read(file)
        assert (rate, sound.shape) == (16000, (2400,))
        sounds.append(sound)
    assert max(np.abs(sound).max() for sound in sounds) == pytest.approx(0.9, abs=1e-3)
    heard = torch.from_numpy(read_sound(tmp_path / "hiss.flac", 16000).samples)
    before, after = (rebuild(log_mel, LogMel()) for log_mel in spectrograms(classifier(), heard))
    np.testing.assert_allclose(
        sounds[0] / np.abs(sounds).max(), before / np.abs([before, after]).max(), atol=1e-3
    )
    again = listen(run(), tmp_path / "hiss.flac", tmp_path / "again")
    for one, other in zip(files, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_sound_through_the_learned_resolution_has_the_rate_of_its_frontend(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hiss.wav", hiss(rate=16_000), 16_000)
    model = with_frontend("learned_resolution", sample_rate=8000)
    files = listen(run(model), tmp_path / "hiss.wav", tmp_path / "out")
    for file in files[2:]:
        sound, rate = soundfile.read(file)
        assert (rate, sound.shape) == (8000, (1200,))


def test_ticks_and_title_of_the_figure_are_those_of_the_frontend() -> None:
    model = with_frontend("learned_resolution", (8.0, 2.0), sample_rate=44_100, compression="root")
    sound = torch.randn(44_100, generator=torch.Generator().manual_seed(0)) / 10
    drawn = draw_low_pass(model, *spectrograms(model, sound))
    before, after = drawn.figure.axes[:2]
    assert list(before.get_yticks()) == [125, 250, 500, 1000, 2000, 4000, 8000, 16_000]
    assert after.get_title().startswith("after the frontend's low-pass, unchanged up to")
    (mesh,) = before.collections
    rows, columns = np.asarray(mesh.get_array()).shape
    assert (rows, columns) == (128, 44_100 // 110 + 1)  # a frame for the last, incomplete hop too
    power = LogMel(44_100, 25.0, 2.5, 128, 60.0, 21_498.75)(sound).exp()
    assert mesh.get_clim()[1] == pytest.approx(10 * math.log10(power.max()), abs=1)


def test_listen_uses_only_the_beginning_of_a_long_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", hiss(0.3), 16000)
    files = listen(run(), tmp_path / "long.wav", tmp_path, seconds=0.1)
    assert soundfile.info(files[-1]).frames == 1600


def test_listen_reports_a_clear_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hiss.wav", hiss(), 16000)
    with pytest.raises(UserError, match="runs/a downsamples by max, which has no low-pass window"):
        listen(run(downsampling="max"), tmp_path / "hiss.wav", tmp_path)
    for kind in ("pcen", "leaf"):
        sentence = (
            f"the frontend of runs/a is {kind}, from which no sound can be rebuilt: give a run with log_mel"
        )
        with pytest.raises(UserError, match=sentence):
            listen(run(with_frontend(kind)), tmp_path / "hiss.wav", tmp_path)
    with pytest.raises(UserError, match=r"nothing\.wav is missing or not a file"):
        listen(run(), tmp_path / "nothing.wav", tmp_path)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(UserError, match=r"text\.wav cannot be read as sound"):
        listen(run(), tmp_path / "text.wav", tmp_path)
    soundfile.write(tmp_path / "late.wav", np.concatenate([np.zeros(4000), hiss()]), 16000)
    with pytest.raises(UserError, match=r"late\.wav is silent in its first 0\.2 seconds"):
        listen(run(), tmp_path / "late.wav", tmp_path, seconds=0.2)
    assert not list(tmp_path.glob("*.png"))


def test_command_writes_the_sounds_beside_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, checkpoint, sound = classifier(), str(tmp_path / "a.ckpt"), str(tmp_path / "hiss.wav")
    weights = {f"classifier.{name}": value for name, value in model.state_dict().items()}
    torch.save({"classifier": model.configuration(), "state_dict": weights, "global_step": 0}, checkpoint)
    soundfile.write(sound, hiss(), 16000)
    assert main(["strides", checkpoint, "--plot", str(tmp_path / "plots"), "--listen", sound]) == 0
    assert capsys.readouterr().err.endswith("low_pass.png, low_pass.svg, before.wav, after.wav\n")
    assert (tmp_path / "plots" / "after.wav").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([".", "--listen", "a.wav"], "--listen needs --plot FOLDER, where its sounds go"),
        ([".", ".", "--listen", "a.wav", "--plot", "p"], "--listen takes one run, but there are 2"),
        ([".", "--listen", "nowhere.wav", "--plot", "p"], "there is no sound file nowhere.wav"),
    ],
)
def test_command_reports_a_clear_error_for_wrong_options(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["strides", *arguments]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"audiostride strides: {sentence}\n")
    assert not list(tmp_path.iterdir())
