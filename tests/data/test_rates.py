"""Prepared corpora of several sample rates: what is refused, and what follows the rate."""

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
from helpers.counting_store import counting_store
from helpers.noise_corpus import noise, write_class_folders

from audiostride import cli
from audiostride.config.settings import (
    AugmentationSettings,
    DataSettings,
    PrepareSettings,
    TrainingSettings,
)
from audiostride.corpora import DATASETS
from audiostride.data.augmentation import Augmentation
from audiostride.data.datamodule import WindowsModule
from audiostride.data.rates import check_rate_of_other, check_rates
from audiostride.data.selection import select
from audiostride.data.store import Store, open_store
from audiostride.data.windows import TrainingWindows
from audiostride.errors import UserError
from audiostride.prepare.dataset import prepare_dataset
from audiostride.training.evaluate import evaluate


def at(store: Store, rate: int, place: str, **card: Any) -> Store:
    """Return a store in another place whose card says another rate."""
    return replace(store, folder=Path(place), card=store.card | {"sample_rate": rate} | card)


def module(*stores: Store, augmentation: AugmentationSettings | None = None, **data: Any) -> WindowsModule:
    settings = DataSettings([str(store.folder) for store in stores], **data)
    return WindowsModule(settings, TrainingSettings(), augmentation)


def test_equal_rates_pass(store: Store) -> None:
    check_rates([store])
    check_rates([store, store], 16000)
    check_rates([at(store, 250000, "bats")], 250000)
    check_rate_of_other(store, 16000, "runs/x")


def test_rate_that_differs_from_the_frontend_names_both_remedies(store: Store) -> None:
    bats = at(store, 250000, "data/prepared/bats", command=["folder", "bats"])
    expected = (
        "data/prepared/bats has 250000 Hz, but frontend.sample_rate is 16000: give --frontend.sample_rate "
        "250000, or prepare the corpus again: audiostride prepare folder bats --sample_rate=16000 "
        "--out=data/prepared/bats"
    )
    for stores in ([bats], [bats, bats]):
        with pytest.raises(UserError) as caught:
            check_rates(stores, 16000)
        assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("rates", "frontend_rate", "odd", "rate"),
    [
        ((16000, 8000), None, "data/1", 16000),
        ((8000, 16000, 16000), None, "data/0", 16000),
        ((16000, 8000), 8000, "data/0", 8000),
        ((16000, 16000, 8000), 8000, "data/0", 8000),
        ((16000, 8000), 44100, "data/1", 16000),
    ],
)
def test_odd_corpus_is_the_one_to_prepare_again(
    rates: tuple[int, ...], frontend_rate: int | None, odd: str, rate: int, store: Store
) -> None:
    stores = [at(store, each, f"data/{n}", command=["folder", "x"]) for n, each in enumerate(rates)]
    with pytest.raises(UserError) as caught:
        check_rates(stores, frontend_rate)
    message = str(caught.value)
    assert message.startswith(f"{odd} has ")
    assert message.endswith(
        f"prepare it again at that rate: audiostride prepare folder x --sample_rate={rate} --out={odd}"
    )


def test_card_without_a_command_still_leads_to_a_clear_error(store: Store) -> None:
    unknown = at(store, 8000, "data/0", corpus="mine")
    with pytest.raises(UserError, match=r"audiostride prepare … --sample_rate=16000 --out=data/0$"):
        check_rates([store, unknown])


def test_command_in_the_error_makes_the_rates_agree(
    store: Store, working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_class_folders(Path("my calls"))
    command = ["prepare", "folder", "my calls", "--group", "/(s[0-9]+)_", "--task=call", "--out=calls"]
    assert cli.main([*command, "--sample_rate=44100"]) == 0
    train = ["train", "small", "--data.corpus", str([str(store.folder), "calls"])]
    capsys.readouterr()
    assert cli.main(train) == 1
    message = capsys.readouterr().err
    assert message.startswith(
        f"audiostride train: calls has 44100 Hz, but {store.folder} has 16000 Hz: prepare it again at that "
    )
    assert message.count("\n") == 1
    assert not Path("runs").exists()
    again = shlex.split(message.partition("at that rate: ")[2])
    assert cli.main(again[1:]) == 0
    calls = open_store(Path("calls"))
    assert calls.sample_rate == 16000
    assert calls.tasks == {"call": ["a", "b"]}
    check_rates([store, calls])


def test_corpora_of_several_rates_are_refused(store: Store, tmp_path: Path) -> None:
    other = counting_store(tmp_path, [9000] * 4, sample_rate=8000)
    with pytest.raises(
        UserError, match=r"out has 8000 Hz, but .* has 16000 Hz: prepare it again at that rate"
    ):
        module(store, other)


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 250000])
@pytest.mark.parametrize("window_s", [0.1, 0.33, 1.0])
def test_window_and_shift_are_as_long_as_their_seconds_at_the_rate(
    rate: int, window_s: float, tmp_path: Path
) -> None:
    counting = counting_store(tmp_path, [3000, 2000, 3007], sample_rate=rate)
    shift = AugmentationSettings(shift_s=0.01)
    data = module(counting, augmentation=shift, window_s=window_s, holdout=0)
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        accumulate_grad_batches=1, world_size=1, global_step=0, global_rank=0
    )
    training = data.train_dataloader().dataset
    assert isinstance(training, TrainingWindows)
    assert (training.window, training.shift) == (round(window_s * rate), round(0.01 * rate))
    evaluated = next(iter(data.evaluation_dataloader("train")))
    assert evaluated["waveform"].shape[1] == training.window


def test_windows_reach_over_the_ends_by_the_shift_at_44_1_khz(tmp_path: Path) -> None:
    length, window, shift = 30000, 44100 // 4, round(0.05 * 44100)
    counting = counting_store(tmp_path, [length], sample_rate=44100)
    windows = TrainingWindows(select(counting, "train", counting.tasks), 64, window, shift)
    first = [row for number in range(40) for row in windows[number]["waveform"].numpy()]
    before = [int((row == 0).argmin()) for row in first if row[0] == 0]
    after = [int((row[::-1] == 0).argmin()) for row in first if row[-1] == 0]
    assert 0.9 * shift < max(before) <= shift
    assert 0.9 * shift < max(after) <= shift


def test_noise_is_read_at_the_rate_of_the_corpus(tmp_path: Path) -> None:
    counting = counting_store(tmp_path / "corpus", [50000] * 3, sample_rate=44100)
    (tmp_path / "noise").mkdir()
    soundfile.write(tmp_path / "noise" / "hiss.wav", noise(16000, 0), 16000)
    data = module(counting, augmentation=AugmentationSettings(noise=str(tmp_path / "noise")), holdout=0)
    assert data.augment is not None
    assert data.augment.noise is not None
    assert data.augment.noise.lengths.tolist() == [44100]


def test_noise_of_another_rate_is_refused(store: Store, tmp_path: Path) -> None:
    settings = AugmentationSettings(noise=str(store.folder))
    with pytest.raises(
        UserError,
        match=rf"prepared has 16000 Hz, but augmentation\.noise takes 44100 Hz: give a corpus of that rate "
        rf"instead, made by audiostride prepare speech_commands .* --sample_rate=44100 "
        rf"--out={store.folder}_44100$",
    ):
        Augmentation(settings, 44100).open_noise()


def test_model_is_not_tested_on_a_corpus_of_another_rate(
    trained: Path, words: Path, working_folder: Path
) -> None:
    dataset = DATASETS["speech_commands"]
    prepare_dataset(dataset, words, Path("slow"), PrepareSettings(sample_rate=8000))
    with pytest.raises(UserError) as caught:
        evaluate(trained, corpus="slow")
    command = f"audiostride prepare speech_commands {words} --sample_rate=16000 --out=slow_16000"
    assert str(caught.value) == (
        f"slow has 8000 Hz, but {trained} takes 16000 Hz: give a corpus of that rate instead, made by "
        f"{command}"
    )
    assert cli.main(shlex.split(command)[1:]) == 0
    assert evaluate(trained, corpus="slow_16000")[0]["recordings"] == 6


def test_run_is_not_tested_after_its_corpus_was_prepared_at_another_rate(
    trained: Path, store: Store, tmp_path: Path
) -> None:
    source = Path(store.card["folder"])
    changed = tmp_path / "changed"
    prepare_dataset(DATASETS["speech_commands"], source, changed, PrepareSettings(sample_rate=8000))
    config = trained / "config.yaml"
    config.write_text(config.read_text().replace(str(store.folder), str(changed)))
    with pytest.raises(UserError, match=r"the corpus .*changed has changed since"):
        evaluate(trained)
