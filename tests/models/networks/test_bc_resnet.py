"""BC-ResNet: its normalisation by bands, its blocks, and its size in the paper."""

from typing import Any

import pytest
import torch
from helpers.networks import noise, small
from torch import Tensor, nn

from audiostride.layers import Window
from audiostride.layers.downsample2d import Downsample2d
from audiostride.models.networks.bc_resnet import BCResNet, BroadcastedBlock, SubSpectralNorm


@pytest.mark.parametrize(
    ("mel", "widths"), [(10, (2, 2, 2, 2, 2)), (13, (3, 3, 3, 2, 2)), (5, (1, 1, 1, 1, 1)), (3, (1, 1, 1))]
)
def test_each_band_of_mel_channels_is_normalised_apart(mel: int, widths: tuple[int, ...]) -> None:
    norm, x = SubSpectralNorm(4, bands=5), 3 * noise(2, 4, 7, mel) + 1
    for number, band in enumerate(norm.norms):
        nn.init.constant_(band.weight, 1.0 + number)  # type: ignore[arg-type]
        nn.init.constant_(band.bias, -1.0 * number)  # type: ignore[arg-type]
    y, start = norm(x), 0
    for number, width in enumerate(widths):
        band_x = x[..., start : start + width]
        mean = band_x.mean((0, 2, 3), keepdim=True)
        variance = (band_x - mean).square().mean((0, 2, 3), keepdim=True)
        expected = (1.0 + number) * (band_x - mean) / (variance + 1e-5).sqrt() - number
        torch.testing.assert_close(y[..., start : start + width], expected, rtol=1e-4, atol=1e-5)
        start += width
    assert start == mel


def formula(block: BroadcastedBlock, x: Tensor, pool: nn.Module | None) -> Tensor:
    """Return what the paper's formula gives for a block, with the block's own layers."""
    frequency, time = list(block.frequency.children()), list(block.time.children())
    y = x
    if pool is not None:
        conv, norm, relu, depthwise, _, by_band = frequency
        y = by_band(pool(depthwise(relu(norm(conv(x))))))
    else:
        depthwise, by_band = frequency
        y = by_band(depthwise(x))
    mean = torch.stack([y[..., i] for i in range(y.shape[-1])]).mean(0).unsqueeze(-1)
    depthwise, norm, _, conv, _ = time
    active = norm(depthwise(mean))
    branch = conv(active * active.sigmoid())
    summed = y + branch.expand_as(y)
    return (summed if pool is not None else x + summed).clamp(min=0)


def test_blocks_are_the_formulas_of_the_paper() -> None:
    network: Any = small("bc_resnet", strides=[(1, 2), (1.5, 1.8), (1, 2), (1, 2), (1, 1)])
    transition, normal = network.stages[0]
    pool, x = Downsample2d((1.5, 1.8), window=Window(1.0)), noise(2, 8, 20, 16)
    torch.testing.assert_close(transition(x), formula(transition, x, pool), rtol=1e-4, atol=1e-5)
    x = noise(2, 4, 20, 16)
    torch.testing.assert_close(normal(x), formula(normal, x, None), rtol=1e-4, atol=1e-5)


def test_convolutions_along_time_are_1_2_4_and_8_frames_wide() -> None:
    network: Any = small("bc_resnet")
    for stage, distance in zip(network.stages, (1, 2, 4, 8), strict=True):
        for block in stage:
            conv = block.time[0]
            impulse = torch.zeros(1, conv.in_channels, 33, 1)
            impulse[:, :, 16] = 1
            reached = conv(impulse).abs().sum((0, 1, 3)).nonzero().flatten()
            assert reached.tolist() == [16 - distance, 16, 16 + distance]


def test_dropout_sets_whole_channels_of_the_branch_along_time_to_0() -> None:
    block = BroadcastedBlock(8, 8, None, dilation=1, dropout=0.5, bands=2).train()
    torch.manual_seed(0)
    branch = block.time(noise(6, 8, 20, 1))
    dropped = (branch == 0).flatten(2)
    assert (dropped.all(-1) == dropped.any(-1)).all()
    assert 0.25 < dropped.float().mean() < 0.75


@pytest.mark.parametrize(("width", "parameters"), [(1, 9.2), (2, 27.3), (3, 54.2), (8, 321)])
def test_sizes_of_the_paper_have_its_parameters(width: int, parameters: float) -> None:
    """Thousands of parameters with 12 classes; the defaults are BC-ResNet-3."""
    channels = [width * count for count in (16, 8, 12, 16, 20, 32)]
    with torch.device("meta"):
        network = BCResNet(channels, downsampling="strided")
    assert (width == 3) == (network.channels == BCResNet(downsampling="strided").channels)
    head = 12 * (network.embedding_size + 1)
    found = sum(parameter.numel() for parameter in network.parameters()) + head
    assert found / 1000 == pytest.approx(parameters, abs=0.1)


def test_bands_do_not_count_as_downsampling() -> None:
    network = small("bc_resnet", "strided", bands=5)
    run = network.dry_run(100, 40)
    assert [(step.operation, step.axis, step.ratio) for step in run.steps] == [("conv2d", -1, 2.0)] * 3
    (_, mel) = run.outputs[network.feature_maps()["last"]].axes[-2:]
    assert mel is not None
    assert mel.length.item() == 5
