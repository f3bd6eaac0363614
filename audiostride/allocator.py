"""Keeps memory that torch frees on a CPU, so that the next feature map does not fetch it again page by page.

glibc gives every block above 32 MiB back to the system when it is freed. A new block of this size then causes
one page fault for each of its pages, in every step.
"""

import ctypes
import os
from collections.abc import Callable

# Parameters of mallopt (malloc.h), with the largest block that is kept and the total that is kept, in bytes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_LARGEST_BLOCK, _TOTAL = 2**30, 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc keep up to 2 GiB of freed memory, in blocks of up to 1 GiB, until the process ends.

    Nothing changes without glibc, or if the environment chooses or tunes an allocator: AUDIOSTRIDE_MALLOC is
    "system", LD_PRELOAD names a malloc, GLIBC_TUNABLES tunes it, or a variable MALLOC_… is set.

    Returns:
        Whether freed memory is kept.
    """
    mallopt = None if _chosen_by_user() else _glibc_mallopt()
    if mallopt is None:
        return False
    # Before 2.35 glibc refuses thresholds above 32 MiB, but it can use its heap for blocks of any size.
    if not mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK) and not mallopt(_M_MMAP_MAX, 0):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _TOTAL))


def _chosen_by_user() -> bool:
    environment = os.environ
    return (
        environment.get("AUDIOSTRIDE_MALLOC") == "system"
        or "malloc" in environment.get("LD_PRELOAD", "")
        or "glibc.malloc" in environment.get("GLIBC_TUNABLES", "")
        or any(name.startswith("MALLOC_") for name in environment)
    )


def _glibc_mallopt() -> Callable[[int, int], int] | None:
    """Return glibc's mallopt, or None with another C library."""
    try:
        library = ctypes.CDLL(None)
        _ = library.gnu_get_libc_version
        return library.mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS; Windows raises TypeError
        return None
