"""Inputs of the frontend and the classifier that have another shape than usual."""

import pytest
import torch

from audiostride import Classifier, LogMel, SeparableCNN
from audiostride.config.settings import ModelSettings


def classifier() -> Classifier:
    return Classifier({"word": ["yes", "no"]}, ModelSettings((4, 6), ((2, 2), (2, 1)))).eval()


@pytest.mark.parametrize("shape", [(16000,), (2, 1, 16000)])
def test_waveforms_without_a_batch_report_a_clear_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected waveforms \(batch, samples\), but got shape \("):
        classifier()(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(100, 64), (2, 100, 64), (2, 3, 100, 64)])
def test_spectrograms_of_another_shape_report_a_clear_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected spectrograms \(batch, 1, time, mel\), but got shape \("):
        SeparableCNN((4,), ((2, 2),))(torch.zeros(shape))


def test_an_empty_batch_gives_no_logits_and_leaves_the_statistics_alone() -> None:
    model = classifier()
    assert LogMel()(torch.zeros(0, 16000)).shape == (0, 100, 64)
    assert model(torch.zeros(0, 16000))["word"].shape == (0, 2)
    model.train()(torch.zeros(0, 16000, dtype=torch.int16))
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def test_a_single_number_is_no_waveform() -> None:
    with pytest.raises(ValueError, match="single number"):
        LogMel()(torch.tensor(0.5))


@pytest.mark.parametrize("made_there", [False, True])
def test_a_classifier_works_on_the_meta_device(made_there: bool) -> None:
    if made_there:
        with torch.device("meta"):
            model = classifier()
    model = model.to("meta") if made_there else classifier().to("meta")
    assert model(torch.zeros(3, 16000, device="meta"))["word"].shape == (3, 2)
    x, source = 0.1 * torch.randn(3, 16000), classifier()
    if made_there:
        with torch.device("meta"):
            loaded = classifier()
        loaded.to_empty(device="cpu").load_state_dict(source.state_dict())
        torch.testing.assert_close(loaded(x), source(x))
