"""Random draws for the augmentation, and what they do to waveforms and spectrograms."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from helpers.tiny_run import assert_same, tiny, weights
from torch import Tensor

from audiostride.config.settings import AugmentationSettings
from audiostride.data.augmentation import Augmentation, augment, mask
from audiostride.data.selection import select
from audiostride.data.store import Store
from audiostride.data.windows import TrainingWindows
from audiostride.errors import UserError
from audiostride.training.fit import train


def draw(windows: int = 500, length: int = 800, seed: int = 0, **settings: Any) -> dict[str, Tensor]:
    augmentation = Augmentation(AugmentationSettings(**settings), 16000)
    return augmentation.draw(np.random.default_rng(seed), windows, length)


def tone(windows: int = 500, length: int = 800) -> Tensor:
    return 0.2 * torch.sin(torch.arange(length) / 5.0).expand(windows, length)


def decibels(a: Tensor, b: Tensor) -> Tensor:
    return 10 * torch.log10(a.square().mean(1) / b.square().mean(1))


@pytest.fixture
def noise(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "hiss.wav", 0.1 * rng.standard_normal(4000), 16000)
    soundfile.write(tmp_path / "hum.flac", 0.5 * np.sin(np.arange(500) / 20), 8000)
    return str(tmp_path)


def runs(row: Tensor) -> list[int]:
    """Lengths of the stretches of zeros."""
    text = "".join("0" if value == 0 else "1" for value in row.tolist())
    return [len(run) for run in text.split("1") if run]


def test_nothing_is_drawn_by_default() -> None:
    assert not AugmentationSettings().draws
    assert draw() == {}


def test_gain_is_uniform_in_decibels() -> None:
    sound = tone(5000, 80)
    change = decibels(augment(sound, draw(5000, gain_db=6.0)), sound)
    assert change.abs().max() <= 6.001
    quartiles = torch.quantile(change, torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quartiles, torch.tensor([-3.0, 0.0, 3.0]), atol=0.5, rtol=0)


def test_gain_beyond_full_scale_clips_as_a_recording_does() -> None:
    sound, gain = torch.tensor([[0.2, -0.4, 0.6], [0.2, -0.4, 0.6]]), torch.tensor([2.0, 0.5])
    expected = torch.tensor([[0.4, -0.8, 1.0], [0.1, -0.2, 0.3]])
    torch.testing.assert_close(augment(sound, {"gain": gain}), expected)


def test_noise_has_the_requested_level_below_the_window(noise: str) -> None:
    sound = tone() * torch.linspace(0.01, 4, 500)[:, None]
    added = augment(sound, draw(noise=noise, noise_snr_db=(5.0, 15.0), noise_share=1.0)) - sound
    # The hum is shorter than a window and silent after its end, which is part of its power.
    ratio = decibels(sound, added)
    assert ((ratio >= 4.99) & (ratio <= 15.01)).all()
    assert ratio.std() > 2


def test_noise_is_added_to_a_fraction_of_the_windows(noise: str) -> None:
    sound = tone()
    changed = (augment(sound, draw(noise=noise, noise_share=0.3)) != sound).any(1)
    assert 0.24 < changed.float().mean() < 0.36


def test_noise_may_come_from_a_prepared_corpus(store: Store) -> None:
    drawn = draw(noise=str(store.folder), windows=50)["noise"]
    assert drawn.dtype == torch.int16
    everything = store.waveforms.tobytes()
    whole = [row for row in drawn.numpy() if (row != 0).all()]
    assert len(whole) > 10
    assert all(row.tobytes() in everything for row in whole)


def test_noise_of_a_prepared_corpus_is_its_training_split(store: Store) -> None:
    noise = Augmentation(AugmentationSettings(noise=str(store.folder)), 16000).noise
    assert noise is not None
    assert np.array_equal(noise.begins, store.starts[:-1][store.splits == 0])


def test_noise_shorter_than_a_window_lies_anywhere_in_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "short.wav", 0.1 + 0.01 * rng.standard_normal(100), 16000)
    drawn = draw(300, 200, noise=str(tmp_path))["noise"].numpy()
    begins = (drawn != 0).argmax(1)
    assert begins.min() < 10
    assert begins.max() > 90
    assert ((drawn != 0).sum(1) == 100).all()


def test_silent_windows_stay_silent(noise: str) -> None:
    silence = torch.zeros(20, 800)
    assert not augment(silence, draw(20, noise=noise, gain_db=6.0, noise_share=1.0)).any()


@pytest.mark.parametrize(
    ("place", "what"), [("nowhere", "is missing"), (".", "holds no sound"), ("file", "is not a folder")]
)
def test_path_without_noise_reports_a_clear_error(
    place: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(UserError, match=f"noise is {place}, which {what}: give a prepared"):
        draw(noise=place)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"broken\.wav cannot be read as sound"):
        draw(noise=str(tmp_path))


def test_mixup_adds_windows_by_their_weights() -> None:
    sound = torch.randn(64, 800, generator=torch.Generator().manual_seed(0))
    draws = draw(64, mixup=0.4)
    mixed = augment(sound, draws)
    for row in range(64):
        other, weight = int(draws["partner"][row]), float(draws["weight"][row])
        torch.testing.assert_close(mixed[row], weight * sound[row] + (1 - weight) * sound[other])
    assert sorted(draws["partner"].tolist()) == list(range(64))


def test_mixup_weights_have_the_spread_of_the_beta_distribution() -> None:
    weight = draw(20_000, mixup=0.4)["weight"]
    assert weight.min() >= 0.5
    assert float((weight - 0.5).square().mean()) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.005)


def test_int16_and_floating_point_windows_are_augmented_alike() -> None:
    whole = torch.randint(-9999, 9999, (8, 800), dtype=torch.int16)
    draws = draw(8, gain_db=3.0, mixup=0.3)
    torch.testing.assert_close(augment(whole, draws), augment(whole.float() / 32768, draws))


def test_masks_cover_whole_frames_and_channels_and_nothing_else() -> None:
    settings = AugmentationSettings(
        time_masks=1, time_mask_s=0.2, frequency_masks=1, frequency_mask_channels=10
    )
    draws = Augmentation(settings, 16000).draw(np.random.default_rng(0), 300, 16000)
    masked = mask(torch.ones(300, 1, 100, 64), draws, settings, 100)[:, 0]
    frames = (masked == 0).all(2)
    channels = (masked == 0).all(1)
    assert torch.equal(masked == 0, frames[:, :, None] | channels[:, None, :])
    widths = [sum(runs(1 - row.float())) for row in frames]
    assert all(len(runs(1 - row.float())) <= 1 for row in frames)
    assert set(widths) == set(range(21))
    assert {int(count) for count in channels.sum(1)} == set(range(11))
    assert (frames.float().mean(0) > 0).all()
    assert (channels.float().mean(0) > 0).all()


def test_several_masks_may_lie_apart() -> None:
    settings = AugmentationSettings(time_masks=3, time_mask_s=0.05)
    draws = Augmentation(settings, 16000).draw(np.random.default_rng(0), 200, 16000)
    frames = (mask(torch.ones(200, 1, 100, 4), draws, settings, 100) == 0).all((1, 3))
    assert max(len(runs(1 - row.float())) for row in frames) == 3
    assert frames.sum(1).max() <= 15


def test_mask_wider_than_the_spectrogram_is_clipped() -> None:
    settings = AugmentationSettings(time_masks=1, time_mask_s=5.0)
    draws = Augmentation(settings, 16000).draw(np.random.default_rng(0), 100, 16000)
    covered = (mask(torch.ones(100, 1, 10, 4), draws, settings, 100) == 0).all((1, 3)).sum(1)
    assert set(covered.tolist()) == set(range(11))


def test_all_images_of_a_window_have_the_same_masks() -> None:
    settings = AugmentationSettings(time_masks=2, frequency_masks=1)
    draws = Augmentation(settings, 16000).draw(np.random.default_rng(0), 50, 16000)
    masked = mask(torch.ones(50, 3, 100, 64), draws, settings, 100)
    assert torch.equal(masked, masked[:, :1].expand_as(masked))
    assert torch.equal(masked[:, :1], mask(torch.ones(50, 1, 100, 64), draws, settings, 100))


@pytest.mark.parametrize("frame_rate", [50, 100, 400])
def test_masks_last_as_long_at_any_frame_rate(frame_rate: int) -> None:
    settings = AugmentationSettings(time_masks=1, time_mask_s=0.2)
    draws = Augmentation(settings, 16000).draw(np.random.default_rng(0), 2000, 16000)
    covered = (mask(torch.ones(2000, 1, frame_rate, 4), draws, settings, frame_rate) == 0).all((1, 3))
    assert covered.sum(1).max() == frame_rate // 5
    assert float(covered.float().mean()) == pytest.approx(0.1, abs=0.01)


def test_draws_depend_only_on_seed_and_number(store: Store, noise: str) -> None:
    settings = AugmentationSettings(
        gain_db=3.0, noise=noise, mixup=0.2, time_masks=1, frequency_masks=1, shift_s=0.1
    )
    chosen = select(store, "train", store.tasks)

    def windows(seed: int) -> TrainingWindows:
        return TrainingWindows(chosen, 4, 8000, seed=seed, augmentation=Augmentation(settings, 16000))

    first, again, other = windows(3), windows(3), windows(4)
    first[0]
    for name, values in first[5].get("draws", {}).items():
        assert values.equal(again[5]["draws"][name]), name
        if values.is_floating_point():
            assert not values.equal(first[6]["draws"][name]), name
            assert not values.equal(other[5]["draws"][name]), name
    assert first[5]["waveform"].equal(
        TrainingWindows(chosen, 4, 8000, seed=3)[5]["waveform"]
    )  # the windows themselves are cut the same with and without


def test_augmented_run_is_the_same_with_workers(store: Store, noise: str, tmp_path: Path) -> None:
    recipe = tiny(store, steps=4)
    recipe.augmentation = AugmentationSettings(
        gain_db=3.0, noise=noise, mixup=0.2, time_masks=2, frequency_masks=2, shift_s=0.1
    )
    train(recipe, tmp_path / "alone")
    recipe.data.workers = 2
    train(recipe, tmp_path / "helped")
    assert_same(weights(tmp_path / "alone"), weights(tmp_path / "helped"))
    train(tiny(store, steps=4), tmp_path / "plain")
    assert any(
        not value.equal(weights(tmp_path / "alone")[name])
        for name, value in weights(tmp_path / "plain").items()
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gain_db": -1.0}, "augmentation.gain_db must be a number from 0 to 60, but is -1"),
        ({"noise_share": 1.5}, "augmentation.noise_share must be a number from 0 to 1, but is 1.5"),
        ({"noise_snr_db": (10.0, 0.0)}, "augmentation.noise_snr_db must be lowest and highest, but is 10, 0"),
        ({"time_masks": -1}, "augmentation.time_masks must be a whole number from 0 to 100"),
        ({"frequency_mask_channels": 0}, "augmentation.frequency_mask_channels must be a whole number"),
        ({"mixup": float("nan")}, "augmentation.mixup must be a finite number, at least 0, but is nan"),
    ],
)
def test_settings_out_of_range_report_a_clear_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentationSettings(**settings)
