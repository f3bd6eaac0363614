"""What every kind of frontend does inside of a classifier."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.frontends import KINDS, LEARNED, Kind, small_classifier, sound
from helpers.reads import Reads, counting_reads
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from audiostride import Classifier, freeze_, load, project_
from audiostride.layers.learned_strides import diffstride_layers

EACH_KIND = pytest.mark.parametrize("kind", KINDS)


def assert_same_logits(a: Classifier, b: Classifier) -> None:
    x = sound(3, seed=1)
    with torch.no_grad():
        before, after = a(x), b(x)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[task], logits) for task, logits in before.items())


@EACH_KIND
def test_gives_logits_and_embeddings(kind: Kind) -> None:
    model = small_classifier(kind)
    logits = model(sound(5))
    assert {task: tuple(values.shape) for task, values in logits.items()} == {
        "word": (5, 2),
        "speaker": (5, 3),
    }
    assert model.embed(sound(5)).shape == (5, 6)
    assert all(values.isfinite().all() for values in logits.values())


@EACH_KIND
@pytest.mark.parametrize("samples", [1600, 8000, 16001, 24160])
def test_input_size_is_that_of_the_spectrogram(kind: Kind, samples: int) -> None:
    model = small_classifier(kind)
    spectrogram = model.spectrogram(torch.zeros(2, samples))
    assert spectrogram.shape == (2, model.frontend.images, *model.input_size(samples))
    assert model.input_size() == model.input_size(16000)


@EACH_KIND
@torch.no_grad()
def test_a_window_gives_the_same_logits_alone_and_in_a_batch(kind: Kind) -> None:
    model, x = small_classifier(kind), sound(4)
    for row, logits in enumerate(model(x)["speaker"]):
        torch.testing.assert_close(model(x[row : row + 1])["speaker"][0], logits, atol=1e-5, rtol=1e-5)


@EACH_KIND
def test_takes_the_shortest_window_an_empty_batch_and_int16(kind: Kind) -> None:
    model = small_classifier(kind)
    assert model(sound(1, 0.1))["word"].shape == (1, 2)
    assert model(torch.zeros(0, 16000))["word"].shape == (0, 2)
    x = (sound(2) * 32768).round().clamp(-32768, 32767)
    torch.testing.assert_close(model(x.short())["word"], model(x / 32768)["word"])


@EACH_KIND
def test_loads_bit_for_bit_from_a_checkpoint_and_from_a_model_folder(kind: Kind, tmp_path: Path) -> None:
    model = small_classifier(kind, f_min=100, hop_ms=8, offset=1e-4, floor=0.3, pcen_learned=False)
    weights = {f"classifier.{name}": value for name, value in model.state_dict().items()}
    saved = {"classifier": model.configuration(), "state_dict": weights, "global_step": 0}
    torch.save(saved, tmp_path / "model.ckpt")
    model.save(tmp_path / "folder")
    for name in ("model.ckpt", "folder"):
        loaded = load(tmp_path / name)
        assert loaded.frontend_settings == model.frontend_settings
        assert loaded.smallest_deviation == 0.3
        assert_same_logits(model, loaded)


@EACH_KIND
def test_state_dict_and_deepcopy_keep_every_bit(kind: Kind) -> None:
    model = small_classifier(kind)
    other = Classifier(model.labels, model.settings, frontend=model.frontend_settings).eval()
    other.load_state_dict(model.state_dict())
    assert_same_logits(model, other)
    copied = copy.deepcopy(model)
    assert_same_logits(model, copied)
    with torch.no_grad():
        for parameter in copied.frontend.parameters():
            parameter.mul_(0.9)
    assert_same_logits(model, other)


@EACH_KIND
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_frontend_stays_in_float32_in_a_network_of_another_type(kind: Kind, dtype: torch.dtype) -> None:
    model, x = small_classifier(kind), sound(3)
    expected, features = model(x)["word"], model.frontend.features(x)
    model.to(dtype)
    assert {value.dtype for value in model.frontend.state_dict().values()} <= {torch.float32}
    torch.testing.assert_close(model.frontend.features(x), features, rtol=0, atol=0)
    assert model(x)["word"].dtype == dtype
    torch.testing.assert_close(model(x)["word"].float(), expected, rtol=0.1, atol=0.1)


@EACH_KIND
def test_autocast_leaves_the_features_as_they_are(kind: Kind) -> None:
    model, x = small_classifier(kind), sound(3)
    expected, features = model(x)["word"], model.frontend.features(x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model.frontend.features(x), features, rtol=0, atol=0)
        logits = model(x)["word"]
    torch.testing.assert_close(logits.float(), expected, rtol=0.1, atol=0.1)


@EACH_KIND
@pytest.mark.parametrize("made_there", [False, True])
def test_works_on_the_meta_device(kind: Kind, made_there: bool) -> None:
    source = small_classifier(kind)

    def new() -> Classifier:
        return Classifier(source.labels, source.settings, frontend=source.frontend_settings).eval()

    with torch.device("meta" if made_there else "cpu"):
        model = new()
    logits = copy.deepcopy(model).to("meta")(torch.zeros(3, 16000, device="meta"))["word"]
    assert logits.shape == (3, 2)
    model.to_empty(device="cpu").load_state_dict(source.state_dict())
    assert_same_logits(model, source)


@EACH_KIND
def test_every_parameter_learns(kind: Kind) -> None:
    model = small_classifier(kind).train()
    torch.cat(list(model(sound(4)).values()), 1).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or name.endswith("conv.bias"), name  # a norm takes biases away


@EACH_KIND
def test_strides_are_those_of_the_frontend_and_the_trunk(kind: Kind) -> None:
    model = small_classifier(kind)
    assert model.strides.shape == (3 if kind in LEARNED else 2, 2)
    torch.testing.assert_close(model.strides[-2:], model.trunk.strides)
    if model.frontend.strides is not None:
        torch.testing.assert_close(model.strides[0], model.frontend.strides)


@pytest.mark.parametrize("kind", LEARNED)
def test_frozen_strides_of_the_frontend_get_no_gradient_and_stay(kind: Kind) -> None:
    model = small_classifier(kind).train()
    freeze_(model)
    before = model.strides.clone()
    model(sound(2))["word"].sum().backward()
    for layer in diffstride_layers(model):
        assert layer.stride.grad is None
        layer.stride.data.add_(1)  # as an optimiser's momentum does
    project_(model)
    torch.testing.assert_close(model.strides, before, rtol=0, atol=0)


@pytest.fixture
def reads() -> Iterator[Reads]:
    with counting_reads() as counted:
        yield counted


@EACH_KIND
def test_a_training_step_reads_the_strides_once(kind: Kind, reads: Reads) -> None:
    model, x = small_classifier(kind).train(), sound(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    reads.count = 0
    for expected in (1, 2):
        optimizer.zero_grad()
        model(x)["word"].sum().backward()
        optimizer.step()
        project_(model)
        assert reads.count == expected


@EACH_KIND
def test_frozen_strides_are_not_read(kind: Kind, reads: Reads) -> None:
    model, x = small_classifier(kind).train(), sound(2)
    freeze_(model)
    reads.count = 0
    model(x)["word"].sum().backward()
    project_(model)
    assert reads.count == 0


@pytest.mark.parametrize("kind", LEARNED)
def test_a_compiled_trunk_agrees_with_the_eager_one_while_strides_change(kind: Kind) -> None:
    torch.compiler.reset()
    model = small_classifier(kind).train()
    eager, counter = copy.deepcopy(model), CompileCounter()
    model.trunk._compiled_call_impl = torch.compile(model.trunk._call_impl, backend=counter, dynamic=False)
    graphs = []
    for seed in range(4):
        gradients: list[Tensor] = []
        for one in (model, eager):
            one.zero_grad()
            one(sound(2, seed=seed))["word"].square().sum().backward()
            strides = [layer.stride for layer in diffstride_layers(one)]
            gradients.append(torch.cat([stride.grad for stride in strides if stride.grad is not None]))
            assert len(gradients[-1]) == sum(map(len, strides))
            with torch.no_grad():
                for layer in diffstride_layers(one):
                    layer.stride.mul_(1.001)
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
        graphs.append(counter.frame_count)
    assert graphs == graphs[:1] * 4  # a change of the strides compiles nothing anew


@EACH_KIND
@torch.no_grad()
def test_a_loaded_classifier_exports_with_torch(kind: Kind, tmp_path: Path) -> None:
    model, x = small_classifier(kind), sound(3)
    model.save(tmp_path / "m")
    exported = torch.export.export(load(tmp_path / "m"), (x,)).module()
    torch.testing.assert_close(exported(x), model(x))
