"""Dry runs of a network before its strides are replaced, and after."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from audiostride.layers.diffstride import DiffStrideNd
from audiostride.layers.dry_run import DryRun
from audiostride.layers.replacing.strided_layers import StridedLayer
from audiostride.layers.window import Window


def run_before(network: nn.Module, shape: Sequence[int]) -> DryRun:
    """Return a dry run of a network.

    Raises:
        ValueError: if it does not run.
    """
    try:
        return DryRun(network, shape)
    except Exception as error:  # the code of a network may raise anything
        raise ValueError(
            f"the network does not run with one input of shape {tuple(shape)}: {_first_line(error)}"
        ) from error


def with_long_axes(
    network: nn.Module, shape: Sequence[int], run: DryRun, layers: Iterable[StridedLayer]
) -> DryRun:
    """Return a dry run where layers leave more than one sample, with a larger input than `shape` if need be.

    Args:
        network: the network.
        shape: shape of the input of `run`.
        run: a dry run, which is returned if its axes are long enough, or if larger inputs are not possible.
        layers: layers that downsample axes. Of an axis that has only one sample a dry run does not know
            which layers it has passed.
    """
    layers = list(layers)
    for _ in range(5):
        if not any(_leaves_one_sample(layer, run) for layer in layers):
            break
        shape = (shape[0], *(2 * n for n in shape[1:]))
        try:
            run = DryRun(network, shape)
        except Exception:  # the network takes inputs of one size only
            break
    return run


def _leaves_one_sample(layer: StridedLayer, run: DryRun) -> bool:
    before, after = run.inputs[layer.module].shape, run.outputs[layer.module].shape
    return any(before[dim] > after[dim] == 1 for dim in layer.dims)


def check_after(
    network: nn.Module,
    shape: Sequence[int],
    layers: Mapping[nn.Module, StridedLayer],
    diffstrides: Mapping[nn.Module, DiffStrideNd],
) -> None:
    """Check that a network runs with DiffStride layers, also once their strides have changed.

    It also notes how often a forward pass calls each of these layers.

    Args:
        network: the network, after its strides were replaced.
        shape: shape of an example, without the batch.
        layers: the layers that had strides before, by module.
        diffstrides: what was put in their place, by the same modules.

    Raises:
        ValueError: if the network does not run.
    """
    calls = _run_after(network, shape, layers, diffstrides)
    for diffstride in diffstrides.values():
        diffstride.uses = calls[diffstride]
    for trial in (1, 2):
        with _other_lengths(diffstrides.values(), trial):
            _run_after(network, shape, layers, diffstrides)


@contextmanager
def _other_lengths(diffstrides: Iterable[DiffStrideNd], trial: int) -> Iterator[None]:
    """Let the outputs of layers have other lengths for a while, as if their strides had moved apart.

    Other windows do this without a change of parameters, and on the meta device, too.
    """
    windows = {diffstride: diffstride.window for diffstride in diffstrides}
    try:
        for number, (diffstride, window) in enumerate(windows.items()):
            # Longer than without a ramp by 1 to 8 multiples.
            smoothness = 0.5 * window.multiple * (trial + number % 7)
            diffstride.window = Window(smoothness, multiple=window.multiple)
        yield
    finally:
        for diffstride, window in windows.items():
            diffstride.window = window


def _run_after(
    network: nn.Module,
    shape: Sequence[int],
    layers: Mapping[nn.Module, StridedLayer],
    diffstrides: Mapping[nn.Module, DiffStrideNd],
) -> Counter[nn.Module]:
    """Return how often a dry run calls each module.

    Raises:
        ValueError: if the network does not run.
    """
    with _watched(network) as (running, calls):
        try:
            DryRun(network, shape)
        except Exception as error:  # the code of a network may raise anything
            names = {module: name for name, module in network.named_modules()}
            place = running[-1] if running else network
            passed = [layers[module].name for module, diffstride in diffstrides.items() if calls[diffstride]]
            raise ValueError(
                f"{names[place] or 'the network'} ({type(place).__name__}) does not run with feature maps of "
                f"other sizes ({_first_line(error)}): name the strided layers before it in keep=, of "
                f"{', '.join(passed)}"
            ) from error
    return calls


@contextmanager
def _watched(network: nn.Module) -> Iterator[tuple[list[nn.Module], Counter[nn.Module]]]:
    """Yield the modules that are running, from the outermost to the innermost, and their numbers of calls."""
    running: list[nn.Module] = []
    calls: Counter[nn.Module] = Counter()

    def before(module: nn.Module, inputs: Any) -> None:
        running.append(module)
        calls[module] += 1

    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        running.pop()

    handles: list[Any] = []
    try:
        for module in network.modules():
            handles.append(module.register_forward_pre_hook(before, prepend=True))
            handles.append(module.register_forward_hook(after))
        yield running, calls
    finally:
        for handle in handles:
            handle.remove()


def _first_line(error: Exception) -> str:
    return f"{error}".partition("\n")[0] or type(error).__name__
