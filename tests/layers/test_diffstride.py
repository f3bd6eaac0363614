"""DiffStride and SpectralPool as modules: the properties of design and use, not of arithmetic."""

import copy
import io
import pickle
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers import reference
from torch import Tensor, nn

from audiostride import (
    DiffStride1d,
    DiffStride2d,
    DiffStride3d,
    SeparableCNN,
    SpectralPool1d,
    SpectralPool2d,
    SpectralPool3d,
    Window,
)
from audiostride.layers import complexity, freeze_, project_

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
DEVICES = ["cpu", pytest.param("cuda", marks=cuda)]


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def test_layer_equals_the_definition_on_every_axis() -> None:
    x = noise(2, 9, 14, 21, dtype=torch.float64)
    layer = DiffStride3d((1.2, 2.1, 3.3), smoothness=2.0).double()
    strides = layer.stride.tolist()
    matrices = [reference.matrix(n, s, 2.0) for n, s in zip((9, 14, 21), strides, strict=True)]
    expected = np.einsum("ai,bj,ck,nijk->nabc", *matrices, x.numpy())
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=0, atol=1e-10)


def test_dim_selects_the_axis() -> None:
    x = noise(2, 3, 30, 20)
    for pool in (DiffStride1d(1.7, dim=-2), SpectralPool1d(1.7, dim=-2)):
        across = type(pool)(1.7)
        torch.testing.assert_close(pool(x), across(x.mT).mT)


def test_spectral_pool_is_diffstride_without_smoothness() -> None:
    x = noise(2, 12, 30, 20)
    torch.testing.assert_close(SpectralPool2d((1.5, 2.2))(x), DiffStride2d((1.5, 2.2), smoothness=0.0)(x))
    torch.testing.assert_close(SpectralPool3d(2.0)(x), DiffStride3d(2.0, smoothness=0.0)(x))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 9, 64, 65, 101, 1000, 1001])
@pytest.mark.parametrize("stride", [1.0, 1.00001])
@pytest.mark.parametrize("smoothness", [1.0, 4.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stride_at_its_lower_limit_can_grow(
    n: int, stride: float, smoothness: float, dtype: torch.dtype
) -> None:
    layer = DiffStride1d(stride, smoothness=smoothness).to(dtype)
    layer(noise(8, n, dtype=dtype)).square().sum().backward()
    assert layer.stride.grad is not None
    assert layer.stride.grad.item() < 0


def test_a_stride_learns_the_cutoff_of_its_target_from_the_lower_limit() -> None:
    """From stride 1 a low-pass at a quarter of the rate is found by gradient descent alone."""
    x = noise(64, 100)
    target_layer = DiffStride1d(2.0)

    def spectrum(layer: DiffStride1d) -> Tensor:
        y = torch.fft.rfft(layer(x), norm="forward").abs()
        return nn.functional.pad(y, (0, 51 - y.shape[-1]))

    layer = DiffStride1d(1.0)
    optimizer = torch.optim.Adam(layer.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        (spectrum(layer) - spectrum(target_layer).detach()).square().sum().backward()
        optimizer.step()
        project_(layer)
    assert layer.stride.item() == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1.0, 4.0, 1000.0])
@pytest.mark.parametrize("smoothness", [0.0, 0.5, 1.0, 4.0])
def test_short_inputs_and_huge_strides_give_numbers(n: int, stride: float, smoothness: float) -> None:
    layer = DiffStride1d(stride, smoothness=smoothness)
    x = noise(3, n).requires_grad_()
    y = layer(x)
    y.sum().backward()
    assert y.shape[-1] == reference.length(n, stride, smoothness)
    assert y.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert layer.stride.grad is None or layer.stride.grad.isfinite().all()


def test_forward_writes_no_parameter_and_has_no_memory_of_other_sizes() -> None:
    layer = DiffStride2d((2.3, 1.7))
    with torch.no_grad():
        layer.stride.copy_(torch.tensor([0.5, 90.0]))  # out of range, as before a projection
    before = layer.stride.detach().clone()
    large, small = noise(2, 64, 100), noise(2, 4, 3)
    first = layer(large)
    layer(small)
    torch.testing.assert_close(layer(large), first, rtol=0, atol=0)
    assert torch.equal(layer.stride, before)


def test_projection_keeps_strides_between_one_and_the_size_of_the_axis() -> None:
    network = nn.Sequential(DiffStride2d((2.0, 3.0)), nn.ReLU(), DiffStride1d(2.0, dim=-2))
    first, last = network[0], network[2]
    assert isinstance(first, DiffStride2d)
    assert isinstance(last, DiffStride1d)
    network(noise(1, 40, 30))
    network(noise(1, 4, 4))  # a small input does not bind later ones
    with torch.no_grad():
        first.stride.copy_(torch.tensor([-3.0, 900.0]))
        last.stride.fill_(0.99)
    project_(network)
    assert first.stride[0] == 1
    assert 29.99 < first.stride[1] < 30
    assert last.stride == 1


def test_projection_limits_a_shared_stride_by_the_shorter_axis() -> None:
    layer = DiffStride2d(2.0, shared=True)
    layer(noise(1, 1, 100))
    with torch.no_grad():
        layer.stride.fill_(1e5)
    layer.project_()
    assert 99 < layer.stride.item() < 100


def test_strides_can_be_numpy_arrays_and_tensors() -> None:
    for stride in (np.float32(2.5), torch.tensor(2.5), np.array([2.5, 2.5]), [2.5, 2.5]):
        assert DiffStride2d(stride).stride.tolist() == [2.5, 2.5]  # type: ignore[arg-type]


def test_projection_leaves_strides_in_range_alone() -> None:
    layer = DiffStride2d((1.0, 7.5))
    layer(noise(1, 40, 30))
    project_(layer)
    assert layer.stride.tolist() == [1.0, 7.5]


def test_shared_stride_is_one_parameter_with_both_axes_gradients() -> None:
    x = noise(2, 40, 30)
    shared, separate = DiffStride2d(2.3, shared=True), DiffStride2d(2.3)
    torch.testing.assert_close(shared(x), separate(x))
    shared(x).square().sum().backward()
    separate(x).square().sum().backward()
    assert shared.stride.shape == (1,)
    assert shared.stride.grad is not None
    assert separate.stride.grad is not None
    torch.testing.assert_close(shared.stride.grad, separate.stride.grad.sum(0, keepdim=True))


def test_constants_keep_their_amplitude() -> None:
    for layer in (DiffStride2d((2.3, 1.0)), SpectralPool2d((3.0, 1.5))):
        y = layer(torch.full((1, 50, 33), 3.0))
        torch.testing.assert_close(y, torch.full_like(y, 3.0))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: DiffStride1d(0.9), "at least 1, but got 0.9"),
        (lambda: DiffStride2d((2.0, float("nan"))), "finite number"),
        (lambda: DiffStride2d(float("inf")), "finite number"),
        (lambda: DiffStride1d(2.0, smoothness=-1.0), "smoothness must be a finite number of DFT bins"),
        (lambda: DiffStride2d((2.0, 2.0, 2.0)), "one stride or 2"),
        (lambda: DiffStride2d((2.0, 3.0), shared=True), "equal strides"),
        (lambda: DiffStride1d(2.0, dim=0), "must be negative"),
        (lambda: SpectralPool3d((2.0, 2.0)), "one stride or 3"),
        (
            lambda: DiffStride1d()(torch.arange(20)),
            r"only real floating-point tensors .* but got torch\.int64",
        ),
        (lambda: SpectralPool1d(0.5), "at least 1, but got 0.5"),
    ],
)
def test_bad_arguments_report_a_clear_error(make: Callable[[], nn.Module], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_sixteen_bit_inputs_agree_with_float64(device: str, dtype: torch.dtype, tolerance: float) -> None:
    x = noise(4, 40, 30).to(device)
    layer = DiffStride2d((2.3, 1.7)).to(device)
    exact = layer(x.double())
    direct = layer(x.to(dtype))
    assert direct.dtype == dtype
    torch.testing.assert_close(direct.double(), exact, rtol=0, atol=tolerance)
    with torch.autocast(device, dtype):
        y = layer(x)
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=tolerance)
    y.float().square().sum().backward()
    gradient = layer.stride.grad
    layer.stride.grad = None
    layer(x.double()).square().sum().backward()
    assert gradient is not None
    torch.testing.assert_close(gradient, layer.stride.grad, rtol=0.05, atol=0)


@cuda
def test_cuda_agrees_with_the_cpu() -> None:
    x, layer = noise(4, 40, 30, dtype=torch.float64), DiffStride2d((2.3, 1.7))
    on_gpu = copy.deepcopy(layer).cuda()
    torch.testing.assert_close(on_gpu(x.cuda()).cpu(), layer(x), rtol=0, atol=1e-12)


@cuda
def test_training_synchronises_once_per_layer() -> None:
    layer, x = DiffStride2d((2.3, 1.7)).cuda(), noise(4, 40, 30).cuda()
    layer(x).sum().backward()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            layer(x).sum().backward()
            project_(layer)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert sum("synchroniz" in str(w.message) for w in caught) == 1


def test_compiled_layer_agrees_with_the_eager_one() -> None:
    layer, x = DiffStride2d((2.3, 1.7)), noise(4, 40, 30)
    other = copy.deepcopy(layer)
    compiled = torch.compile(other, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
    compiled(x).square().sum().backward()
    layer(x).square().sum().backward()
    torch.testing.assert_close(other.stride.grad, layer.stride.grad)
    torch.testing.assert_close(compiled(x[:, :20]), layer(x[:, :20]))


def test_compiled_layer_follows_its_strides() -> None:
    layer, x = DiffStride2d((2.3, 1.7)), noise(4, 40, 30)
    compiled = torch.compile(layer, backend="eager")
    for stride in (2.3, 2.6, 3.1, 2.3):
        with torch.no_grad():
            layer.stride[0] = stride
        torch.testing.assert_close(compiled(x), layer(x))


def test_exported_layer_has_the_strides_of_its_last_forward_pass() -> None:
    layer, x = DiffStride2d((2.3, 1.7)).eval(), noise(4, 40, 30)
    with torch.no_grad():
        layer.stride.copy_(torch.tensor([3.0, 1.2]))
    expected = layer(x)
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), expected)


def test_exported_layer_has_the_strides_that_were_loaded_or_set_before_eval() -> None:
    x, source = noise(4, 40, 30), DiffStride2d((3.3, 1.2))
    loaded, changed = DiffStride2d().eval(), DiffStride2d()
    loaded.load_state_dict(source.state_dict())
    changed.stride.data.copy_(source.stride.data)
    for layer in (loaded, changed.eval()):
        torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), source(x))


def test_exported_untouched_layer_has_its_initial_strides() -> None:
    layer, x = DiffStride2d((2.3, 1.7)).eval(), noise(4, 40, 30)
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), layer(x))


def test_state_dict_pickle_and_deepcopy_give_the_same_layer() -> None:
    layer, x = DiffStride2d((2.3, 1.7)), noise(4, 40, 30)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = DiffStride2d(5.0)
    other.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(other(x), layer(x))
    torch.testing.assert_close(pickle.loads(pickle.dumps(layer))(x), layer(x))
    clone = copy.deepcopy(layer)
    with torch.no_grad():
        clone.stride.fill_(4.0)
    assert clone(x).shape != layer(x).shape


def test_repr_shows_the_current_strides() -> None:
    layer = DiffStride2d((2.0, 3.0))
    with torch.no_grad():
        layer.stride[0] = 2.5
    assert repr(layer) == "DiffStride2d(stride=(2.5, 3), smoothness=4, shared=False)"


def test_complexity_is_the_sum_of_the_areas_after_each_layer() -> None:
    strides = [torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0]), torch.tensor([2.0, 4.0])]
    assert complexity(strides).item() == pytest.approx(1 / 4 + 1 / 4 + 1 / 32)
    layer = DiffStride2d(2.0, shared=True)
    complexity([layer.strides]).backward()
    assert layer.stride.grad is not None
    assert layer.stride.grad.item() == pytest.approx(-2 / 2**3)  # d(1/S²)/dS


def test_frozen_strides_are_constants_until_they_are_learned_again() -> None:
    torch.manual_seed(0)
    network = SeparableCNN((4, 6), ((2, 2.5), (1.5, 2)), window=Window(2.0))
    x = torch.randn(2, 1, 40, 30)
    free = network(x)
    freeze_(network)
    torch.testing.assert_close(network(x), free)
    network(x).square().sum().backward()
    strides = [p for name, p in network.named_parameters() if name.endswith("pool.stride")]
    assert all(stride.grad is None for stride in strides)
    with torch.no_grad():
        strides[0].add_(1)  # nobody looks any more
    torch.testing.assert_close(network(x), free)
    freeze_(network, False)
    assert not torch.allclose(network(x), free)
    network(x).square().sum().backward()
    assert all(stride.grad is not None for stride in strides)


def test_frozen_strides_do_not_break_a_compiled_graph() -> None:
    network = SeparableCNN((4, 6), ((2, 2), (1, 2)), window=Window(2.0))
    x = torch.randn(2, 1, 40, 30)
    assert torch._dynamo.explain(network)(x).graph_break_count > 0
    freeze_(network)
    assert torch._dynamo.explain(network)(x).graph_break_count == 0
    for module in (network.eval(), nn.Sequential(nn.Conv2d(1, 4, 3), DiffStride2d((2.0, 1.5)))):
        freeze_(module)
        compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
        for frames in (40, 33, 27):
            torch.testing.assert_close(compiled(x[:, :, :frames]), module(x[:, :, :frames]))


def test_frozen_strides_follow_a_loaded_state() -> None:
    layer, other = DiffStride2d(2.0), DiffStride2d(3.0)
    layer.freeze_()
    layer.load_state_dict(other.state_dict())
    x = torch.randn(1, 1, 40, 40)
    torch.testing.assert_close(layer(x), other(x))


def test_an_optimiser_does_not_move_frozen_strides() -> None:
    layer = DiffStride1d(2.0)
    x = noise(2, 40)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad(set_to_none=False)
        layer(x).square().sum().backward()
        optimizer.step()
    before, learned = layer.freeze_()(x), layer.stride.clone()
    layer.stride.grad = torch.zeros_like(layer.stride)  # by which momentum goes on
    optimizer.step()
    assert layer.stride != learned
    assert "stride=" in repr(layer)
    assert torch.equal(layer.eval()(x), before)
    layer.project_()
    assert torch.equal(layer.stride, learned)


@pytest.mark.parametrize("stride", [1.02, 2.3])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_takes_inputs_that_need_a_gradient_in_float32(stride: float, dtype: torch.dtype) -> None:
    x, layer = noise(2, 3, 64).requires_grad_(), DiffStride1d(stride, smoothness=2.0)
    with torch.autocast("cpu", dtype):
        y = layer(x)
    assert y.dtype == dtype
    y.float().square().sum().backward()
    assert x.grad is not None
    assert layer.stride.grad is not None
    with torch.autocast("cpu", dtype):
        assert layer.double()(x.double()).dtype == torch.float64
