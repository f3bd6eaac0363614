"""DiffStride: downsampling with a learnable stride (Riad et al., ICLR 2022), over 1 to 3 axes."""

from collections.abc import Sequence, Sized
from typing import Any, Self, get_args

import torch
from torch import Tensor, nn

from audiostride.layers.functional import Ramp, Window, output_length, spectral_pool


def one_per_axis(stride: float | Sequence[float], axes: int) -> tuple[float, ...]:
    """Check strides and spread a single one over all axes.

    Raises:
        ValueError: for a stride below 1 (or not finite), or a count that is neither one nor `axes`.
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


class DiffStrideNd(nn.Module):
    """What DiffStride1d, 2d and 3d share: all but the number of axes."""

    axes: int
    dims: tuple[int, ...]

    def __init__(
        self,
        stride: float | Sequence[float] = 2.0,
        smoothness: float = 4.0,
        shared: bool = False,
        ramp: Ramp = "outside",
        multiple: int = 1,
    ) -> None:
        super().__init__()
        strides = one_per_axis(stride, self.axes)
        if ramp not in get_args(Ramp):
            raise ValueError(f"ramp must be one of {', '.join(get_args(Ramp))}, but got {ramp!r}")
        if multiple < 1:
            raise ValueError(f"output lengths can be multiples of 1 or more, but got {multiple}")
        if not 0 <= smoothness < float("inf"):
            raise ValueError(
                f"smoothness must be a finite number of DFT bins, at least 0, but got {smoothness:g}"
            )
        if shared and len(set(strides)) > 1:
            raise ValueError(f"a shared stride needs equal strides on all axes, but got {strides}")
        self.window = Window(float(smoothness), ramp, multiple)
        self.shared = shared
        self.dims = tuple(range(-self.axes, 0))
        # Without a ramp there is no gradient, which distributed training would wait for.
        learned = torch.tensor(strides[:1] if shared else strides)
        self.stride = nn.Parameter(learned, requires_grad=smoothness > 0)
        self.frozen = False
        self._values = strides
        self._largest = (0,) * self.axes

    @property
    def smoothness(self) -> float:
        return self.window.smoothness

    @property
    def strides(self) -> Tensor:
        """The strides as a tensor of shape (axes,), a shared one repeated."""
        return self.stride.expand(self.axes)

    def forward(self, x: Tensor) -> Tensor:
        lengths = self.output_lengths(tuple(x.shape[dim] for dim in self.dims))
        return spectral_pool(x, self.current(), self.window, self.dims, lengths, self.known_values())

    def known_values(self) -> tuple[float, ...] | None:
        """The strides that were read last as plain numbers; None where a compiled graph would keep them."""
        return None if torch.compiler.is_compiling() and not self.frozen else self._values

    def freeze_(self, frozen: bool = True) -> Self:
        """Make the strides constants as they are now, or let them be learned again.

        Frozen strides get no gradient, need no synchronisation, and no longer break a compiled graph. They
        are not frozen for good: a state dict does not hold it.
        """
        self._read()
        self.frozen, self.stride.grad = frozen, None
        return self

    def current(self) -> Tensor | tuple[float, ...]:
        """The strides; as plain numbers, whose operators are kept, where no gradient is wanted."""
        if self.frozen:
            return self._values
        learning = torch.is_grad_enabled() and self.stride.requires_grad
        return self.strides if learning or torch.compiler.is_compiling() else self._values

    def output_lengths(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Chosen on the host, from the strides as they are now: the one synchronisation of this layer.

        `torch.export` sees no parameter values and gets the strides that were read last.
        """
        return self._lengths(sizes) if self.frozen else self._current_lengths(sizes)

    # Out of compiled graphs, where torch 2.11 takes is_exporting() for true.
    @torch.compiler.disable
    def _current_lengths(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if not torch.compiler.is_exporting():
            self._read()
            self._largest = tuple(map(max, self._largest, sizes))
        return self._lengths(sizes)

    def _lengths(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(output_length(n, s, self.window) for n, s in zip(sizes, self._values, strict=True))

    def _read(self) -> None:
        if not self.stride.is_meta:
            self._values = tuple(self.strides.tolist())

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._read()

    def train(self, mode: bool = True) -> Self:
        """As every module's; `eval()` also reads the strides that an export then has."""
        if not self.frozen:
            self._read()
        return super().train(mode)

    @torch.no_grad()
    def project_(self) -> None:
        """Put the strides back into their range [1, N). Call it after each optimiser step.

        N is the largest size that the axis has had so far; it bounds the strides here, never an output.
        """
        if self.frozen:  # an optimiser's momentum may have moved them
            self.stride.copy_(self.stride.new_tensor(self._values[: len(self.stride)]))
            return
        sizes = [min((n for n in self._largest if n > 1), default=0)] if self.shared else self._largest
        for index, n in enumerate(sizes):
            below = n * (1 - torch.finfo(self.stride.dtype).eps) if n > 1 else None
            self.stride[index].clamp_(1, below)

    def extra_repr(self) -> str:
        if not self.frozen:
            self._read()
        strides = ", ".join(f"{s:.4g}" for s in (self._values[:1] if self.shared else self._values))
        window = f"smoothness={self.smoothness:g}"
        if self.window.ramp != "outside":
            window += f", ramp={self.window.ramp!r}"
        if self.window.multiple > 1:
            window += f", multiple={self.window.multiple}"
        return f"stride=({strides}), {window}, shared={self.shared}"


class DiffStride1d(DiffStrideNd):
    """Low-pass and downsample one axis by a stride that is learned.

    The stride's gradient flows through the width of a low-pass window in the Fourier domain (paper
    eq. 3); input and output are real, and constants and low tones keep their height.

    Args:
        stride: initial stride in samples, a finite number ≥ 1. The parameter `stride` has shape (1,).
        smoothness: width of the window's ramp in DFT bins, ≥ 0. It lengthens the output by twice as much,
            so short axes are hardly shortened. Only bins on the ramp carry a gradient: below 1 there is
            often none (also at stride 1, for 0.5 or less on an even axis), at 0 (spectral pooling) never.
        shared: of no effect on one axis; for the same call as with more axes.
        dim: the axis to downsample, counted from the end: −1 is the last.
        ramp: "outside" the cut-off as in the paper; "inside" it, for outputs of N / stride samples; or
            "relative", outside and smoothness · N / stride bins wide. See `functional.Window`.
        multiple: lengths of outputs are rounded up to multiples of it, so that compilers see fewer of them.

    Shape:
        (…, N) to (…, M) with M = min(N, max(2, floor(N / stride + 2 smoothness))) for the ramp outside, any
        floating type.

    Raises:
        ValueError: for a stride below 1, a negative smoothness, an unknown ramp, a multiple below 1, or a
            `dim` that is not negative.

    `torch.export` (not its strict mode) freezes the strides at those of the last forward pass, `eval()` or
    loaded state; the axis then has one length. `torch.compile` breaks its graph once per layer, unless
    `freeze_()` has made the strides constants: they then get no gradient.

    >>> pool = DiffStride1d(stride=2.0, smoothness=4.0)
    >>> pool(torch.ones(1, 100)).shape
    torch.Size([1, 58])
    """

    axes = 1

    def __init__(
        self,
        stride: float | Sequence[float] = 2.0,
        smoothness: float = 4.0,
        shared: bool = False,
        dim: int = -1,
        ramp: Ramp = "outside",
        multiple: int = 1,
    ) -> None:
        super().__init__(stride, smoothness, shared, ramp, multiple)
        if dim >= 0:
            raise ValueError(f"dim counts axes from the end and must be negative, but got {dim}")
        self.dims = (dim,)


class DiffStride2d(DiffStrideNd):
    """Low-pass and downsample the last two axes by learned strides, one each or one for both.

    The window is the product of one window per axis. Arguments and errors as for `DiffStride1d`, and:

    Args:
        stride: one number for both axes, or one per axis in the order of the last axes.
        shared: learn a single stride for both axes (paper table A.7); they must start equal.
            The parameter `stride` then has shape (1,), otherwise (2,).

    Shape:
        (…, N₁, N₂) to (…, M₁, M₂), each as in `DiffStride1d`.
    """

    axes = 2


class DiffStride3d(DiffStrideNd):
    """`DiffStride2d` over the last three axes: (…, N₁, N₂, N₃) to (…, M₁, M₂, M₃)."""

    axes = 3


def project_(network: nn.Module) -> None:
    """Put every learned stride of a network back into its range; call it after each optimiser step."""
    for module in network.modules():
        if isinstance(module, DiffStrideNd):
            module.project_()


def freeze_(network: nn.Module, frozen: bool = True) -> None:
    """Make every learned stride of a network a constant, or let it be learned again; see `DiffStride1d`."""
    for module in network.modules():
        if isinstance(module, DiffStrideNd):
            module.freeze_(frozen)
