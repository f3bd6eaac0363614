"""What all networks have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from audiostride.layers import Window, project_
from audiostride.layers.conv_downsample import Downsampling
from audiostride.layers.cost import activations, cost
from audiostride.layers.downsample2d import Downsample2d
from audiostride.layers.dry_run import DryRun
from audiostride.layers.learned_strides import diffstride_layers, read_strides

Strides = Sequence[tuple[float, float]]


class Downsampler(Protocol):
    """A module that downsamples time and frequency.

    Attributes:
        strides: present strides over time and frequency, a tensor (2,).
    """

    @property
    def strides(self) -> Tensor: ...


class Trunk(nn.Module, ABC):
    """A network from spectrograms or images to embeddings, whose downsampling is chosen by name.

    A network is one file in `audiostride.models.networks`, with a class that derives from this one:

    - Its constructor takes the arguments below, with defaults for all of them, and perhaps own ones, which a
      recipe sets as `model.options`. Their types are checked by the annotations, which may have ranges.
    - It builds its layers, for example of `Downsample2d`, and ends with ``self.channels_last_()``.
    - `embed` and `parts` say how they are used and what has which name; `downsamplers` says where strides
      are, if modules other than `Downsample2d` have them.

    Everything else, from the command line to exports and reports, follows from these.

    Args:
        channels: numbers of channels; the network says of which layers.
        strides: initial strides over time and frequency, of each layer that downsamples.
        downsampling: "strided", "max", "average", "blur", "spectral" or "diffstride".
        window: window of the DiffStride layers; other kinds of downsampling ignore it.
        shared: learn one stride for time and frequency instead of one each.
        in_channels: number of spectrograms of the same sound, or of colours.
        embedding_size: number of channels of the embeddings.

    Shape:
        (batch, in_channels, time, mel) to (batch, embedding_size).

    Attributes:
        channels, downsampling, shared, in_channels, embedding_size: as given.
        initial_strides: as given to `strides`.
        window: the present window of all DiffStride layers.

    Raises:
        ValueError: in the forward pass if the input has another shape.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Strides,
        downsampling: Downsampling,
        window: Window,
        shared: bool,
        in_channels: int,
        embedding_size: int,
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.initial_strides = tuple((time, frequency) for time, frequency in strides)
        self.downsampling, self.shared = downsampling, shared
        # Spectral pooling has no ramp; other kinds have no window.
        self.window = window if downsampling == "diffstride" else Window(smoothness=0.0)
        self.in_channels, self.embedding_size = in_channels, embedding_size

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Return the embeddings (batch, embedding_size) of an input of the right shape."""

    @abstractmethod
    def parts(self) -> dict[str, Sequence[nn.Module]]:
        """Return the parts of the network in order, by the names of `audiostride summary`.

        A part is a list of modules that run one after another. The last one returns its feature map.
        """

    def downsamplers(self) -> Sequence["Downsampler"]:
        """Return the modules that downsample, in order: by default each `Downsample2d`, as it was assigned.

        The feature map has the same size from the output of one to the output of the next one.
        """
        return [module for module in self.modules() if isinstance(module, Downsample2d)]

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"expected spectrograms (batch, {self.in_channels}, time, mel), but got shape "
                f"{tuple(x.shape)}"
            )
        read_strides(self)
        return self.embed(x)

    @property
    def strides(self) -> Tensor:
        """Current strides (layers, 2) over time and frequency; differentiable if they are learned."""
        return torch.stack([layer.strides for layer in self.downsamplers()])

    def sizes(self, time: int, mel: int) -> list[tuple[int, int]]:
        """Return (time, frequency) of the feature map at the input and after each of `downsamplers`."""
        run = self.dry_run(time, mel, whole=True)
        layers = cast(Sequence[nn.Module], self.downsamplers())
        return [(time, mel), *(size_of(run.outputs[layer].shape) for layer in layers)]

    def cost(self, time: int, mel: int) -> Tensor:
        """Return the multiply-accumulates for one spectrogram: a scalar, differentiable by the strides.

        See `audiostride.layers.cost`, which counts those of any network.

        Args:
            time: number of frames.
            mel: number of mel channels.
        """
        return cost(self, (self.in_channels, time, mel))

    def activations(self, time: int, mel: int) -> Tensor:
        """Return the values in all outputs of convolutions and resampling, as `cost` does.

        Training holds them in memory until the backward pass. See `audiostride.layers.activations`.
        """
        return activations(self, (self.in_channels, time, mel))

    def dry_run(self, time: int, mel: int, whole: bool = False) -> DryRun:
        """Return what happens to one spectrogram, see `DryRun`."""
        return DryRun(self, (self.in_channels, time, mel), whole)

    def feature_maps(self) -> dict[str, nn.Module]:
        """Return the modules that return the feature maps, by the names of `audiostride summary`."""
        return {name: modules[-1] for name, modules in self.parts().items()}

    def set_smoothness_(self, smoothness: float) -> None:
        """Give the windows of all DiffStride layers a ramp of another width, in DFT bins."""
        self.window = replace(self.window, smoothness=smoothness)
        for layer in diffstride_layers(self):
            layer.window = self.window

    def project_(self) -> None:
        """Clamp learned strides to their range. Call it after each optimiser step."""
        project_(self)

    def channels_last_(self) -> None:
        """Put weights into the memory format that makes convolutions faster, and resampling few products."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def numbered_blocks(stages: Iterable[nn.Module]) -> dict[str, Sequence[nn.Module]]:
    """Return the blocks of stages as parts with the names "1.1", "1.2" and so on.

    >>> list(numbered_blocks([nn.Sequential(nn.ReLU(), nn.ReLU()), nn.Sequential(nn.ReLU())]))
    ['1.1', '1.2', '2.1']
    """
    return {
        f"{number}.{count}": (block,)
        for number, stage in enumerate(stages, 1)
        for count, block in enumerate(stage.children(), 1)
    }


def size_of(shape: Sequence[int]) -> tuple[int, int]:
    """Return (time, frequency) of the shape of a feature map."""
    return shape[-2], shape[-1]


def check_length(name: str, values: Sequence[Any], expected: int, what: str) -> None:
    """Raise `ValueError` unless a list has the expected number of entries.

    >>> check_length("strides", [(2, 2)], 4, "the first convolution and each stage after the first")
    Traceback (most recent call last):
    ValueError: strides needs 4 entries, for the first convolution and each stage after the first, but has 1
    """
    if len(values) != expected:
        entries = "entry" if expected == 1 else "entries"
        raise ValueError(f"{name} needs {expected} {entries}, for {what}, but has {len(values)}")
