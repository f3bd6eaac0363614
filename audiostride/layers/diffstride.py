"""DiffStride: downsampling by strides that are learned (Riad et al., ICLR 2022), over 1 to 3 axes."""

from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, distributed, nn

from audiostride.layers.kernels.learned import keep_in_graph
from audiostride.layers.kernels.operators import OperatorCache
from audiostride.layers.kernels.pooling import AxisPlan, pool_axes
from audiostride.layers.kernels.products import transforms_active
from audiostride.layers.kernels.ramp import ramp_size
from audiostride.layers.window import Ramp, Window


def one_per_axis(stride: float | Sequence[float], axes: int) -> tuple[float, ...]:
    """Check strides and repeat a single one for all axes.

    Raises:
        ValueError: if a stride is below 1 or not finite, or if there are neither one nor `axes` of them.
    """
    if isinstance(stride, Sized) and getattr(stride, "ndim", 1) > 0:
        strides = tuple(map(float, stride))
    else:
        strides = (float(stride),) * axes  # type: ignore[arg-type]
    if len(strides) != axes:
        raise ValueError(f"expected one stride or {axes}, one per axis, but got {len(strides)}: {stride}")
    for value in strides:
        if not 1 <= value < float("inf"):
            raise ValueError(f"a stride must be a finite number, at least 1, but got {value:g}")
    return strides


def axis_sizes(shape: Sequence[int], dims: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of the axes `dims`, negative numbers, of an input.

    Raises:
        ValueError: if the input has too few axes.
    """
    if len(shape) < -min(dims):
        raise ValueError(f"the input needs at least {-min(dims)} axes, but has shape {tuple(shape)}")
    return tuple(shape[dim] for dim in dims)


class _Handed(NamedTuple):
    """Strides that a layer was handed as numbers, see `DiffStrideNd.hand_`."""

    parameter: Tensor
    version: int
    strides: tuple[float, ...]
    uses: int


class DiffStrideNd(nn.Module):
    """Base class of `DiffStride1d`, `DiffStride2d` and `DiffStride3d`, which only set the number of axes."""

    axes: int
    dims: tuple[int, ...]
    # How often a forward pass of the network calls the layer: so often it uses strides that it was handed.
    uses = 1

    def __init__(
        self,
        stride: float | Sequence[float] = 2.0,
        *,
        smoothness: float = 4.0,
        shared: bool = False,
        ramp: Ramp = "outside",
        multiple: int = 1,
        window: Window | None = None,
    ) -> None:
        super().__init__()
        strides = one_per_axis(stride, self.axes)
        if shared and len(set(strides)) > 1:
            raise ValueError(f"a shared stride needs equal strides on all axes, but got {strides}")
        self.window = window or Window(float(smoothness), ramp, multiple)
        self.shared = shared
        self.dims = tuple(range(-self.axes, 0))
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        learned = torch.tensor(strides[:1] if shared else strides, dtype=dtype)
        # Without a ramp there is no gradient, and distributed training would wait for it.
        self.stride = nn.Parameter(learned, requires_grad=self.window.smoothness > 0)
        self.frozen = False
        self._host_strides = strides  # the strides as numbers, as they were last read
        self._handed: _Handed | None = None  # see hand_
        self._operators = OperatorCache()
        self._largest: tuple[int, ...] = ()
        self.forget_sizes_()

    @property
    def smoothness(self) -> float:
        """Width of the window's ramp in DFT bins."""
        return self.window.smoothness

    @property
    def strides(self) -> Tensor:
        """Strides of all axes, a tensor of shape (axes,). A shared stride is repeated."""
        return self.stride.expand(self.axes)

    @property
    def host_strides(self) -> tuple[float, ...]:
        """Strides of all axes as numbers, as they were last read."""
        return self._host_strides

    def forward(self, x: Tensor) -> Tensor:
        return self.keep_frozen_in_graph(pool_axes(x, self.plan(x.shape)))

    def plan(self, shape: Sequence[int]) -> tuple[AxisPlan, ...]:
        """Read the strides once and decide how each axis of an input of this shape is downsampled.

        Raises:
            ValueError: if the shape has too few axes or a stride is NaN.
        """
        sizes = axis_sizes(shape, self.dims)
        compiling = torch.compiler.is_compiling() and not self.frozen
        learning = self.stride.requires_grad and torch.is_grad_enabled()
        as_tensors = not self.frozen and (learning or compiling or transforms_active())
        lengths: Sequence[int]
        bin_counts: Sequence[int | None]
        known: Sequence[float | None]
        unknown: Sequence[None] = (None,) * self.axes
        if self.frozen:
            lengths, bin_counts, known = self._lengths(sizes), unknown, self._host_strides
        elif compiling:  # a graph must not keep numbers
            (lengths, bin_counts), known = self._read_sizes(sizes), unknown
        else:
            lengths, bin_counts, known = self._read_lengths(sizes), unknown, self._host_strides
        strides = self.strides if as_tensors else self._host_strides
        return tuple(
            AxisPlan(dim, stride, value, self.window, length, count, self._operators)
            for dim, stride, value, length, count in zip(
                self.dims, strides, known, lengths, bin_counts, strict=True
            )
        )

    # Kept out of compiled graphs: inside them torch 2.11 reports is_exporting() as true, and it cannot save
    # tensors whose size it computes from the smoothness.
    @torch.compiler.disable
    def _read_sizes(self, sizes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return output lengths for the current strides, and numbers of bins on the ramp for all strides."""
        lengths = self._read_lengths(sizes)
        return lengths, tuple(ramp_size(n, m, None, self.window) for n, m in zip(sizes, lengths, strict=True))

    def _read_lengths(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Return output lengths for the current strides: the only synchronisation with a GPU.

        `torch.export` sees no parameter values and uses the strides that were read last.
        """
        if not torch.compiler.is_exporting():
            self._read()
            if torch.is_grad_enabled():
                self._largest = tuple(map(max, self._largest, sizes))
        return self._lengths(sizes)

    def _lengths(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.window.output_length(n, s) for n, s in zip(sizes, self._host_strides, strict=True))

    def _read(self) -> None:
        knows, handed, self._handed = self.knows_strides(), self._handed, None
        if self.stride.is_meta:
            return
        if handed and knows:
            self._host_strides = handed.strides
            if handed.uses > 1:
                self._handed = handed._replace(uses=handed.uses - 1)
        elif transforms_active():
            self._host_strides = tuple(map(_item, self.strides))
        else:
            self._host_strides = tuple(self.strides.tolist())

    def freeze_(self, frozen: bool = True) -> Self:
        """Make the strides constants, or learn them again.

        Frozen strides get no gradient, need no synchronisation and do not break a compiled graph. A state
        dict does not store whether strides are frozen.
        """
        self._read()
        self.frozen, self.stride.grad = frozen, None
        return self

    def hand_(self, strides: Sequence[float]) -> None:
        """Give the layer its strides as numbers for its next `uses` calls, so that it need not read them.

        Args:
            strides: values of the parameter `stride`. They are used only if nobody has written to the
                parameter since.
        """
        repeated = tuple(strides) * (self.axes // len(strides))
        self._handed = _Handed(self.stride, _version(self.stride), repeated, self.uses)

    def knows_strides(self, for_all_uses: bool = False) -> bool:
        """Return whether the layer has been handed its present strides, see `hand_`.

        Args:
            for_all_uses: return whether it has used none of them yet.
        """
        handed = self._handed
        if handed is None or (for_all_uses and handed.uses != self.uses):
            return False
        return handed.parameter is self.stride and handed.version == _version(self.stride)

    def keep_frozen_in_graph(self, y: Tensor) -> Tensor:
        """Return y, in distributed training with frozen strides in its graph, without a gradient for them.

        DistributedDataParallel waits until the backward pass has reached each parameter.
        """
        waits = self.frozen and self.stride.requires_grad and is_distributed()
        if not waits or not torch.is_grad_enabled() or transforms_active():
            return y
        return keep_in_graph(y, self.stride)

    def project_(self) -> None:
        """Clamp the strides to [1, N). Call it after each optimiser step, in each process.

        See `audiostride.layers.project_`, which does it for a whole network at once.
        """
        project_layers_([self])

    def longest_strides(self, samples: int) -> list[float]:
        """Return the largest value of each entry of `stride` that leaves an axis so many samples.

        The sizes of the axes are the largest since the last projection, see `project_layers_`. Without a
        forward pass since then there is no limit, and a limit is at least 1.
        """
        limits = [max(1.0, n / samples) if n else float("inf") for n in self._largest]
        return limits if len(self.stride) == len(limits) else [min(limits)]

    def forget_sizes_(self) -> None:
        """Forget the sizes seen since the last projection, see `project_layers_`."""
        self._largest = (0,) * self.axes

    def clamp_(self, sizes: Tensor) -> None:
        """Clamp the strides to [1, N) without reading them.

        Args:
            sizes: N of each axis, (axes,); up to 1 it sets no upper limit. A shared stride has the smallest
                limit.
        """
        sizes = sizes.to(self.stride)
        limits = torch.where(sizes > 1, sizes * (1 - torch.finfo(sizes.dtype).eps), torch.inf)
        self.stride.clamp_(min=1).clamp_(max=limits.min() if self.shared else limits)

    def restore_(self) -> None:
        """Write the frozen strides to the parameter again: an optimiser may have moved it by its momentum."""
        strides = torch.tensor(self._host_strides[: len(self.stride)], dtype=self.stride.dtype, device="cpu")
        self.stride.copy_(strides, non_blocking=True)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and convert the strides with the network, but keep them at least in float32.

        A stride of 2 in bfloat16 could only move by 1/64 or more.
        """

        def at_least_float32(tensor: Tensor) -> Tensor:
            converted = fn(tensor)
            return converted if converted.dtype.itemsize >= 4 else tensor.to(converted.device, torch.float32)

        return super()._apply(at_least_float32, recurse)

    def train(self, mode: bool = True) -> Self:
        """Set the mode as for every module, and read the strides, which an export then uses."""
        if not self.frozen:
            self._read()
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.to(torch.promote_types(self.stride.dtype, torch.float32))  # load_state_dict may assign others
        self._read()

    def extra_repr(self) -> str:
        if not self.frozen:
            self._read()
        strides = ", ".join(f"{s:.4g}" for s in self._host_strides[: len(self.stride)])
        window = f"smoothness={self.smoothness:g}"
        if self.window.ramp != "outside":
            window += f", ramp={self.window.ramp!r}"
        if self.window.multiple > 1:
            window += f", multiple={self.window.multiple}"
        return f"stride=({strides}), {window}, shared={self.shared}"


@torch.no_grad()
def project_layers_(layers: Iterable[DiffStrideNd]) -> None:
    """Clamp the strides of several layers to [1, N), all at once; see `audiostride.layers.project_`.

    N is the largest size of the axis in forward passes with gradients enabled since the last projection, so
    that it follows from the step alone. In distributed training it is the largest of all processes, which
    therefore keep equal strides. Nothing is read on the host.
    """
    learned = []
    for layer in layers:
        if layer.frozen:
            layer.restore_()
        else:
            learned.append(layer)
    if not learned:
        return
    sizes = torch.tensor([n for layer in learned for n in layer._largest], device="cpu")
    sizes = sizes.to(learned[0].stride.device, non_blocking=True)
    if is_distributed() and distributed.get_world_size() > 1:
        distributed.all_reduce(sizes, distributed.ReduceOp.MAX)
    for layer, of_layer in zip(learned, sizes.split([layer.axes for layer in learned]), strict=True):
        layer.clamp_(of_layer)
        layer.forget_sizes_()


def is_distributed() -> bool:
    """Return whether this process is one of a process group."""
    return distributed.is_available() and distributed.is_initialized()


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was written to, 0 for a tensor that does not count it."""
    return 0 if tensor.is_inference() else tensor._version


def _item(stride: Tensor) -> float:
    """Read a stride under a transform of torch.func."""
    try:
        return stride.item()
    except RuntimeError as error:
        raise ValueError("torch.func.vmap cannot batch strides: each gives another output length") from error


class DiffStride1d(DiffStrideNd):
    """Low-pass and downsample one axis by a stride that is learned (Riad et al. 2022).

    The gradient of the stride flows through the width of a low-pass window in the Fourier domain (paper eq.
    3). Input and output are real. Constants and tones below the cut-off keep their amplitude and phase.

    Args:
        stride: initial stride in samples, a finite number ≥ 1. The parameter `stride` has shape (1,).
        smoothness: width of the window's ramp in DFT bins, ≥ 0. The output is 2 · smoothness samples longer
            than N / stride, so short axes are hardly shortened. Below 1 the ramp may contain no DFT bin, and
            then the stride gets no gradient; at 0 (spectral pooling) it never does.
        shared: no effect on one axis; accepted so that all DiffStride layers take the same arguments.
        ramp: position of the ramp: "outside" the cut-off as in the paper, "inside" or "relative"; see
            `Window`.
        multiple: round output lengths up to a multiple of this whole number ≥ 1.
        window: a `Window` to use instead of `smoothness`, `ramp` and `multiple`.
        dim: axis to downsample, counted from the end: −1 is the last.

    Shape:
        (…, N) to (…, M), of any floating type. For the ramp outside,
        M = min(N, max(2, floor(N / stride + 2 · smoothness))).

    Raises:
        ValueError: if a stride is below 1, the smoothness negative, the ramp unknown, the multiple below 1 or
            `dim` not negative; in the forward pass if x is not of a floating type or a stride is NaN.

    After each optimiser step call `project_`, which keeps the stride within [1, N). The stride stays at least
    in float32 if the network becomes half precision.

    `torch.export` (with ``strict=False``) uses the strides of the last forward pass, `eval()` or loaded
    state, for one length of the axis. `torch.compile` breaks its graph once per layer unless the strides are
    frozen.

    >>> layer = DiffStride1d(stride=2.0, smoothness=4.0)
    >>> layer(torch.ones(8, 16, 100)).shape
    torch.Size([8, 16, 58])
    """

    axes = 1

    def __init__(
        self,
        stride: float | Sequence[float] = 2.0,
        *,
        smoothness: float = 4.0,
        shared: bool = False,
        ramp: Ramp = "outside",
        multiple: int = 1,
        window: Window | None = None,
        dim: int = -1,
    ) -> None:
        super().__init__(
            stride, smoothness=smoothness, shared=shared, ramp=ramp, multiple=multiple, window=window
        )
        if dim >= 0:
            raise ValueError(f"dim counts axes from the end and must be negative, but got {dim}")
        self.dims = (dim,)


class DiffStride2d(DiffStrideNd):
    """Low-pass and downsample the last two axes by learned strides, one each or one for both.

    The window is the product of one window per axis. Source, options and errors are those of `DiffStride1d`.

    Args:
        stride: initial stride ≥ 1 in samples, one number for both axes or one per axis in the order of the
            axes.
        smoothness: width of each window's ramp in DFT bins, ≥ 0.
        shared: learn a single stride for both axes (paper table A.7). Its initial values must be equal. The
            parameter `stride` then has shape (1,), otherwise (2,).
        ramp: "outside", "inside" or "relative"; see `Window`.
        multiple: round output lengths up to a multiple of this whole number ≥ 1.
        window: a `Window` to use instead of `smoothness`, `ramp` and `multiple`.

    Shape:
        (…, N₁, N₂) to (…, M₁, M₂), each axis as in `DiffStride1d`.

    Raises:
        ValueError: as `DiffStride1d`; also for a number of strides other than 1 or 2, or if unequal strides
            are to be shared.

    >>> layer = DiffStride2d(stride=(2.0, 1.5))
    >>> layer(torch.ones(8, 1, 100, 64)).shape
    torch.Size([8, 1, 58, 50])
    >>> layer.strides
    tensor([2.0000, 1.5000], grad_fn=<ExpandBackward0>)
    """

    axes = 2


class DiffStride3d(DiffStrideNd):
    """Low-pass and downsample the last three axes by learned strides: `DiffStride2d` with one axis more.

    Args:
        stride: initial stride ≥ 1 in samples, one number for all axes or one per axis.
        smoothness, shared, ramp, multiple, window: as in `DiffStride2d`.

    Shape:
        (…, N₁, N₂, N₃) to (…, M₁, M₂, M₃), each axis as in `DiffStride1d`.

    Raises:
        ValueError: as `DiffStride2d`, for 3 axes.

    >>> DiffStride3d(stride=2.0, smoothness=1.0)(torch.ones(1, 20, 20, 30)).shape
    torch.Size([1, 12, 12, 17])
    """

    axes = 3
