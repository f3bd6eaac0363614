"""How often the host reads numbers of tensors, each of which waits for a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Reads(TorchDispatchMode):
    """Counts scalars that are read on the host."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += "_local_scalar_dense" in str(func)
        return func(*args, **(kwargs or {}))


@contextmanager
def counting_reads() -> Iterator[Reads]:
    """Count scalars and whole tensors that are read on the host."""
    tolist = Tensor.tolist

    def counted(tensor: Tensor) -> object:
        mode.count += 1
        return tolist(tensor)

    with patch.object(Tensor, "tolist", counted), Reads() as mode:
        yield mode
