"""LEAF against its definition by plain loops, and what its filters hear."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from audiostride import DiffStride1d, Leaf, Pcen, Window, project_
from audiostride.mel_scale import mel_edges

FWHM = 2 * math.sqrt(2 * math.log(2))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tone(hertz: float, seconds: float = 0.5, rate: int = 16000) -> Tensor:
    return torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * rate)) / rate)


def moved(leaf: Leaf, scale: float = 0.2) -> Leaf:
    """Change every parameter of the filters and the low-pass at random."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (leaf.log_centres, leaf.log_widths, leaf.low_pass):
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator) * parameter.abs())
    return leaf


def at_every_sample(leaf: Leaf) -> Leaf:
    """Return a copy that computes the power of its filters at every sample."""
    whole = copy.deepcopy(leaf)
    whole.step, whole.low_pass_taps = 1, 2 * (leaf.taps // 2) + 1
    return whole


def by_loops(leaf: Leaf, x: np.ndarray) -> np.ndarray:
    """Return `Leaf.energy` (frames, filters) of a waveform (samples,), with its step, in float64."""
    centres, widths = (values.detach().double().numpy() for values in (leaf.centres, leaf.widths))
    deviations = leaf.low_pass.detach().double().clamp(0.05, 0.5).numpy() * (leaf.taps // 2)
    half, frames = leaf.taps // 2, len(x) // leaf.hop
    padded = np.pad(x, 4 * leaf.taps)
    energy = np.zeros((frames, leaf.channels))
    for n in range(leaf.channels):
        t = np.arange(-half, half + 1)
        gabor = np.exp(1j * centres[n] * t) * np.exp(-(t**2) / (2 * widths[n] ** 2))
        gabor /= math.sqrt(2 * math.pi) * widths[n]
        for i in range(frames):
            middle = i * leaf.hop + leaf.hop // 2
            total = weights = 0.0
            for tau in range(-(half // leaf.step) * leaf.step, half + 1, leaf.step):
                weight = math.exp(-(tau**2) / (2 * deviations[n] ** 2))
                begin = 4 * leaf.taps + middle + tau - half
                total += weight * abs(np.sum(padded[begin : begin + leaf.taps] * gabor)) ** 2
                weights += weight
            energy[i, n] = total / weights
    return energy


@pytest.mark.parametrize("rate", [4000, 8000, 11025])
def test_energy_agrees_with_its_definition(rate: int) -> None:
    leaf = moved(Leaf(rate, mel_channels=7, f_max=0.45 * rate))
    x = noise(rate // 20)
    expected = by_loops(leaf, x.double().numpy())
    np.testing.assert_allclose(leaf.energy(x).detach().numpy(), expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
@torch.no_grad()
def test_computing_the_power_at_every_sample_changes_it_by_less_than_a_hundredth(rate: int) -> None:
    leaf, x = Leaf(rate, f_max=0.4875 * rate), noise(1, rate // 2)
    x *= 1 + torch.sin(2 * torch.pi * 7 * torch.arange(x.shape[1]) / rate)
    assert leaf.step > 1
    energy, exact = leaf.energy(x), at_every_sample(leaf).energy(x)
    assert ((energy - exact).abs() / exact).mean() < 0.01


@torch.no_grad()
def test_a_tone_in_the_centre_of_a_filter_has_a_quarter_of_its_squared_amplitude() -> None:
    """The real tone is two complex ones of half the amplitude, of which a filter passes one."""
    leaf = Leaf()
    for n in (20, 40, 60):
        hertz = leaf.centres[n].item() * 16000 / (2 * math.pi)
        energy = leaf.energy(0.8 * tone(hertz))[50:150]
        torch.testing.assert_close(energy[:, n], torch.full((100,), 0.8**2 / 4), rtol=0.01, atol=0)
        assert (energy.argmax(1) == n).all()
        far = (leaf.centres.log2() - leaf.centres[n].log2()).abs() > 1
        assert energy[:, far].max() < 1e-3 * energy[:, n].min()


@torch.no_grad()
def test_response_of_a_filter_falls_to_half_at_the_edges_of_its_bandwidth() -> None:
    leaf, hertz = Leaf(), 16000 / (2 * math.pi)
    for n in (30, 50):
        bandwidth = FWHM / leaf.widths[n].item() * hertz
        edge = leaf.centres[n].item() * hertz + bandwidth / 2
        energy = leaf.energy(tone(edge))[50:150, n].mean()
        assert energy.item() == pytest.approx(0.25 / 4, rel=0.05)  # half of the amplitude


def test_filters_begin_as_those_of_mel_channels() -> None:
    """The amplitude of LEAF's mel filter is the square root of a triangle: above 1/2 on 3/4 of its base."""
    leaf, hertz = Leaf(), 16000 / (2 * math.pi)
    edges = np.array(mel_edges(64, 60, 7800))
    np.testing.assert_allclose(leaf.centres.detach() * hertz, edges[1:-1], rtol=1e-5)
    np.testing.assert_allclose(
        FWHM / leaf.widths.detach() * hertz, 0.75 * (edges[2:] - edges[:-2]), rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(1600,), (1, 1600), (2, 3, 1600), (0, 1600)])
def test_takes_waveforms_of_any_shape(shape: tuple[int, ...]) -> None:
    leaf, x = Leaf(), noise(*shape)
    y = leaf(x)
    assert y.shape == (*shape[:-1], 10, 64)
    if x.numel():
        torch.testing.assert_close(y.reshape(-1, 10, 64)[0], leaf(x.reshape(-1, 1600)[0]))


def test_int16_means_the_same_as_floating_point() -> None:
    x = (noise(1, 8000) * 32768).round()
    torch.testing.assert_close(Leaf()(x.short()), Leaf()(x / 32768))


@torch.no_grad()
def test_a_click_is_loudest_in_the_frame_of_its_hop() -> None:
    for rate in (8000, 11025, 16000):
        leaf = Leaf(rate, f_max=0.45 * rate)
        x = torch.zeros(80 * leaf.hop)
        x[leaf.hop * 40 + leaf.hop // 2] = 1.0
        energy = leaf.energy(x).sum(1)
        assert energy.argmax() == 40
        torch.testing.assert_close(energy[39], energy[41], rtol=0.01, atol=0)


@torch.no_grad()
def test_a_shift_by_a_hop_shifts_the_energy_by_a_frame() -> None:
    leaf, x = Leaf(), noise(1, 8000)
    shifted = torch.nn.functional.pad(x, (leaf.hop, 0))[:, : x.shape[1]]
    before, after = leaf.energy(x), leaf.energy(shifted)
    torch.testing.assert_close(after[:, 21:-20], before[:, 20:-21], rtol=1e-4, atol=1e-9)


def test_is_the_low_pass_a_diffstride_layer_and_pcen_in_this_order() -> None:
    leaf, x = Leaf(hop_ms=7.0, smoothness=2.0), noise(2, 16000)
    layer = DiffStride1d(2.8, dim=-2, window=Window(2.0, "inside"))
    pcen = Pcen(64, 1000 / 7.0, gain=0.96, time_s=0.25, floor=1e-12)
    expected = pcen(layer(leaf.energy(x)).clamp(min=1e-7))
    torch.testing.assert_close(leaf(x), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(leaf.features(x), expected[:, None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100])
@pytest.mark.parametrize("hop_ms", [3.0, 7.0, 10.0, 33.0])
def test_size_is_that_of_the_result(rate: int, hop_ms: float) -> None:
    leaf = Leaf(rate, hop_ms=hop_ms, mel_channels=8, f_max=0.45 * rate)
    for samples in (leaf.hop, 800, 1999, 8000):
        assert leaf(torch.zeros(1, samples)).shape[1:] == leaf.size(samples)
        assert leaf.energy(torch.zeros(samples)).shape[0] == leaf.frames(samples)
    assert leaf.size(60 * rate)[0] == pytest.approx(60_000 / hop_ms, rel=0.002)


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 250_000])
def test_dense_hop_is_a_multiple_of_the_step_and_close_to_what_is_asked_for(rate: int) -> None:
    leaf = Leaf(rate, f_max=0.4875 * rate)
    assert leaf.hop % leaf.step == 0
    assert leaf.hop == pytest.approx(rate * 2.5e-3, rel=0.01, abs=0.5)


def small() -> Leaf:
    return moved(Leaf(2000, mel_channels=4, f_max=900, hop_ms=7.5), 0.05)


@pytest.mark.parametrize("name", ["log_centres", "log_widths", "low_pass"])
def test_gradients_of_the_filters_agree_with_finite_differences(name: str) -> None:
    """In float64, which a frontend never becomes by itself."""
    leaf = small()
    leaf._apply = torch.nn.Module._apply.__get__(leaf)  # type: ignore[method-assign]
    x = noise(200).double()
    leaf.double()
    parameter = leaf.get_parameter(name)

    def loss() -> Tensor:
        padded = torch.nn.functional.pad(x[None, None], (2 * leaf.taps, 2 * leaf.taps))
        real, imaginary = torch.nn.functional.conv1d(padded, leaf.filters()[:, None], stride=leaf.step).chunk(
            2, 1
        )
        energy = torch.nn.functional.conv1d(real**2 + imaginary**2, leaf.low_pass_filters(), groups=4)
        return (1e3 * energy).tanh().sum()

    (gradient,) = torch.autograd.grad(loss(), parameter)
    for n in range(4):
        losses = []
        for change in (-1e-6, 1e-6):
            with torch.no_grad():
                parameter[n] += change
                losses.append(loss().item())
                parameter[n] -= change
        assert gradient[n].item() == pytest.approx((losses[1] - losses[0]) / 2e-6, rel=1e-5, abs=1e-8)


def test_everything_learns() -> None:
    leaf = Leaf()
    leaf(noise(2, 8000)).square().sum().backward()
    for name, parameter in leaf.named_parameters():
        assert parameter.grad is not None
        assert (parameter.grad != 0).all(), name


def test_a_learned_hop_finds_the_rate_of_the_sound() -> None:
    """The stride shrinks if a target holds faster changes than it passes."""
    x = noise(1, 8000) * (1 + torch.sin(2 * torch.pi * 30 * torch.arange(8000) / 16000))
    fine, coarse = Leaf(hop_ms=10.0), Leaf(hop_ms=40.0)
    target = fine(x).detach().std(1).mean()
    optimizer = torch.optim.Adam([coarse.resampling.stride], lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        (coarse(x).std(1).mean() - target).square().backward()
        optimizer.step()
        project_(coarse)
    assert coarse.strides.tolist()[0] < 14
    assert coarse.strides.tolist()[1] == 1


def test_filters_stay_in_their_ranges_and_can_come_back() -> None:
    leaf = Leaf()
    for value in (-20.0, 20.0):
        with torch.no_grad():
            for parameter in (leaf.log_centres, leaf.log_widths, leaf.low_pass):
                parameter.fill_(value)
        assert (leaf.centres <= math.pi + 1e-6).all()
        assert ((leaf.widths >= leaf.shortest * 0.999) & (leaf.widths <= leaf.longest * 1.001)).all()
        x = noise(1, 4000).requires_grad_()
        y = leaf(x)
        assert y.isfinite().all()
        y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in leaf.parameters())
    assert leaf.log_widths.grad is not None
    assert (leaf.log_widths.grad != 0).any()


def test_silence_is_finite_and_so_is_its_gradient() -> None:
    leaf = Leaf()
    silence = leaf(torch.zeros(2, 4000))
    silence.sum().backward()
    assert silence.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in leaf.parameters())


def test_bad_waveforms_report_a_clear_error() -> None:
    with pytest.raises(ValueError, match="at least 40 samples, but has 39"):
        Leaf()(torch.zeros(2, 39))
    with pytest.raises(ValueError, match=r"floating point or int16, but got torch\.int64"):
        Leaf()(torch.zeros(16000, dtype=torch.long))
    with pytest.raises(ValueError, match="single number"):
        Leaf()(torch.tensor(0.5))
