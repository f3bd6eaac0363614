"""The network and the classifier."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from audiostride import Classifier, SeparableCNN, load
from audiostride.config.settings import ModelSettings
from audiostride.errors import UserError
from audiostride.layers.conv_downsample import Downsampling

SMALL = {"channels": (4, 6), "strides": ((2, 2), (2, 1))}
KINDS = get_args(Downsampling)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_feature_maps_have_the_sizes_of_the_paper_s_network() -> None:
    """7 × 4 where strides are in the convolution, 21 × 19 where a ramp of 4 bins is kept on both sides."""
    assert SeparableCNN(downsampling="strided").sizes(100, 64)[-1] == (7, 4)
    assert SeparableCNN().sizes(100, 64)[-1] == (21, 19)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_of_the_feature_maps(kind: Downsampling) -> None:
    network = SeparableCNN(downsampling=kind, **SMALL)  # type: ignore[arg-type]
    x = noise(2, 1, 37, 21)
    for block, size in zip(network.blocks, network.sizes(37, 21)[1:], strict=True):
        x = block(x)
        assert x.shape[-2:] == size


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_weights_load_into_every_kind(kind: Downsampling) -> None:
    source = SeparableCNN(**SMALL)  # type: ignore[arg-type]
    network = SeparableCNN(downsampling=kind, **SMALL)  # type: ignore[arg-type]
    result = network.load_state_dict(source.state_dict(), strict=False)
    assert not result.missing_keys
    assert all(name.endswith("pool.stride") for name in result.unexpected_keys)


def test_parameter_count_is_that_of_the_layers_by_hand() -> None:
    channels = (64, 128, 256, 256, 512, 512)
    before = (1, *channels[:-1])
    # Weights and biases of both convolutions, scale and shift of both norms, two strides.
    expected = sum(3 * a * b + b + 3 * b * b + b + 4 * b + 2 for a, b in zip(before, channels, strict=True))
    assert sum(p.numel() for p in SeparableCNN().parameters()) == expected


def test_embedding_is_the_maximum_over_time_and_frequency() -> None:
    network = SeparableCNN(**SMALL).eval()  # type: ignore[arg-type]
    x = noise(2, 1, 40, 16)
    torch.testing.assert_close(network(x), network.blocks(x).flatten(2).max(-1).values)


def test_shared_stride_is_one_parameter_per_block() -> None:
    network = SeparableCNN((4,), ((2, 2),), shared=True)
    network(noise(1, 1, 40, 16)).sum().backward()
    strides = [p for name, p in network.named_parameters() if name.endswith("stride")]
    assert len(strides) == 1
    with torch.no_grad():
        strides[0].fill_(3.0)
    assert network.strides[0].tolist() == [3.0, 3.0]


def test_projection_reaches_every_stride() -> None:
    network = SeparableCNN(**SMALL)  # type: ignore[arg-type]
    for name, parameter in network.named_parameters():
        if name.endswith("stride"):
            parameter.data.fill_(-1.0)
    network.project_()
    assert network.strides.tolist() == [[1.0, 1.0]] * 2


def test_every_learned_stride_gets_a_gradient() -> None:
    network = SeparableCNN()
    network(noise(2, 1, 100, 64)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"channels": (4,)}, "one entry per block, but have 1 and 6"),
        ({"channels": (4,), "strides": ((2, 3),), "shared": True}, "equal strides"),
        ({"channels": (4,), "strides": ((2, 2.5),), "downsampling": "max"}, "whole strides, but got 2.5"),
        ({"channels": (4,), "strides": ((2, 0.5),)}, "at least 1, but got 0.5"),
        ({"downsampling": "dilated"}, "must be one of strided"),
    ],
)
def test_bad_arguments_report_a_clear_error(arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SeparableCNN(**arguments)


def classifier() -> Classifier:
    torch.manual_seed(0)
    model = Classifier(
        {"word": ["yes", "no"], "speaker": ["a", "b", "c"]}, ModelSettings((4, 6), ((2, 2), (2, 1)))
    )
    for _ in range(3):  # running statistics that are not the initial ones
        model(0.1 * noise(4, 16000))
    return model.eval()


def with_stride(model: Classifier, stride: float) -> Classifier:
    for name, parameter in model.named_parameters():
        if name.endswith("stride"):
            parameter.data.fill_(stride)
    return model


def save(model: Classifier, file: Path) -> None:
    """As a training checkpoint holds it."""
    weights = {f"classifier.{name}": value for name, value in model.state_dict().items()}
    torch.save({"classifier": model.configuration(), "state_dict": weights, "global_step": 0}, file)


def test_classifier_gives_logits_for_every_task() -> None:
    logits = classifier()(noise(5, 16000))
    assert {task: tuple(values.shape) for task, values in logits.items()} == {
        "word": (5, 2),
        "speaker": (5, 3),
    }


def test_saved_classifier_loads_with_its_window_length_and_level(tmp_path: Path) -> None:
    settings = ModelSettings((4, 6), ((2, 2), (2, 1)), level="rms")
    save(Classifier({"word": ["yes", "no"]}, settings, window_s=2.5), tmp_path / "a.ckpt")
    loaded = load(tmp_path / "a.ckpt")
    assert (loaded.window_s, loaded.settings.level) == (2.5, "rms")


def test_window_length_of_an_earlier_version_is_that_of_its_recipe(tmp_path: Path) -> None:
    configuration = classifier().configuration()
    del configuration["window_s"]
    saved = {"classifier": configuration, "global_step": 0}
    weights = {f"classifier.{name}": value for name, value in classifier().state_dict().items()}
    torch.save(saved | {"state_dict": weights, "recipe": {"data": {"window_s": 0.5}}}, tmp_path / "a.ckpt")
    assert load(tmp_path / "a.ckpt").window_s == 0.5


def test_saved_classifier_loads_with_its_normalisation_labels_and_strides(tmp_path: Path) -> None:
    model, x = with_stride(classifier(), 1.7), 0.1 * noise(5, 16000)
    save(model, tmp_path / "model.ckpt")
    loaded = load(tmp_path / "model.ckpt")
    assert not loaded.training
    assert loaded.labels == model.labels
    assert loaded.sample_rate == 16000
    for task, values in model(x).items():
        torch.testing.assert_close(loaded(x)[task], values, rtol=0, atol=0)


def test_normalisation_makes_a_louder_corpus_look_the_same_in_training() -> None:
    model = classifier().train()
    x = noise(8, 16000) * torch.logspace(-1.5, 0, 16000)
    model(x)  # the running variance shows that no channel is quiet
    torch.testing.assert_close(model.embed(x), model.embed(2 * x), rtol=1e-3, atol=1e-3)


def test_a_loaded_classifier_exports_with_its_learned_strides(tmp_path: Path) -> None:
    """Without a forward pass in between: load and eval() read the strides."""
    model, x = with_stride(classifier(), 1.3), 0.1 * noise(3, 16000)
    expected = model(x)
    save(model, tmp_path / "model.ckpt")
    exported = torch.export.export(load(tmp_path / "model.ckpt"), (x,)).module()
    torch.testing.assert_close(exported(x), expected)


def test_loading_leaves_the_random_generator_alone(tmp_path: Path) -> None:
    save(classifier(), tmp_path / "model.ckpt")
    before = torch.random.get_rng_state()
    load(tmp_path / "model.ckpt")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_half_precision_keeps_the_frontend_exact() -> None:
    model, x = classifier(), 0.1 * noise(3, 16000)
    expected = model(x)["word"]
    torch.testing.assert_close(model.bfloat16()(x)["word"].float(), expected, rtol=0.1, atol=0.1)


def test_missing_and_foreign_files_report_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run at"):
        load(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"neither a run nor a model folder \(config.yaml and config.json"):
        load(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match=r"has no checkpoint \(checkpoints/best.ckpt is missing\)"):
        load(tmp_path)
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.ckpt")
    for name in ("text.ckpt", "other.ckpt"):
        with pytest.raises(UserError, match="not a checkpoint of audiostride"):
            load(tmp_path / name)


def test_a_classifier_needs_labels() -> None:
    with pytest.raises(ValueError, match="at least one task"):
        Classifier({})
