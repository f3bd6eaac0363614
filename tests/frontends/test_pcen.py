"""Per-channel energy normalisation against librosa and SciPy, and that the level hardly matters to it."""

import itertools
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiostride import Pcen, PcenMel
from audiostride.frontends.pcen import smooth

RATE = 100.0


def energies(frames: int = 200, channels: int = 3, seed: int = 0) -> NDArray[np.float64]:
    """Energies that rise and fall over several powers of ten."""
    rng = np.random.default_rng(seed)
    return 10 ** np.cumsum(rng.normal(0, 0.3, (2, frames, channels)), axis=1)


def by_librosa(energy: NDArray[np.float64], time_s: float, gain: float, **options: Any) -> NDArray[Any]:
    """Return what librosa computes if its smoothing begins with the energy of the first frame."""
    frames = time_s * RATE
    s = (np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
    return librosa.pcen(
        energy, b=s, gain=gain, axis=-2, zi=(1 - s) * energy[..., :1, :], sr=1, hop_length=1, **options
    )


CASES = list(
    itertools.product((0.06, 0.4, 2.0), (0.5, 0.98), (0.5, 2.0, 10.0), (0.25, 0.5, 0.9), (1e-6, 1e-2))
)


@pytest.mark.parametrize(("time_s", "gain", "bias", "power", "floor"), CASES)
def test_agrees_with_librosa(time_s: float, gain: float, bias: float, power: float, floor: float) -> None:
    energy = energies()
    expected = by_librosa(energy, time_s, gain, bias=bias, power=power, eps=floor)
    pcen = Pcen(3, RATE, gain=gain, bias=bias, power=power, time_s=time_s, floor=floor).double()
    np.testing.assert_allclose(pcen(torch.tensor(energy)).detach().numpy(), expected, rtol=1e-5, atol=1e-7)


def test_defaults_are_those_of_librosa() -> None:
    energy = energies()
    s = Pcen(1, RATE, learned=False).smoothing.item()
    expected = librosa.pcen(energy, sr=16000, hop_length=160, axis=-2, zi=(1 - s) * energy[..., :1, :])
    ours = Pcen(3, RATE, learned=False)(torch.tensor(energy, dtype=torch.float32))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3, 100, 1000])
@pytest.mark.parametrize("smoothing", [0.001, 0.025, 0.5, 1.0])
def test_smoothing_is_the_recursion(frames: int, smoothing: float) -> None:
    energy = energies(frames)
    expected = np.empty_like(energy)
    expected[:, 0] = energy[:, 0]
    for t in range(1, frames):
        expected[:, t] = (1 - smoothing) * expected[:, t - 1] + smoothing * energy[:, t]
    ours = smooth(torch.tensor(energy), torch.full((3,), smoothing, dtype=torch.float64))
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-12)
    by_scipy, _ = scipy.signal.lfilter(
        [smoothing], [1, smoothing - 1], energy, axis=1, zi=(1 - smoothing) * energy[:, :1]
    )
    np.testing.assert_allclose(ours.numpy(), by_scipy, rtol=1e-12)


def test_each_channel_has_its_own_smoothing() -> None:
    energy, smoothing = torch.tensor(energies()), torch.tensor([0.01, 0.1, 0.7], dtype=torch.float64)
    together = smooth(energy, smoothing)
    for channel in range(3):
        alone = smooth(energy[..., channel : channel + 1], smoothing[channel : channel + 1])
        torch.testing.assert_close(together[..., channel : channel + 1], alone)


def test_gradients_agree_with_finite_differences() -> None:
    pcen = Pcen(2, RATE, time_s=0.05).double()
    energy = torch.tensor(energies(5, 2), requires_grad=True)
    parameters = dict(pcen.named_parameters())
    assert len(parameters) == 4

    def output(energy: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(pcen, dict(zip(parameters, values, strict=True)), (energy,))

    values = [value.detach().clone().requires_grad_() for value in parameters.values()]
    assert torch.autograd.gradcheck(output, (energy, *values))


def test_a_fixed_normalisation_has_no_parameters_and_equals_an_untrained_learned_one() -> None:
    learned, fixed = Pcen(3, RATE), Pcen(3, RATE, learned=False)
    energy = torch.tensor(energies(), dtype=torch.float32)
    assert not list(fixed.parameters())
    torch.testing.assert_close(learned(energy), fixed(energy), rtol=0, atol=0)


def test_learned_parameters_carry_over_to_a_fixed_normalisation() -> None:
    learned, fixed = Pcen(3, RATE), Pcen(3, RATE, learned=False)
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter.add_(torch.randn(3, generator=torch.Generator().manual_seed(0)))
    fixed.load_state_dict(learned.state_dict())
    energy = torch.tensor(energies(), dtype=torch.float32)
    torch.testing.assert_close(learned(energy), fixed(energy), rtol=0, atol=0)


@pytest.mark.parametrize("value", [-1e4, -20.0, 20.0, 1e4])
def test_ranges_hold_wherever_an_optimiser_goes(value: float) -> None:
    pcen = Pcen(3, RATE)
    with torch.no_grad():
        for parameter in pcen.parameters():
            parameter.fill_(value)
    assert ((pcen.smoothing > 0) & (pcen.smoothing < 1)).all()
    silence_first = torch.cat([torch.zeros(2, 5, 3), torch.tensor(energies(), dtype=torch.float32)], 1)
    normalised = pcen(silence_first)
    assert normalised.isfinite().all()
    assert (normalised >= 0).all()
    normalised.sum().backward()
    for name, parameter in pcen.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all(), name


def test_a_parameter_beyond_its_range_keeps_a_gradient() -> None:
    pcen = Pcen(1, RATE)
    with torch.no_grad():
        for parameter in pcen.parameters():
            parameter.fill_(-16.0)
    pcen(torch.tensor(energies(channels=1), dtype=torch.float32)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs() > 0 for parameter in pcen.parameters())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"gain": 1.0}, "gain and power must be between 0 and 1, but are 1 and 0.5"),
        ({"power": 0.0}, "gain and power must be between 0 and 1, but are 0.98 and 0"),
        (
            {"bias": 0.0},
            "bias, time_s, floor and frame_rate must be above 0, but are 0, 0.4, 1e-06 and 100",
        ),
        ({"time_s": -1.0}, "but are 2, -1, 1e-06 and 100"),
    ],
)
def test_arguments_out_of_range_report_a_clear_error(arguments: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Pcen(3, RATE, **arguments)  # type: ignore[arg-type]


def words(level: float) -> Tensor:
    """Bursts of noise three times a second, as the syllables of speech."""
    generator = torch.Generator().manual_seed(0)
    envelope = torch.sin(torch.arange(32000) * (2 * torch.pi * 3 / 16000)).clamp(min=0) + 0.03
    return level * envelope * torch.randn(32000, generator=generator)


@torch.no_grad()
def test_a_sound_20_decibels_softer_looks_nearly_the_same() -> None:
    pcen = PcenMel()
    loud, soft = pcen(words(0.1)), pcen(words(0.01))
    change = (loud - soft).abs().mean()
    assert change < 0.1 * loud.std()


@torch.no_grad()
def test_a_rise_of_the_level_is_forgotten_after_the_time_constant() -> None:
    hiss = 0.01 * torch.randn(10 * 16000, generator=torch.Generator().manual_seed(0))
    hiss[5 * 16000 :] *= 10
    seconds = PcenMel()(hiss).mean(1).unflatten(0, (10, 100)).mean(1)
    assert seconds[5] > 1.15 * seconds[4]
    torch.testing.assert_close(seconds[9], seconds[4], rtol=0.05, atol=0)


def test_normalises_the_power_in_mel_channels() -> None:
    frontend, x = PcenMel(hop_ms=5, mel_channels=40), words(0.1)
    energy = frontend.power(x)
    torch.testing.assert_close(frontend(x), Pcen(40, 200.0)(energy))
    assert frontend(x).shape == (400, 40)
    torch.testing.assert_close(frontend.features(x[None]), frontend(x)[None, None])


def test_silence_is_zero_and_its_gradient_finite() -> None:
    frontend = PcenMel()
    silence = frontend(torch.zeros(2, 16000))
    assert not silence.any()
    silence.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in frontend.parameters())
