"""Images as the input of a network."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from audiostride import Classifier, FrontendSettings, ModelSettings
from audiostride.errors import UserError
from audiostride.frontends.build import build_frontend, build_sound_frontend
from audiostride.frontends.pixels import Pixels

LABELS = {"class": ["a", "b", "c"]}
NETWORK: dict[str, Any] = {
    "network": "resnet18",
    "channels": (4, 4, 8, 8),
    "strides": ((1, 1), (2, 2), (2, 2), (2, 2)),
    "options": {"layers": [1, 1, 1, 1]},
}


def classifier(**frontend: Any) -> Classifier:
    torch.manual_seed(0)
    return Classifier(LABELS, ModelSettings(**NETWORK), frontend=FrontendSettings(kind="pixels", **frontend))


def images(batch: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, *shape), generator=generator).to(torch.uint8)


def test_settings_build_it_and_its_configuration_builds_it_again() -> None:
    frontend = build_frontend(FrontendSettings(kind="pixels", image_size=[20, 30], colours=2))  # type: ignore[arg-type]
    assert isinstance(frontend, Pixels)
    assert (frontend.image_size, frontend.images, frontend.channels) == ((20, 30), 2, 1)
    assert build_frontend(FrontendSettings(**frontend.configuration())).configuration() == {
        "kind": "pixels",
        "image_size": (20, 30),
        "colours": 2,
    }
    with pytest.raises(ValueError, match="pixels takes images, not sound"):
        build_sound_frontend(FrontendSettings(kind="pixels"))


def test_downsample_undoes_features() -> None:
    frontend, x = Pixels((6, 5)), images(4, 3, 6, 5)
    features = frontend.features(x)
    assert features.shape == (4, 3, 30, 1)
    torch.testing.assert_close(frontend.downsample(features), x / 255)
    torch.testing.assert_close(frontend(x), x / 255)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.float16])
def test_images_of_8_bits_and_numbers_from_0_to_1_are_the_same(dtype: torch.dtype) -> None:
    model, x = classifier().eval(), images(2, 3, 32, 32)
    given = x if dtype == torch.uint8 else (x.double() / 255).to(dtype)
    atol = 1e-2 if dtype == torch.float16 else 1e-5
    torch.testing.assert_close(model(given)["class"], model(x)["class"], atol=atol, rtol=0)


def test_each_colour_is_normalised_by_its_own_mean_and_deviation() -> None:
    model = classifier(image_size=(8, 6))
    x = torch.rand(50, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    x = x * torch.tensor([0.1, 0.5, 1.0]).view(3, 1, 1)
    network_input = model.train().spectrogram(x)
    assert network_input.shape == x.shape
    mean = x.mean((0, 2, 3), keepdim=True)
    deviation = (x.var((0, 2, 3), keepdim=True) + model.normalise.eps).sqrt()
    torch.testing.assert_close(network_input, (x - mean) / deviation, atol=2e-3, rtol=1e-3)
    for _ in range(200):
        model.spectrogram(x)
    torch.testing.assert_close(model.eval().spectrogram(x), (x - mean) / deviation, atol=2e-3, rtol=1e-3)


def test_constant_colour_is_not_amplified() -> None:
    model = classifier(image_size=(4, 4))
    x = torch.full((3, 3, 4, 4), 0.5) + 1e-4 * torch.rand(3, 3, 4, 4)
    assert model.train().spectrogram(x).abs().max() < 0.1


@pytest.mark.parametrize("shape", [(2, 3, 32, 31), (2, 1, 32, 32), (3, 32, 32), (2, 1024), (2, 3, 64, 64)])
def test_other_shapes_report_a_clear_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected images \(batch, 3, 32, 32\), but got shape"):
        classifier()(torch.zeros(shape))


def test_other_types_report_a_clear_error() -> None:
    with pytest.raises(ValueError, match=r"images must be floating point or uint8, but got torch\.int16"):
        classifier()(torch.zeros(2, 3, 32, 32, dtype=torch.int16))


def test_strides_over_height_and_width_get_gradients() -> None:
    model = classifier(image_size=(24, 40))
    assert model.input_size() == (24, 40)
    model(images(4, 3, 24, 40))["class"].square().sum().backward()
    for layer in model.trunk.downsamplers()[1:]:
        gradient = layer.pool.stride.grad  # type: ignore[attr-defined]
        assert gradient.shape == (2,)
        assert (gradient != 0).all()


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.predict(torch.zeros(16000)),
        lambda model: next(model.stream([torch.zeros(16000)])),
        lambda model: model.sample_rate,
        lambda model: model.input_size(16000),
    ],
)
def test_what_is_for_sound_reports_a_clear_error(use: Callable[[Classifier], Any]) -> None:
    message = r"the model takes images of 32 × 32 pixels in 3 colours, but this is for models that take sound"
    with pytest.raises(UserError, match=message):
        use(classifier())


def test_level_of_sound_is_refused() -> None:
    settings = ModelSettings(**NETWORK, level="rms")
    with pytest.raises(
        ValueError, match=r"model\.level is for sound, not for images \(frontend\.kind pixels\)"
    ):
        Classifier(LABELS, settings, frontend=FrontendSettings(kind="pixels"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"image_size": (1, 32)},
            r"frontend\.image_size\[0\] must be a whole number from 2 to 8192, but is 1",
        ),
        ({"colours": 0}, r"frontend\.colours must be a whole number from 1 to 64, but is 0"),
        ({"image_size": (8192, 8192)}, r"frontend\.image_size 8192 × 8192 with 3 colours makes more than"),
    ],
)
def test_sizes_without_sense_report_a_clear_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrontendSettings(kind="pixels", **settings)
