"""Anti-aliased pooling (Zhang, "Making convolutional networks shift-invariant again", ICML 2019)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class BlurPool1d(nn.Module):
    """Blur one axis of a feature map with a triangular filter, then keep every stride-th sample.

    The filter has 2 stride − 1 taps that sum to one ([1 2 1] / 4 at stride 2). Its zeros lie on the
    frequencies that would alias onto the constant. Edges are continued by their last value.

    Args:
        stride: whole number of samples, ≥ 1.
        dim: −2 or −1, the axis to downsample.

    Shape:
        (batch, channel, N, W) to (batch, channel, ceil(N / stride), W) for dim −2.
    """

    triangle: Tensor

    def __init__(self, stride: int = 2, dim: int = -1) -> None:
        super().__init__()
        self.stride, self.dim = stride, dim
        box = torch.ones(1, 1, stride) / stride
        triangle = functional.conv1d(box, box, padding=stride - 1)
        shape = (1, 1, -1, 1) if dim == -2 else (1, 1, 1, -1)
        self.register_buffer("triangle", triangle.view(shape), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        reach = self.stride - 1
        edges = (0, 0, reach, reach) if self.dim == -2 else (reach, reach, 0, 0)
        stride = (self.stride, 1) if self.dim == -2 else (1, self.stride)
        channels = x.shape[1]
        padded = functional.pad(x, edges, mode="replicate")
        kernel = self.triangle.to(x.dtype).expand(channels, -1, -1, -1)
        return functional.conv2d(padded, kernel, stride=stride, groups=channels)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, dim={self.dim}"
