"""DiffStride layers in place of the strides of any network, by one call."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from typing import Any

from torch import nn

from audiostride.layers.diffstride import DiffStrideNd
from audiostride.layers.dry_run import DryRun
from audiostride.layers.learned_strides import read_strides
from audiostride.layers.replacing.branches import Branches
from audiostride.layers.replacing.replacements import Replacements, replacements
from audiostride.layers.replacing.strided_layers import (
    StridedLayer,
    diffstride_like,
    strided_layers,
    take_stride_over,
)
from audiostride.layers.replacing.trial_runs import check_after, run_before, with_long_axes
from audiostride.layers.window import Window


def replace_strides(
    network: nn.Module,
    shape: Sequence[int],
    *,
    smoothness: float = 4.0,
    window: Window | None = None,
    shared: bool = False,
    pooling: bool = True,
    keep: Sequence[str] = (),
    together: Sequence[Sequence[str]] = (),
) -> Replacements:
    """Put DiffStride layers in place of the strides of any network: learn them, from where they are.

    The network is changed in place, over all axes with a stride above 1:

    - A strided convolution (`Conv1d`, `2d`, `3d` and classes that derive from them) is computed at stride 1,
      then resampled by DiffStride. Of a 1×1 convolution the input is resampled, with equal results.
    - `MaxPool` keeps the maximum over its window, at stride 1, then DiffStride resamples.
    - `AvgPool` and layers called BlurPool are low-passes; DiffStride alone takes their place.

    Branches that are added or concatenated, such as the two of a residual block, get one and the same
    DiffStride layer (paper fig. 2b). Where they do not match step by step, their strides are kept. Also kept
    are functions that the forward pass calls itself, such as `torch.nn.functional.max_pool2d`, adaptive and
    global pooling, and transposed convolutions. The result lists all of these.

    Names, types and weights of convolutions stay. A state dict of the network before loads with
    ``strict=False``: what it misses are the strides, named after their layer, ``conv1.diffstride.stride``,
    or ``pool.stride`` where DiffStride alone has taken the place. Optimisers that hold the network's
    parameters do not hold the strides: build them after this call, with `parameter_groups`, and call
    `project_` after each step. `read_strides` is called before each forward pass of the network.

    Args:
        network: any network that takes one tensor. It may be on any device, also on the meta device.
        shape: shape of an example, without the batch: channels first, then the axes in samples, for example
            (3, 224, 224), or (1, 16000) for a waveform. Other sizes can be used later.
        smoothness: width of the ramps in DFT bins, as in `DiffStride1d`.
        window: a `Window` to use instead of `smoothness`.
        shared: learn one stride for all axes of a layer.
        pooling: replace pooling layers as well, not only convolutions.
        keep: names of modules that stay as they are, with all that they contain.
        together: groups of names of layers that get one and the same DiffStride layer, in addition to those
            that are found.

    Returns:
        What was replaced, and what was kept and why.

    Raises:
        ValueError: if the network does not run with this shape; if a name is unknown; if layers with
            different strides are to be shared; or if the network does not run with other sizes of its feature
            maps, for example because of a position embedding. It is then as it was.

    >>> import torch
    >>> network = nn.Sequential(nn.Conv1d(1, 8, 9, stride=4, padding=4), nn.ReLU(), nn.MaxPool1d(2))
    >>> print(replace_strides(network, (1, 16000), smoothness=1.0))
    learned strides: 2 layers
      0  Conv1d 9     stride 4
      2  MaxPool1d 2  stride 2
    >>> network(torch.zeros(1, 1, 16000)).shape
    torch.Size([1, 8, 2003])
    """
    window = window or Window(float(smoothness))
    layers = {layer.module: layer for layer in strided_layers(network)}
    named = {module for part in _named("keep", keep, network) for module in part.modules()}
    sharing = [_of_one_stride(_named("together", names, network), names, layers) for names in together]
    run = run_before(network, shape)
    reasons = _reasons_to_keep(layers.values(), named, pooling, run)
    unclear = [layer for module, layer in layers.items() if module not in reasons]
    run = with_long_axes(network, shape, run, unclear)
    names_of = {module: name for name, module in network.named_modules()}
    branches = Branches(layers, sharing, reasons, run, names_of)
    with ExitStack() as restore:
        diffstrides = _replace(network, branches, window, shared, run, restore)
        check_after(network, shape, layers, diffstrides)
        restore.pop_all()
    if diffstrides and _read_all_strides not in network._forward_pre_hooks.values():
        network.register_forward_pre_hook(_read_all_strides)
    return replacements(network, layers, diffstrides, branches.reasons, run)


def _read_all_strides(network: nn.Module, inputs: Any) -> None:
    read_strides(network)


def _named(argument: str, names: Sequence[str], network: nn.Module) -> list[nn.Module]:
    """Return the modules with these names.

    Raises:
        ValueError: if there is no such module.
    """
    if isinstance(names, str):
        raise ValueError(f"{argument} takes lists of names, but got {names!r}: write [{names!r}]")
    modules = dict(network.named_modules(remove_duplicate=False))
    for name in names:
        if name not in modules:
            similar = get_close_matches(name, modules, n=1)
            question = f": did you mean {similar[0]}?" if similar else ""
            raise ValueError(f"{argument} names {name!r}, but the network has no such module{question}")
    return [modules[name] for name in names]


def _of_one_stride(
    modules: Sequence[nn.Module], names: Sequence[str], layers: Mapping[nn.Module, StridedLayer]
) -> list[StridedLayer]:
    """Return the strided layers that are to have one stride.

    Raises:
        ValueError: if a module has no stride above 1, or if strides differ.
    """
    for module, name in zip(modules, names, strict=True):
        if module not in layers:
            kind = type(module).__name__
            raise ValueError(f"together names {name}, but this {kind} has no stride above 1 to learn")
    found = [layers[module] for module in modules]
    if len({(layer.dims, layer.strides) for layer in found}) > 1:
        strides = ", ".join(f"{layer.name} {layer.all_strides}" for layer in found)
        raise ValueError(f"layers that are named together need equal strides, but have {strides}")
    return found


def _reasons_to_keep(
    layers: Iterable[StridedLayer], kept: Collection[nn.Module], pooling: bool, run: DryRun
) -> dict[nn.Module, str]:
    """Return why some layers are kept, apart from what follows from where branches meet."""
    reasons = {}
    for layer in layers:
        module = layer.module
        if module in kept:
            reasons[module] = "named in keep"
        elif layer.is_pooling and not pooling:
            reasons[module] = "pooling layers are kept"
        elif module not in run.outputs:
            reasons[module] = "it is not called in evaluation mode"
        elif module not in run.inputs:
            reasons[module] = "its input is given by keyword"
        elif getattr(module, "return_indices", False):
            reasons[module] = "it returns indices"
        elif layer.spans(run.inputs[module].shape):
            reasons[module] = "its window takes a whole axis"
    return reasons


def _replace(
    network: nn.Module, branches: Branches, window: Window, shared: bool, run: DryRun, restore: ExitStack
) -> dict[nn.Module, DiffStrideNd]:
    """Replace all layers that can be replaced. Return their DiffStride layers.

    Layers whose branches have different lengths before the stride are kept, and a reason is added.
    """
    diffstrides: dict[nn.Module, DiffStrideNd] = {}
    for group in branches.replaceable():
        diffstride = _new_diffstride(network, group[0], window, shared)
        with ExitStack() as undo:
            for layer in group:
                undo.callback(take_stride_over(network, layer, diffstride))
            if reasons := _unequal_sizes(group, diffstride, run):
                branches.reasons |= reasons
                continue  # and undo
            restore.push(undo.pop_all())
        diffstrides |= {layer.module: diffstride for layer in group}
    return diffstrides


def _unequal_sizes(
    group: Sequence[StridedLayer], diffstride: DiffStrideNd, run: DryRun
) -> dict[nn.Module, str]:
    """Return reasons to keep layers, if their feature maps reach the DiffStride layer in unequal sizes."""
    if len(group) == 1:
        return {}
    sizes = {layer: _size_to_resample(layer, diffstride, run) for layer in group}
    reasons = {}
    for layer, size in sizes.items():
        for other, other_size in sizes.items():
            if other_size != size:
                reasons[layer.module] = (
                    f"its map has size {size} before the stride, that of {other.name} {other_size}"
                )
    return reasons


def _new_diffstride(network: nn.Module, layer: StridedLayer, window: Window, shared: bool) -> DiffStrideNd:
    """Return a DiffStride layer with the strides, mode, device and type of a layer."""
    if shared and len(set(layer.strides)) > 1:
        raise ValueError(
            f"one stride for all axes needs equal strides, but {layer.name} has {layer.all_strides}: "
            "name it in keep="
        )
    diffstride = diffstride_like(layer, window, shared).train(layer.module.training)
    near = _near_parameter(network, layer.name)
    return diffstride if near is None else diffstride.to(near.device, near.dtype)


def _near_parameter(network: nn.Module, name: str) -> nn.Parameter | None:
    """Return a parameter of a module, or of the innermost module around it that has one."""
    while True:
        for parameter in network.get_submodule(name).parameters():
            if parameter.is_floating_point():
                return parameter
        if not name:
            return None
        name = name.rpartition(".")[0]


def _size_to_resample(layer: StridedLayer, diffstride: DiffStrideNd, run: DryRun) -> tuple[int, ...]:
    """Return the size of the feature map that reaches the DiffStride layer of a layer."""
    shape = run.inputs[layer.module].shape
    if not layer.is_low_pass:
        shape = DryRun(nn.Sequential(layer.module), shape[1:]).inputs[diffstride].shape
    return tuple(shape[dim] for dim in layer.dims)
