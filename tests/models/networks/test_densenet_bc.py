"""DenseNet-BC: torchvision's network, its channels, and both networks without torchvision."""

import subprocess
import sys

import pytest
import torch
from helpers.networks import noise, small, with_statistics
from torch import nn
from torchvision.models import DenseNet

from audiostride.errors import UserError
from audiostride.layers.downsample2d import Downsample2d
from audiostride.models.build import build_network
from audiostride.models.networks.densenet_bc import DenseNetBC


def test_strided_network_is_that_of_torchvision() -> None:
    """But for the first pooling, and with the first of each 2 × 2 samples in place of their mean."""
    torch.manual_seed(0)
    network = with_statistics(
        DenseNetBC((12, 6), downsampling="strided", in_channels=3, layers=(2, 3, 2), first_kernel=7)
    )
    reference = DenseNet(6, (2, 3, 2), 12).eval()
    reference.features.pool0, reference.classifier = nn.Identity(), nn.Identity()
    for transition in (reference.features.transition1, reference.features.transition2):
        transition.pool = nn.MaxPool2d(1, 2, ceil_mode=True)
    weights = network.state_dict()
    weights["features.conv0.weight"] = weights.pop("features.conv0.0.weight")
    reference.load_state_dict(weights)
    x = noise(2, 3, 61, 40)
    torch.testing.assert_close(network(x), reference(x), rtol=1e-4, atol=1e-4)


def test_transitions_pool_behind_their_convolution() -> None:
    network = small("densenet_bc", strides=[(2, 2), (1.6, 2.2), (2, 2)])
    transition = network.parts()["transition 1"][0]
    pool, x = Downsample2d((1.6, 2.2), window=network.window), noise(2, 10, 21, 14)
    norm, relu, conv, _ = transition.children()
    torch.testing.assert_close(transition(x), pool(conv(relu(norm(x)))))


def test_transitions_halve_the_channels_and_dense_blocks_add_to_them() -> None:
    """With 6 first channels, a growth rate of 4 and 1, 2 and 1 layers."""
    network = small("densenet_bc")
    run = network.dry_run(40, 32)
    found = {name: run.outputs[module].shape[1] for name, module in network.feature_maps().items()}
    assert found == {
        "first": 6,
        "dense 1": 10,
        "transition 1": 5,
        "dense 2": 13,
        "transition 2": 6,
        "dense 3": 10,
    }
    assert network.embedding_size == 10


def test_defaults_have_the_parameters_of_the_paper() -> None:
    """0.8 million with 100 layers and a growth rate of 12 (table 2), for colours and 10 classes."""
    with torch.device("meta"):
        network = DenseNetBC(downsampling="strided", in_channels=3)
    head = 10 * (network.embedding_size + 1)
    assert round((sum(p.numel() for p in network.parameters()) + head) / 1e6, 2) == 0.77
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == 100  # the head is the last layer


@pytest.mark.parametrize("layers", [(1,), (1, 2), (2, 1, 1, 2)])
def test_there_may_be_any_number_of_dense_blocks(layers: tuple[int, ...]) -> None:
    network = small("densenet_bc", layers=layers, strides=[(2, 2)] * len(layers))
    assert len(network.downsamplers()) == len(layers)
    assert network(noise(2, 1, 40, 32)).shape == (2, network.embedding_size)


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ((2, 2), "strides needs 2 entries, for the first convolution and each transition between two dense"),
        ((), "layers needs one entry per dense block, but has none"),
    ],
)
def test_numbers_of_blocks_and_strides_that_disagree_report_a_clear_error(
    layers: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        DenseNetBC(layers=layers)


@pytest.mark.parametrize("name", ["densenet_bc", "efficientnet_b0"])
def test_a_network_without_torchvision_says_how_to_install_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("torchvision", "torchvision.models.densenet", "torchvision.models.efficientnet"):
        monkeypatch.setitem(sys.modules, module, None)
    sentence = rf"^the network {name} needs torchvision: run pip install 'audiostride\[images\]'$"
    with pytest.raises(UserError, match=sentence):
        build_network(name, {})


def test_importing_every_network_does_not_import_torchvision() -> None:
    code = (
        "import sys\n"
        "from audiostride.config.network_names import network_names\n"
        "from audiostride.models.build import network_class\n"
        "for name in network_names(): network_class(name)\n"
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
