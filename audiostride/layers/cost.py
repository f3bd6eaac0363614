"""What a network computes and keeps for one example, as smooth functions of its learned strides."""

from collections.abc import Sequence

from torch import Tensor, nn

from audiostride.layers.dry_run import DryRun


def cost(network: nn.Module, shape: Sequence[int]) -> Tensor:
    """Return the multiply-accumulates of any network for one example, differentiable by its learned strides.

    Counted are convolutions, products with matrices, attention (`scaled_dot_product_attention`) and the
    resampling of this package's layers; additions, activations, normalisation and pooling are not. Nothing
    is computed: a tensor without values runs through the network in evaluation mode, on the CPU. Modules
    whose numbers of samples follow from values cannot be counted.

    Lengths are real-valued instead of rounded, so the cost falls smoothly as strides grow. Where all lengths
    are whole, it is what `torch.utils.flop_counter` counts, halved, for a second forward pass, which finds
    its tables ready. It has small steps where a layer changes to a cheaper form of the same resampling.

    Add λ · cost / initial cost to the loss to make strides grow where they save most.

    Args:
        network: any network that takes one tensor.
        shape: shape of an example, without the batch: channels first, then the axes in samples, for example
            (3, 224, 224) or (1, 16000).

    Returns:
        A scalar tensor in float64.

    >>> from audiostride.layers import DiffStride1d
    >>> layer = DiffStride1d(stride=2.0, smoothness=1.0)
    >>> network = nn.Sequential(nn.Conv1d(1, 8, 3, padding=1), layer, nn.Conv1d(8, 8, 3, padding=1))
    >>> total = cost(network, (1, 100))  # 3 · 8 · 100, 8 · 100 · 52 and 3 · 8 · 8 · 52
    >>> total.item()
    53984.0
    >>> total.backward()
    >>> layer.stride.grad < 0
    tensor([True])
    """
    return DryRun(network, shape).macs()


def activations(network: nn.Module, shape: Sequence[int]) -> Tensor:
    """Return the values in the outputs of all operations that `cost` counts, for one example.

    Training holds about as many values in memory until the backward pass, times the batch size.

    Args:
        network: any network that takes one tensor.
        shape: shape of an example, without the batch, as in `cost`.

    Returns:
        A scalar tensor in float64, differentiable by the learned strides.

    >>> from audiostride.layers import DiffStride1d
    >>> network = nn.Sequential(nn.Conv1d(1, 8, 3, padding=1), DiffStride1d(stride=2.0, smoothness=1.0))
    >>> activations(network, (1, 100)).item()  # 8 · 100 and 8 · 52
    1216.0
    """
    return DryRun(network, shape).values()
